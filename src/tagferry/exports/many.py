"""Many exports at once: outcomes as they settle."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from tagferry.errors import ConfigError, TagferryError
from tagferry.exports.background import Start, background_tasks
from tagferry.exports.delivery import DEADLINE, IfExists, check_targets, deliver, within
from tagferry.exports.export import Export
from tagferry.exports.outcome import ExportFailed, Outcome
from tagferry.exports.slots import Slots
from tagferry.files.thread import in_thread

__all__ = ["download_all"]

_START = 50
"""Exports that are started in one go; ten thousand would hold up everything else on the event loop."""


@asynccontextmanager
async def download_all(
    exports: Iterable[Export],
    directory: str | os.PathLike[str],
    *,
    concurrency: int = 8,
    deadline: float | None = DEADLINE,
    if_exists: IfExists = "error",
    resume: bool = True,
) -> AsyncGenerator[AsyncIterator[Outcome]]:
    """Export many at once; one that fails takes no other down.

    All jobs are asked for and waited for together, under the quotas of their services. Downloads begin
    in the order in which the jobs were seen to finish, a few at a time. Leaving the block early stops
    what is not done; the next run goes on there.

    Args:
        exports: The exports; they may be of several clients.
        directory: Where the files go; made if need be.
        concurrency: How many downloads run at once.
        deadline: Seconds that each export may take; None for no bound.
        if_exists: What to do about a finished file that is already there, as for `Export.download`.
        resume: Whether to go on with unfinished files.

    Returns:
        An async context manager that gives the outcomes, one for each export, as they settle.

    Raises:
        ConfigError: Something cannot end well: clashing names, a file in the way; before any request.
    """
    chosen = list(exports)
    if concurrency < 1:
        raise ConfigError(f"concurrency is {concurrency}", hint="give at least 1")
    where = Path(directory)
    found = await in_thread(check_targets, chosen, where, if_exists)
    send, outcomes = anyio.create_memory_object_stream[Outcome](0)
    work = functools.partial(
        deliver,
        directory=where,
        existing=found,
        if_exists=if_exists,
        resume=resume,
        slots=Slots(concurrency),
    )

    async def run(export: Export) -> None:
        outcome: Outcome
        try:
            outcome = await within(deadline, export, work)
        except TagferryError as error:
            outcome = ExportFailed(export, error)
        # The block may have been left while this one failed on its way out.
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await send.send(outcome)

    async with background_tasks() as start:
        with send, outcomes:
            tasks = await _start(start, map(run, chosen))
            start(_close_after(tasks, send))
            yield outcomes


async def _start(start: Start, work: Iterable[Coroutine[None, None, None]]) -> list[asyncio.Task[None]]:
    tasks: list[asyncio.Task[None]] = []
    for coroutine in work:
        tasks.append(start(coroutine))
        if len(tasks) % _START == 0:
            await asyncio.sleep(0)
    return tasks


async def _close_after(tasks: list[asyncio.Task[None]], send: MemoryObjectSendStream[Outcome]) -> None:
    """End the stream of outcomes when all have been taken."""
    if tasks:
        await asyncio.wait(tasks)
    send.close()
