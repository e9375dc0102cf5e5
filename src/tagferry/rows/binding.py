"""From the records of a CSV file to rows."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast, get_args

import msgspec

from tagferry.rows.transcript import Transcript

__all__ = ["QUOTED_EMPTY", "BadCell", "Binding", "Build", "Column"]

T = TypeVar("T")
Build = Callable[[Iterable[tuple[Any, ...]]], Iterable[T]]

QUOTED_EMPTY = "\ue83a"
"""What the fast parser is given for an empty cell in quotes; an empty cell without quotes is a null."""
_PART = 256
"""Rows handled at once: so few lists stay in the processor's cache and out of the garbage collector's way."""
_BAD = (TypeError, ValueError, msgspec.ValidationError)
"""What a type raises about values that it does not take."""


class BadCell(msgspec.Struct, frozen=True):
    """Why a header or a record makes no rows."""

    reason: str
    column: str | None = None
    value: str | None = None
    hint: str | None = None


class Column(msgspec.Struct, frozen=True):
    """A column that is wanted."""

    index: int
    """Its place in the file."""
    name: str
    nullable: bool
    """Whether a null is None, and not an empty text."""
    kind: Any = str
    """The type of its values, without None unless it is not only text that is wanted."""

    @property
    def json_type(self) -> Any:
        """What the cells are in JSON."""
        return str | None if self.kind is str and self.nullable else self.kind

    @property
    def takes_raw(self) -> bool:
        """Whether its values may be JSON texts."""
        return msgspec.Raw in (self.kind, *get_args(self.kind))

    def convert(self, cells: Sequence[str | None]) -> Sequence[Any]:
        """Return the values of many cells: three times as fast as cell by cell."""
        if self.kind is str:
            return cells
        many: Any = list.__class_getitem__(self.kind)
        values: list[Any] = msgspec.convert(cells, many, strict=False)
        return values


class Binding(Generic[T]):
    """Makes rows of a file's records.

    Args:
        width: The number of the file's columns.
        columns: Those that are wanted, in the order in which `build` takes them.
        build: Makes rows of tuples of values.
        plain: Whether it takes the records as the parser gives them, and refuses any other number of cells.
    """

    def __init__(self, width: int, columns: Sequence[Column], build: Build[T], *, plain: bool) -> None:
        self._width = width
        self._columns = columns
        self._build = build
        self._plain = plain
        self.tells_nulls = any(column.nullable for column in columns)
        """Whether the parser has to mark empty cells that were quoted."""
        self._pick = _picker(width, [column.index for column in columns])
        self._transcript = _make_transcript(width, columns)

    def transcribe(self, block: bytes) -> list[T] | None:
        """Return the rows of a block of lines if that can be done the fast way."""
        records = None if self._transcript is None else self._transcript.read(block)
        try:
            return None if records is None else list(self._build(self._pick(records)))
        except _BAD:
            return None

    def read(self, parser: Iterator[list[str]], rows: list[T], *, marked: bool) -> bool:
        """Append the rows of a parser's records; tell whether it went through.

        If it did not, the rows are those of all records before the one that it broke at.

        Args:
            parser: A parser of the standard library.
            rows: What to append to.
            marked: Whether empty cells may be marked.

        Raises:
            TypeError: Some record makes no row.
            ValueError: The same.
            msgspec.ValidationError: The same.
        """
        try:
            if self._plain:
                rows.extend(self._build(cast("Iterator[Any]", parser)))
                return True
        except csv.Error:
            return False
        whole = more = True
        while whole and more:
            part: list[list[str]] = []
            try:
                # A list keeps what it was given before an error.
                part.extend(islice(parser, _PART))
            except csv.Error:
                whole = False
            if more := bool(part):
                rows.extend(self._build(zip(*self._values(part, marked=marked), strict=True)))
        return whole

    def row(self, cells: Sequence[str | None]) -> T | BadCell:
        """Return the row of one record, or what is wrong with it."""
        if len(cells) != self._width:
            return BadCell(f"the record has {len(cells)} cells and the header {self._width}")
        values: list[Any] = []
        for column in self._columns:
            cell = cells[column.index]
            value = "" if cell is None and not column.nullable else cell
            try:
                values += column.convert([value])
            except msgspec.ValidationError as error:
                reason = str(error).partition(" - at ")[0]
                return BadCell(reason[:1].lower() + reason[1:], column.name, value)
        try:
            (row,) = self._build([tuple(values)])
        except _BAD as error:
            # A check of the user's own type.
            return BadCell(str(error) or type(error).__name__)
        return row

    def _values(self, part: list[list[str]], *, marked: bool) -> Iterator[Sequence[Any]]:
        columns = list(zip(*part, strict=True))
        if len(columns) != self._width:
            msg = "some record has another number of cells"
            raise ValueError(msg)
        for column in self._columns:
            cells: Sequence[str | None] = columns[column.index]
            if column.nullable and "" in cells:
                cells = [cell or None for cell in cells]
            if marked and QUOTED_EMPTY in cells:
                cells = ["" if cell == QUOTED_EMPTY else cell for cell in cells]
            yield column.convert(cells)


def _picker(
    width: int, indices: Sequence[int]
) -> Callable[[Iterable[tuple[Any, ...]]], Iterable[tuple[Any, ...]]]:
    """Return what picks cells of records."""
    if indices == list(range(width)):
        return lambda records: records
    if len(indices) > 1:
        return functools.partial(map, itemgetter(*indices))
    pick = itemgetter(*indices)
    return lambda records: zip(map(pick, records), strict=True)


def _make_transcript(width: int, columns: Sequence[Column]) -> Transcript | None:
    """Return what decodes records the fast way, unless it cannot give what the columns want."""
    kinds = {column.index: column.json_type for column in columns}
    # Two fields may share a column; and what is to be left undecoded would be left in its quotes.
    if any(kinds[column.index] != column.json_type or column.takes_raw for column in columns):
        return None
    return Transcript([kinds.get(index, str | None) for index in range(width)])
