"""An export downloaded and read at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tagferry.errors import TagferryError
from tagferry.exports.background import background_tasks
from tagferry.exports.delivery import IfExists, check_targets, deliver, within
from tagferry.exports.follower import Follower
from tagferry.exports.tail import Tail
from tagferry.files.thread import in_thread
from tagferry.rows.arrow import RecordBatch, load
from tagferry.rows.fault import Faults
from tagferry.rows.options import ReadOptions
from tagferry.rows.reader import Rows

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = ["read_export"]

T = TypeVar("T")


@asynccontextmanager
async def read_export(
    export: Export,
    directory: Path,
    options: ReadOptions[T],
    faults: Faults,
    *,
    deadline: float | None,
    if_exists: IfExists,
    resume: bool,
) -> AsyncGenerator[Rows[T]]:
    """Download an export, and give its rows meanwhile; see `tagferry.Export.rows`."""
    found = await in_thread(check_targets, [export], directory, if_exists)
    tail = Tail(export.backend.emit)
    # What happens to this download, and to no other one of the client.
    followed = dataclasses.replace(export, backend=msgspec.structs.replace(export.backend, emit=tail.take))
    work = functools.partial(deliver, directory=directory, existing=found, if_exists=if_exists, resume=resume)

    async def download() -> None:
        try:
            done = await within(deadline, followed, work)
        except TagferryError as error:
            tail.fail(error)
        else:
            tail.finish(done.files)

    async with background_tasks() as start:
        start(download())
        async with _ExportRows(
            Follower(export, directory, tail, options, faults), tail, options, faults
        ) as rows:
            yield rows


class _ExportRows(Rows[T]):
    """The rows of a running export.

    Args:
        follower: Where they come from.
        tail: Tells when all is done.
        options: How the files are read.
        faults: What is done about bad records.
    """

    def __init__(self, follower: Follower[T], tail: Tail, options: ReadOptions[T], faults: Faults) -> None:
        super().__init__([], options, faults, pieces=follower)
        self._tail = tail

    def arrow_batches(self) -> AsyncIterator[RecordBatch]:
        """Return the rows as ``pyarrow.RecordBatch``, when all files are saved."""
        load()
        return self._batches_of_saved()

    async def _batches_of_saved(self) -> AsyncGenerator[RecordBatch]:
        self._files = [file.path for file in await self._tail.saved()]
        if self._files:
            async for batch in super().arrow_batches():
                yield batch
