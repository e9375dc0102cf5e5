"""The rows of GrowingIO CDP, in all their documented forms: protocol/growingio.md, 2.3 and 2.7."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

__all__ = ["CDPRow", "find_column", "is_identity"]

_PREFIXES = ("id_", "ids_", "d_")
"""The last value, all values, and how the worked examples spell it."""

if TYPE_CHECKING:
    GioId = str
    Values = Mapping[str, Any]
else:
    # The service writes a number or a string, and leaves out or nulls what is empty.
    GioId = int | str
    Values = dict[str, Any] | None


def is_identity(column: str) -> bool:
    """Tell whether a column of a file with key headers holds an identity."""
    return column.startswith(_PREFIXES)


def find_column(columns: Collection[str], wanted: str) -> str | None:
    """Return the column that holds what is wanted, or None.

    An identity is found whatever its prefix: what was asked for as ``ids_x`` may come as ``id_x`` or ``d_x``.

    Args:
        columns: The names of the columns or keys that are there.
        wanted: A column, or an identity with or without its prefix, such as ``"$basic_userId"``.

    >>> find_column(["gio_id", "d_$basic_userId"], "ids_$basic_userId")
    'd_$basic_userId'
    """
    if wanted in columns:
        return wanted
    prefix = next((prefix for prefix in _PREFIXES if wanted.startswith(prefix)), "")
    identity = wanted.removeprefix(prefix)
    return next((name + identity for name in _PREFIXES if name + identity in columns), None)


class CDPRow(msgspec.Struct):
    """A user in a file of GrowingIO CDP, be it JSON Lines or CSV with key headers."""

    gio_id: GioId
    """The system's number of the user, as text: it may have more digits than a float keeps."""
    identifications: Values = msgspec.field(default_factory=dict[str, Any])
    """Identities by their key, each a text or a list of texts."""
    properties: Values = msgspec.field(default_factory=dict[str, Any])
    """User attributes and tags by their key; None is a user without it."""

    def __post_init__(self) -> None:
        self.gio_id = str(self.gio_id)
        # A null instead of a map, which the types above do not admit.
        self.identifications = self.identifications or {}
        self.properties = self.properties or {}

    def identity(self, name: str) -> Any:
        """Return an identity whatever its prefix, or None: ``row.identity("$basic_userId")``.

        Args:
            name: The identity, with or without prefix.
        """
        column = find_column(self.identifications, name)
        return None if column is None else self.identifications[column]

    def identities(self, name: str, *, separator: str | None = None) -> list[str]:
        """Return all values of an identity, whether they came as a list, as one value, or not at all.

        Args:
            name: The identity, with or without prefix.
            separator: What stands between the values of one text; the service does not document one.
        """
        value = self.identity(name)
        if value is None:
            return []
        if isinstance(value, list):
            return [str(one) for one in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return str(value).split(separator) if separator else [str(value)]
