"""Where accounts come from: text, CSV, JSON Lines and Parquet files, and standard input.

A source is read in blocks on a worker thread and is never held whole. What is wrong in it is named by the
number of its line or row.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from tagferry.errors import ConfigError
from tagferry.lookups.account_file import TextSource, reading
from tagferry.lookups.accounts import clean_lines
from tagferry.lookups.attended import attend
from tagferry.lookups.blocks import line_blocks
from tagferry.lookups.columns import CsvSource, JsonLinesSource, ParquetSource
from tagferry.rows.arrow import load

__all__ = ["Source", "open_source"]

_COLUMN = re.compile(r"\.(?:(?:csv|jsonl|ndjson|json)(?:\.gz)?|parquet)(:)", re.IGNORECASE)


@runtime_checkable
class Source(Protocol):
    """Something that accounts can be read from."""

    @property
    def name(self) -> str:
        """What messages call it, such as ``accounts.csv, column uid``."""
        ...

    def stamp(self) -> str | None:
        """Return what changes when the content does, cheap to find out; None if there is no such thing."""
        ...

    def exists(self) -> bool:
        """Tell whether there is something to read."""
        ...

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts in order, cleaned, as UTF-8, some thousands at a time. Blocks.

        Raises:
            RecordError: An account is not well-formed, or the file is not.
            DiskError: The file cannot be read.
        """
        ...


def open_source(text: str, stdin: BinaryIO | None = None, *, may_be_gone: bool = False) -> Source:
    """Return the source that a text of the command line names; of a file, only the names of columns are read.

    Args:
        text: ``-``, ``FILE``, ``FILE.csv:COLUMN``, ``FILE.jsonl:FIELD`` or ``FILE.parquet:COLUMN``.
        stdin: What ``-`` stands for; the standard input of the process by default.
        may_be_gone: Whether a file that is not there is no error before it is read.

    Raises:
        ConfigError: There is no such file or column, or it cannot be read.
        RecordError: The file is damaged at its beginning.
    """
    if text == "-":
        file = stdin if stdin is not None else getattr(sys.stdin, "buffer", None)
        if file is None or file.closed:
            raise ConfigError(
                "standard input is closed", hint="name a file, or pipe accounts into the command"
            )
        return _InputSource(file)
    path, column = _split(text)
    kind = _kind(path)
    if may_be_gone and not os.path.lexists(path):
        return (kind or TextSource)(path, column)
    if kind is None:
        _check_file(path)
        return TextSource(path)
    if kind is ParquetSource:
        load("pyarrow.parquet")
    _check_file(path)
    source = kind(path, column)
    source.check()
    return source


class _InputSource:
    """Lines of standard input."""

    name = "standard input"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def stamp(self) -> str | None:
        return None

    def exists(self) -> bool:
        return True

    def blocks(self) -> Iterator[list[bytes]]:
        with reading(self.name):
            for first, block in line_blocks(attend(self._file, self._stopped), Path(self.name)):
                yield clean_lines(block, first)


def _split(text: str) -> tuple[Path, str]:
    """Split a text at the colon between a file and its column; a file that has this very name wins."""
    if not os.path.lexists(text):
        splits = [(text[: one.start(1)], text[one.end(1) :]) for one in _COLUMN.finditer(text)]
        for path, column in splits:
            if os.path.lexists(path):
                return Path(path), column
        if splits:
            return Path(splits[0][0]), splits[0][1]
    return Path(text), ""


def _kind(path: Path) -> type[CsvSource | JsonLinesSource | ParquetSource] | None:
    match Path(path.name.lower().removesuffix(".gz")).suffix:
        case ".csv":
            return CsvSource
        case ".jsonl" | ".ndjson" | ".json":
            return JsonLinesSource
        case ".parquet":
            return ParquetSource
        case _:
            return None


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except FileNotFoundError:
        hint = "check the name; a column can be named of .csv, .jsonl and .parquet files"
        raise ConfigError(f"there is no file {path}", hint=hint) from None
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(msg, hint="check its name and permissions") from None
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path} is a directory", hint="name a file in it")
