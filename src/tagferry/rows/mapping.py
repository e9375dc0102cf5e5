"""Which column of a CSV file goes where in a row, and as what."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Any, TypeVar, cast

import msgspec

from tagferry.errors import ConfigError
from tagferry.rows.binding import BadCell, Binding, Build, Column
from tagferry.rows.cdp import CDPRow, find_column, is_identity

__all__ = ["bind", "bind_cells"]

T = TypeVar("T")

_TEXTS = (str, str | None)


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
    return Column(index, name, nullable=nullable, kind=kind)


def _missing(name: str) -> BadCell:
    return BadCell("the file has no column of this name", name)


def _repeated(names: Sequence[str], wanted: Iterable[str]) -> BadCell | None:
    count = Counter(names)
    for name in wanted:
        if count[name] > 1:
            hint = "export with key headers, whose names are unique"
            return BadCell("the header has more than one column of this name", name, hint=hint)
    return None
