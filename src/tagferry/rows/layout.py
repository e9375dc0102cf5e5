"""The columns of rows: which there are, of what shape, and their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, cast

import msgspec

from tagferry.errors import ConfigError
from tagferry.rows.shape import EMPTY, Shape, fit, shape_of, shape_of_type, widen

__all__ = ["Layout", "Survey", "TableColumn", "layout_of_header", "layout_of_type"]

_TEXT = Shape("text")
_MAPS = ("identifications", "properties")
"""Maps of CDP whose keys are columns, as they are in its CSV."""
Path = tuple[str, ...]


class TableColumn(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    shape: Shape
    path: Path
    """Where its values are: a key of a row, or that and a key of the map there."""


class Layout(msgspec.Struct, frozen=True):
    """The columns of a table, and how rows fill them."""

    columns: Sequence[TableColumn]
    by_field: bool = False
    """Whether rows are Structs and not dicts."""
    maps: Sequence[str] = ()
    """Keys whose maps are columns of their own."""

    def values(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        """Return the values of rows, column by column."""
        return [fit(self._gather(rows, column.path), column.shape) for column in self.columns]

    def _gather(self, rows: Sequence[Any], path: Path) -> list[Any]:
        if self.by_field:
            return list(map(attrgetter(path[0]), rows))
        if len(path) == 1 and path[0] not in self.maps:
            return [row.get(path[0]) for row in rows]
        if len(path) == 1:
            return [None if _is_map(value) else value for value in (row.get(path[0]) for row in rows)]
        outer, inner = path
        return [value.get(inner) if _is_map(value) else None for value in (row.get(outer) for row in rows)]


class Survey:
    """Finds the columns of rows that are dicts, by looking at all of them."""

    def __init__(self) -> None:
        self._shapes: dict[Path, Shape] = {}
        self._maps: Sequence[str] | None = None

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Look at more rows."""
        if self._maps is None:
            self._maps = _MAPS if "gio_id" in rows[0] else ()
        for key in dict.fromkeys(chain.from_iterable(rows)):
            values = [row[key] for row in rows if key in row]
            if key in self._maps:
                maps: list[dict[str, Any]] = [value for value in values if _is_map(value)]
                for inner in dict.fromkeys(chain.from_iterable(maps)):
                    self._note((key, inner), [one[inner] for one in maps if inner in one])
                values = [value for value in values if value is not None and not _is_map(value)]
                if not values:
                    continue
            self._note((key,), values)

    def layout(self) -> Layout:
        """Return the columns so far, in the order in which they came.

        Raises:
            ConfigError: Two of them would have the same name.
        """
        count = Counter(path[-1] for path in self._shapes)
        columns = [
            TableColumn(path[-1] if count[path[-1]] == 1 else ".".join(path), _settle(path, shape), path)
            for path, shape in self._shapes.items()
        ]
        (name, times), *_ = Counter(column.name for column in columns).most_common(1) or [("", 0)]
        if times > 1:
            msg = f"two columns would have the name {name}"
            raise ConfigError(msg, hint="convert to jsonl, which keeps rows as they are")
        return Layout(columns, maps=self._maps or ())

    def _note(self, path: Path, values: Sequence[Any]) -> None:
        self._shapes[path] = widen(self._shapes.get(path, EMPTY), shape_of(values))


def layout_of_header(header: Sequence[str]) -> Layout:
    """Return the columns of a CSV file: texts."""
    return Layout([TableColumn(name, _TEXT, (name,)) for name in header])


def layout_of_type(wanted: type[Any]) -> Layout:
    """Return the columns of a Struct's fields.

    Raises:
        ConfigError: The type is no Struct.
    """
    if not issubclass(wanted, msgspec.Struct):
        msg = f"rows of the type {wanted.__name__} make no table"
        raise ConfigError(msg, hint="give a msgspec.Struct, or no type")
    described = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(wanted))
    return Layout(
        [
            TableColumn(
                field.encode_name, _settle((field.encode_name,), shape_of_type(field.type)), (field.name,)
            )
            for field in described.fields
        ],
        by_field=True,
    )


def _settle(path: Path, shape: Shape) -> Shape:
    """Return the shape of a column of which no value was seen: a text, or a list of texts."""
    if shape.kind != "null":
        return shape
    # The tags of accounts that have none, or that are all unknown.
    return Shape("text", many=shape.many or path == ("tags",))


def _is_map(value: object) -> bool:
    return isinstance(value, dict)
