"""From the cells of a CSV file to rows: which column goes where, and as what."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, starmap
from typing import Any, Generic, TypeVar, cast

import msgspec

from tagferry.errors import ConfigError
from tagferry.rows.cdp import CDPRow, find_column, is_identity

__all__ = ["QUOTED_EMPTY", "BadCell", "Binding", "bind", "bind_cells"]

T = TypeVar("T")
Build = Callable[[Iterable[tuple[Any, ...]]], Iterable[T]]

QUOTED_EMPTY = "\ue83a"
"""What the fast parser is given for an empty cell in quotes; an empty cell without quotes is a null."""
_PART = 256
"""Rows handled at once: so few lists stay in the processor's cache and out of the garbage collector's way."""
_TEXTS = (str, str | None)


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
    convert: Callable[[Sequence[str | None]], Sequence[Any]] | None = None
    """Turns many cells into values, unless they are wanted as text."""


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
                values += [value] if column.convert is None else column.convert([value])
            except msgspec.ValidationError as error:
                reason = str(error).partition(" - at ")[0]
                return BadCell(reason[:1].lower() + reason[1:], column.name, value)
        try:
            (row,) = self._build([tuple(values)])
        except (TypeError, ValueError, msgspec.ValidationError) as error:
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
            yield cells if column.convert is None else column.convert(cells)


def bind(wanted: type[T] | None, names: Sequence[str]) -> Binding[T] | BadCell:
    """Return how the records below a header become rows, or what is wrong with the header.

    Args:
        wanted: A msgspec Struct, or None for dicts of texts.
        names: The header.

    Raises:
        ConfigError: The type is no Struct.
    """
    if wanted is None:
        return cast("Binding[T] | BadCell", _bind_dict(names))
    if not issubclass(wanted, msgspec.Struct):
        msg = f"the records of a CSV file cannot become {wanted.__name__}"
        raise ConfigError(msg, hint="give a msgspec.Struct, or no type for dicts")
    if issubclass(wanted, CDPRow):
        return cast("Binding[T] | BadCell", _bind_cdp(wanted, names))
    return cast("Binding[T] | BadCell", _bind_struct(wanted, names))


def bind_cells(names: Sequence[str]) -> Binding[tuple[str | None, ...]] | BadCell:
    """Return how records become tuples of texts, or what is wrong with the header."""
    if twice := _repeated(names, names):
        return twice
    columns = [Column(index, name, nullable=True) for index, name in enumerate(names)]
    return Binding(len(names), columns, lambda cells: cells, plain=False)


def _bind_dict(names: Sequence[str]) -> Binding[dict[str, str | None]] | BadCell:
    if twice := _repeated(names, names):
        return twice

    def build(cells: Iterable[tuple[Any, ...]]) -> Iterable[dict[str, str | None]]:
        return [dict(zip(names, record, strict=False)) for record in cells]

    columns = [Column(index, name, nullable=True) for index, name in enumerate(names)]
    return Binding(len(names), columns, build, plain=False)


def _bind_cdp(wanted: type[CDPRow], names: Sequence[str]) -> Binding[CDPRow] | BadCell:
    if twice := _repeated(names, names):
        return twice
    if "gio_id" not in names:
        return _missing("gio_id")
    order = sorted(names, key=lambda name: (name != "gio_id", not is_identity(name)))
    border = 1 + sum(map(is_identity, names))
    identities, properties = order[1:border], order[border:]

    def build(cells: Iterable[tuple[Any, ...]]) -> Iterable[CDPRow]:
        return [
            wanted(
                record[0],
                dict(zip(identities, record[1:border], strict=True)),
                dict(zip(properties, record[border:], strict=True)),
            )
            for record in cells
        ]

    columns = [Column(names.index(name), name, nullable=name != "gio_id") for name in order]
    return Binding(len(names), columns, build, plain=False)


def _bind_struct(wanted: type[msgspec.Struct], names: Sequence[str]) -> Binding[msgspec.Struct] | BadCell:
    columns: list[Column] = []
    fields: list[str] = []
    for field in msgspec.structs.fields(wanted):
        name = find_column(names, field.encode_name)
        if name is not None:
            fields.append(field.name)
            columns.append(_column(names.index(name), name, field.type))
        elif field.required:
            return _missing(field.encode_name)
    used = [column.name for column in columns]
    if not used:
        return BadCell(f"the file has none of the columns of {wanted.__name__}")
    if twice := _repeated(names, used):
        return twice
    extra = [name for name in names if name not in used]
    if extra and wanted.__struct_config__.forbid_unknown_fields:
        return BadCell(f"{wanted.__name__} forbids columns that it does not name", extra[0])
    positional = wanted.__match_args__[: len(fields)] == tuple(fields)
    build: Build[msgspec.Struct] = (
        functools.partial(starmap, wanted) if positional else _by_name(wanted, fields)
    )
    # Then the type itself refuses a record with too many or too few cells.
    plain = (
        positional
        and [column.index for column in columns] == list(range(len(names)))
        and all(field.required and field.type is str for field in msgspec.structs.fields(wanted))
    )
    return Binding(len(names), columns, build, plain=plain)


def _by_name(wanted: type[msgspec.Struct], fields: Sequence[str]) -> Build[msgspec.Struct]:
    def build(cells: Iterable[tuple[Any, ...]]) -> Iterable[msgspec.Struct]:
        return [wanted(**dict(zip(fields, record, strict=True))) for record in cells]

    return build


def _column(index: int, name: str, kind: Any) -> Column:
    if kind in _TEXTS:
        return Column(index, name, nullable=kind is not str)
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        nullable = False
    else:
        nullable = True
    # All cells of a column in one call: three times as fast as row by row.
    convert = functools.partial(msgspec.convert, type=list[kind], strict=False)
    return Column(index, name, nullable=nullable, convert=convert)


def _missing(name: str) -> BadCell:
    return BadCell("the file has no column of this name", name)


def _repeated(names: Sequence[str], wanted: Iterable[str]) -> BadCell | None:
    count = Counter(names)
    for name in wanted:
        if count[name] > 1:
            hint = "export with key headers, whose names are unique"
            return BadCell("the header has more than one column of this name", name, hint=hint)
    return None
