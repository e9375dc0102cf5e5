"""One column of a file of accounts: CSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, Protocol, Self

import msgspec

from tagferry.errors import ConfigError, RecordError
from tagferry.lookups.account_file import FileSource, reading
from tagferry.lookups.accounts import check_texts
from tagferry.lookups.blocks import line_blocks, lines_of_text
from tagferry.lookups.parquet import open_parquet
from tagferry.rows.arrow import load

__all__ = ["ColumnSource", "CsvSource", "JsonLinesSource", "ParquetSource"]

_ROWS = 2_000
"""Rows of a CSV file at a time: they may be wide."""
_ITEMS = 10_000
"""Rows of a Parquet file at a time."""
_NAMES = 20
"""The most columns that a hint lists."""
_DELIMITERS = ",;\t"
_BAD_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Reader(Protocol):
    """What `csv.reader` returns."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[str]: ...


class ColumnSource(FileSource, ABC):
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


class CsvSource(ColumnSource):
    """A column of a CSV file with a header line (RFC 4180; the delimiter is found in the header)."""

    def _names(self) -> Sequence[str] | None:
        with reading(str(self.path)), self.open() as file:
            return self._begin(file)[1]

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts of 2,000 rows at a time."""
        with reading(self.name), self.open() as file:
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
        lines = lines_of_text(file, self.path)
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


class JsonLinesSource(ColumnSource):
    """A field of the objects in a JSON Lines file; whole numbers become texts."""

    word = "field"

    def _names(self) -> Sequence[str] | None:
        decoder = msgspec.json.Decoder(dict[str, Any])
        with reading(str(self.path)), self.open() as file:
            for first, block in line_blocks(file, self.path):
                for number, line in enumerate(block.split(b"\n"), first):
                    if line.strip():
                        return list(_decode_line(decoder, line, number))
        return None

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts of some lines at a time."""
        decoder = self._decoder()
        with reading(self.name), self.open() as file:
            for first, block in line_blocks(file, self.path):
                numbers, rows = _decode_block(decoder, block, first)
                yield check_texts([str(row.value) for row in rows], numbers, "line")

    def _decoder(self) -> msgspec.json.Decoder[Any]:
        """Return a decoder of the field alone, which is faster than one of all fields."""
        try:
            row = msgspec.defstruct("Row", [("value", str | int)], rename={"value": self.column})
        except ValueError:
            raise ConfigError(f"the {self.name} cannot be read", hint="give it a plainer name") from None
        return msgspec.json.Decoder(row)


class ParquetSource(ColumnSource):
    """A column of a Parquet file; whole numbers become texts."""

    def _names(self) -> Sequence[str] | None:
        with reading(str(self.path)), open_parquet(self.path) as file:
            schema = file.schema_arrow
            if (index := schema.get_field_index(self.column)) >= 0:
                self._check_type(schema.types[index])
            return list(schema.names)

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts of 10,000 rows at a time."""
        self.check()
        with reading(self.name), open_parquet(self.path) as file:
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
