"""How an export ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from tagferry.errors import TagferryError
    from tagferry.exports.export import Export

__all__ = ["ExportDone", "ExportFailed", "Outcome", "SavedFile"]


class SavedFile(msgspec.Struct, frozen=True):
    """A whole, verified file under its final name."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    """The hex digest of those bytes."""


class ExportDone(msgspec.Struct, frozen=True):
    """An export whose files are on disk."""

    export: Export
    files: tuple[SavedFile, ...]
    """In order of the parts; none when the audience is empty."""
    state: Literal["done", "empty", "skipped"] = "done"


class ExportFailed(msgspec.Struct, frozen=True):
    """An export that could not be brought to its end; others are not touched by it."""

    export: Export
    error: TagferryError


Outcome = ExportDone | ExportFailed
