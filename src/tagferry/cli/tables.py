"""``tagferry export … --to parquet``: a table beside the files of each export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagferry.errors import ConfigError, RecordError
from tagferry.events import Converting, Emit
from tagferry.exports.delivery import IfExists, check_targets
from tagferry.exports.export import Export
from tagferry.exports.outcome import ExportDone
from tagferry.files.disk import disk_errors, look, sync_directory
from tagferry.files.thread import in_thread
from tagferry.lookups.parquet import open_parquet
from tagferry.rows.convert import Converted, convert

__all__ = ["Tables"]


class Tables:
    """Makes tables of exports. The files that they are made of are kept.

    Args:
        directory: Where the files are, and the tables go.
        if_exists: What to do about a table that is there.
        emit: Is told of each table that is made.
    """

    def __init__(self, directory: Path, if_exists: IfExists, emit: Emit) -> None:
        self._directory = directory
        self._if_exists: IfExists = if_exists
        self._emit = emit

    async def find(self, exports: Sequence[Export]) -> dict[Export, Converted]:
        """Return the tables that make their export superfluous: they are kept, and their files are gone.

        Raises:
            ConfigError: A table is in the way; before any request.
            DiskError: The directory cannot be read.
        """
        return await in_thread(self._find, exports)

    async def make(self, done: ExportDone) -> Converted | None:
        """Make the table of an export, unless it is there already; None if the audience is empty.

        Raises:
            TagferryError: It cannot be made; the files are kept.
        """
        path = self._path(done.export)
        if not done.files:
            if self._if_exists == "replace":
                await in_thread(_remove, path)
            return None
        if done.state == "skipped" and (kept := await in_thread(_look, path, done)) is not None:
            return kept
        self._emit(Converting(output=str(path)))
        files = [file.path for file in done.files]
        dialect = done.export.backend.dialect
        return await convert(
            files,
            "parquet",
            output=path,
            dialect=dialect,
            replace=self._if_exists != "error",
            on_event=self._emit,
        )

    def _find(self, exports: Sequence[Export]) -> dict[Export, Converted]:
        saved = check_targets(exports, self._directory, self._if_exists)
        kept: dict[Export, Converted] = {}
        for export in exports:
            path = self._path(export)
            if self._if_exists == "error" and look(path, follow=False):
                hint = "--if-exists skip keeps it and goes on with the rest, replace does not"
                raise ConfigError(f"{path} is already there", service=export.service, hint=hint)
            if self._if_exists == "skip" and export.stem not in saved and (table := _look(path)):
                kept[export] = table
        return kept

    def _path(self, export: Export) -> Path:
        return self._directory / f"{export.stem}.parquet"


def _look(path: Path, done: ExportDone | None = None) -> Converted | None:
    """Return the table at a path, if it is whole and no older than the files that it is of. Blocks."""
    status = look(path)
    if status is None:
        return None
    for file in done.files if done else ():
        with disk_errors(file.path, "look at"):
            if file.path.stat().st_mtime_ns > status.st_mtime_ns:
                return None
    try:
        with disk_errors(path, "read"), open_parquet(path) as file:
            return Converted(path, status.st_size, file.metadata.num_rows)
    except RecordError:
        return None


def _remove(path: Path) -> None:
    if look(path, follow=False):
        with disk_errors(path, "remove"):
            path.unlink(missing_ok=True)
            sync_directory(path.parent)
