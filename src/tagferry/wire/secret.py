"""A text that must not be seen."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret(str):
    """A text that `repr` hides, so that no traceback with local variables shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"
