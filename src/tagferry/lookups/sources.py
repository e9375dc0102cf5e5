"""Where accounts come from: text, CSV, JSON Lines and Parquet files, standard input, iterables.

A source is read in blocks on a worker thread and is never held whole. What is wrong in it is named by the
number of its line, row or item.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import errno
import gzip
import io
import os
import re
import stat
import sys
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, cast, runtime_checkable

import msgspec

from tagferry.errors import ConfigError, DiskError, RecordError
from tagferry.lookups.accounts import check_accounts, check_accounts_argument, check_texts, clean_lines
from tagferry.lookups.attended import attend, open_at_once
from tagferry.lookups.parquet import open_parquet
from tagferry.rows.arrow import load

__all__ = ["IterableSource", "Source", "open_source"]

_BLOCK = 256 * 1024
"""Measured: with blocks of 1 MiB, a text file takes a third more CPU, as they leave the cache."""
_ITEMS = 10_000
_ROWS = 2_000
"""Rows of a CSV file at a time: they may be wide."""
_LONGEST_LINE = 16 * 1024 * 1024
_NAMES = 20
"""The most columns that a hint lists."""
_GZIP = b"\x1f\x8b"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_DELIMITERS = ",;\t"
_COLUMN = re.compile(r"\.(?:csv(?:\.gz)?|jsonl(?:\.gz)?|parquet)(:)", re.IGNORECASE)
_BAD_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


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
        return (kind or _TextSource)(path, column)
    if kind is None:
        _check_file(path)
        return _TextSource(path)
    if kind is _ParquetSource:
        load("pyarrow.parquet")
    _check_file(path)
    source = kind(path, column)
    source.check()
    return source


class _Reader(Protocol):
    """What `csv.reader` returns."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[str]: ...


class IterableSource:
    """The accounts of an iterable of `str`, which is gone through once.

    Raises:
        TypeError: It is a text or no iterable.
    """

    name = "accounts"

    def __init__(self, accounts: Iterable[str]) -> None:
        check_accounts_argument(accounts)
        self._accounts = accounts

    def stamp(self) -> str | None:
        """Return None: nothing tells whether an iterable is the same as before."""
        return None

    def exists(self) -> bool:
        """Return True."""
        return True

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts, 10,000 at a time."""
        accounts, first = iter(self._accounts), 1
        while items := list(islice(accounts, _ITEMS)):
            yield check_accounts(items, first)
            first += len(items)


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
        with _reading(self.name):
            for first, block in _line_blocks(attend(self._file, self._stopped)):
                yield clean_lines(block, first)


class _FileSource:
    """A file, or one column of it."""

    word = "column"

    def __init__(self, path: Path, column: str = "") -> None:
        self.path = path
        self.column = column
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def name(self) -> str:
        return f"{self.path}, {self.word} {self.column}" if self.column else str(self.path)

    def stamp(self) -> str | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return f"{status.st_size}-{status.st_mtime_ns}-{self.column}"

    def exists(self) -> bool:
        return os.path.exists(self.path)  # noqa: PTH110 - the other one raises what this calls no

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Open the file for reading; who opens a pipe waits for its writer, until `stop`."""
        with io.FileIO(self.path, opener=open_at_once) as file:
            yield attend(file, self._stopped)


class _TextSource(_FileSource):
    """A text file with one account a line."""

    def blocks(self) -> Iterator[list[bytes]]:
        with _reading(self.name), self.open() as file:
            for first, block in _line_blocks(file):
                yield clean_lines(block, first)


class _ColumnSource(_FileSource, ABC):
    """One column of a file."""

    def check(self) -> None:
        """Make sure that the column is there, as far as can be told before the file is read.

        Raises:
            ConfigError: It is not.
        """
        # A pipe can be read once only.
        names = self._names() if self.path.is_file() else None
        if names is not None or not self.column:
            self.find(names or ())

    @abstractmethod
    def _names(self) -> Sequence[str] | None:
        """Return the names of the columns; None if the file does not tell any."""

    def find(self, names: Sequence[str]) -> int:
        """Return where among the columns the wanted one is."""
        found = [index for index, name in enumerate(names) if name == self.column]
        if len(found) == 1:
            return found[0]
        known = f"it has {', '.join(names[:_NAMES])}" + (", …" if len(names) > _NAMES else "")
        if not self.column:
            example = names[0] if names else "uid"
            msg = f"{self.path} needs the name of a {self.word}, as in {self.path}:{example}"
            raise ConfigError(msg, hint=known if names else None)
        if found:
            msg = f"{self.path} has {len(found)} {self.word}s named {self.column}"
            raise ConfigError(msg, hint="give each a name of its own")
        close = difflib.get_close_matches(self.column, names, n=1)
        hint = f"did you mean {close[0]}? {known}" if close else known
        raise ConfigError(f"{self.path} has no {self.word} {self.column}", hint=hint)


class _CsvSource(_ColumnSource):
    """A column of a CSV file with a header line (RFC 4180; the delimiter is found in the header)."""

    def _names(self) -> Sequence[str] | None:
        with _reading(str(self.path)), self.open() as file:
            return self._begin(file)[1]

    def blocks(self) -> Iterator[list[bytes]]:
        with _reading(self.name), self.open() as file:
            reader, header = self._begin(file)
            index, first = self.find(header), reader.line_num + 1
            while rows := _read_rows(reader, first):
                if set(map(len, rows)) != {len(header)}:
                    _check_widths(rows, first, len(header))
                texts = [row[index].strip(" \t") for row in rows if row]
                yield check_texts(texts, _row_numbers(rows, first), "line")
                first = reader.line_num + 1

    def _begin(self, file: BinaryIO) -> tuple[_Reader, list[str]]:
        """Return a reader that stands behind the header, and the header."""
        lines = _lines(file)
        first = next(lines, "")
        if not first.strip():
            raise ConfigError(
                f"{self.path} has no header line", hint="its first line has to name the columns"
            )
        try:
            headers = {one: next(csv.reader([first], delimiter=one)) for one in _DELIMITERS}
            # The wanted column is there, and the fields are more, only under the delimiter of the file.
            delimiter = max(headers, key=lambda one: (self.column in headers[one], len(headers[one])))
            reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
            return reader, [name.strip() for name in next(reader)]
        except csv.Error as error:
            raise _no_csv(1, error) from None


class _JsonLinesSource(_ColumnSource):
    """A field of the objects in a JSON Lines file; whole numbers become texts."""

    word = "field"

    def _names(self) -> Sequence[str] | None:
        decoder = msgspec.json.Decoder(dict[str, Any])
        with _reading(str(self.path)), self.open() as file:
            for first, block in _line_blocks(file):
                for number, line in enumerate(block.split(b"\n"), first):
                    if line.strip():
                        return list(_decode_line(decoder, line, number))
        return None

    def blocks(self) -> Iterator[list[bytes]]:
        decoder = self._decoder()
        with _reading(self.name), self.open() as file:
            for first, block in _line_blocks(file):
                numbers, rows = _decode_block(decoder, block, first)
                yield check_texts([str(row.value) for row in rows], numbers, "line")

    def _decoder(self) -> msgspec.json.Decoder[Any]:
        """Return a decoder of the field alone, which is faster than one of all fields."""
        try:
            row = msgspec.defstruct("Row", [("value", str | int)], rename={"value": self.column})
        except ValueError:
            raise ConfigError(f"the {self.name} cannot be read", hint="give it a plainer name") from None
        return msgspec.json.Decoder(row)


class _ParquetSource(_ColumnSource):
    """A column of a Parquet file; whole numbers become texts."""

    def _names(self) -> Sequence[str] | None:
        with _reading(str(self.path)), open_parquet(self.path) as file:
            schema = file.schema_arrow
            if (index := schema.get_field_index(self.column)) >= 0:
                self._check_type(schema.types[index])
            return list(schema.names)

    def blocks(self) -> Iterator[list[bytes]]:
        self.check()
        with _reading(self.name), open_parquet(self.path) as file:
            first = 1
            for batch in file.iter_batches(_ITEMS, columns=[self.column], use_threads=False):
                values = batch.column(0).to_pylist()
                if None in values:
                    number = first + values.index(None)
                    raise RecordError(f"row {number} is null", hint="leave such rows out of the file")
                numbers = range(first, first + len(values))
                yield check_texts([str(value) for value in values], numbers, "row")
                first += len(values)

    def _check_type(self, kind: Any) -> None:
        types = load("pyarrow.types")
        inner = kind.value_type if types.is_dictionary(kind) else kind
        texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer)
        if not any(is_one(inner) for is_one in texts):
            raise ConfigError(f"{self.name} is of type {kind}", hint="accounts are strings or whole numbers")


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


def _kind(path: Path) -> type[_CsvSource | _JsonLinesSource | _ParquetSource] | None:
    match Path(path.name.lower().removesuffix(".gz")).suffix:
        case ".csv":
            return _CsvSource
        case ".jsonl":
            return _JsonLinesSource
        case ".parquet":
            return _ParquetSource
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


@contextmanager
def _reading(name: str) -> Generator[None]:
    """Name the source in what goes wrong with it."""
    try:
        yield
    except RecordError as error:
        raise RecordError(f"{name}, {error.message}", hint=error.hint) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{name} is no whole gzip file: {error}"
        raise RecordError(msg, hint="fetch or make the file again") from None
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EIO")
        msg = f"cannot read {name}: {error.strerror or type(error).__name__}"
        raise DiskError(msg, code=code, hint="check the file and its disk") from None


def _line_blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines in UTF-8, each with the number of its first line."""
    number, tail = 1, b""
    for block in _utf8_blocks(file):
        text = tail + block
        end = text.rfind(b"\n") + 1
        tail = text[end:]
        if end:
            lines = text[:end]
            yield number, lines
            number += lines.count(b"\n")
        if len(tail) > _LONGEST_LINE:
            msg = f"line {number} is longer than {_LONGEST_LINE} bytes"
            raise RecordError(msg, hint="is it a list with one record a line?")
    if tail:
        yield number, tail


def _utf8_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file as UTF-8 without a byte order mark, unpacked if it is gzip, decoded if it is UTF-16."""
    reader = io.BufferedReader(cast("io.RawIOBase", file), _BLOCK)
    try:
        # No account begins like a gzip file, so what it is called does not matter.
        packed = reader.peek(len(_GZIP)).startswith(_GZIP)
        stream = gzip.GzipFile(fileobj=reader, mode="rb") if packed else reader
        first = stream.read(_BLOCK)
        if encoding := _UTF16.get(first[:2]):
            yield from _from_utf16(chain([first[2:]], iter(lambda: stream.read(_BLOCK), b"")), encoding)
            return
        yield first.removeprefix(codecs.BOM_UTF8)
        while block := stream.read(_BLOCK):
            yield block
    finally:
        # Who stops half-way may have closed the file by now.
        with suppress(ValueError):
            reader.detach()


def _from_utf16(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    for block in chain(blocks, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            number += error.object[: error.start].decode(encoding).count("\n")
            msg = f"line {number} is not UTF-16"
            raise RecordError(msg, hint="is the file cut? save it as UTF-8") from None
        number += text.count("\n")
        yield text.encode()


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file with their ends, which are LF and nothing else."""
    for first, block in _line_blocks(file):
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            number = first + block.count(b"\n", 0, error.start)
            raise RecordError(f"line {number} is not UTF-8", hint="save the file as UTF-8") from None
        yield from io.StringIO(text, newline="\n")


def _read_rows(reader: _Reader, first: int) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(islice(reader, _ROWS))
    except csv.Error as error:
        raise _no_csv(first + sum(map(_line_count, rows)), error) from None
    return rows


def _no_csv(number: int, error: csv.Error) -> RecordError:
    msg = f"the row that begins in line {number} is no CSV: {error}"
    return RecordError(msg, hint="is a quote left open there, or the file cut?")


def _check_widths(rows: Sequence[list[str]], first: int, width: int) -> None:
    for number, row in zip(_row_numbers(rows, first), filter(None, rows), strict=True):
        if len(row) != width:
            msg = f"line {number} has {len(row)} fields, and the header {width}"
            raise RecordError(msg, hint="is a quote missing, or the file cut?")


def _row_numbers(rows: Iterable[list[str]], first: int) -> Iterator[int]:
    """Yield the number of the line in which each row begins, but for blank lines."""
    for row in rows:
        if row:
            yield first
        first += _line_count(row)


def _line_count(row: list[str]) -> int:
    return 1 + sum(field.count("\n") for field in row)


def _decode_block(
    decoder: msgspec.json.Decoder[Any], block: bytes, first: int
) -> tuple[Sequence[int], list[Any]]:
    """Return the objects of whole lines, and the number of the line of each."""
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        rows = decoder.decode_lines(block)
    except _BAD_JSON:
        rows = []
    # It would take two objects in one line, and one in two.
    if len(rows) == lines:
        return range(first, first + lines), rows
    some = [(number, line) for number, line in enumerate(block.split(b"\n"), first) if line.strip()]
    return [number for number, _ in some], [_decode_line(decoder, line, number) for number, line in some]


def _decode_line(decoder: msgspec.json.Decoder[Any], line: bytes, number: int) -> Any:
    try:
        return decoder.decode(line)
    except _BAD_JSON as error:
        msg = f"line {number} cannot be used: {error}"
        hint = "each line has to be a JSON object whose field is a text or a whole number"
        raise RecordError(msg, hint=hint) from None
