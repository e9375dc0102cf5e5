"""A file that accounts are read from."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tagferry.errors import DiskError, IntegrityError, RecordError
from tagferry.lookups.accounts import clean_lines
from tagferry.lookups.attended import attend, open_at_once
from tagferry.lookups.blocks import line_blocks

__all__ = ["FileSource", "TextSource", "reading"]


class FileSource:
    """A file, or one column of it."""

    word = "column"

    def __init__(self, path: Path, column: str = "") -> None:
        self.path = path
        self.column = column
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let whoever waits for more of the file, on any thread, wait no longer."""
        self._stopped.set()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}, {self.word} {self.column}" if self.column else str(self.path)

    def stamp(self) -> str | None:
        """Return the size and time of a plain file; None for a pipe or where nothing is."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return f"{status.st_size}-{status.st_mtime_ns}-{self.column}"

    def exists(self) -> bool:
        """Tell whether there is such a file."""
        return os.path.exists(self.path)  # noqa: PTH110 - the other one raises what this calls no

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Open the file for reading; who opens a pipe waits for its writer, until `stop`."""
        with io.FileIO(self.path, opener=open_at_once) as file:
            yield attend(file, self._stopped)


class TextSource(FileSource):
    """A text file with one account a line."""

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts of some lines at a time."""
        with reading(self.name), self.open() as file:
            for first, block in line_blocks(file, self.path):
                yield clean_lines(block, first)


@contextmanager
def reading(name: str) -> Generator[None]:
    """Name the source in what goes wrong with it."""
    try:
        yield
    except RecordError as error:
        if error.file is not None:
            raise
        raise RecordError(f"{name}, {error.message}", hint=error.hint) from None
    except IntegrityError as error:
        raise RecordError(error.message, hint="fetch or make the file again") from None
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EIO")
        msg = f"cannot read {name}: {error.strerror or type(error).__name__}"
        raise DiskError(msg, code=code, hint="check the file and its disk") from None
