"""Blocking work on worker threads, always waited for to its end.

An await of a thread that is cancelled leaves the thread running: it would write into files that are closed
by then, and what it opened would belong to nobody.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["in_thread", "settle", "start"]

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: object, undo: Callable[[T], object] | None = None) -> T:
    """Run blocking work on a worker thread; a cancellation takes effect when it has ended.

    Args:
        work: The work.
        args: Its arguments.
        undo: Called with the result, on a worker thread too, when a cancellation keeps it from the caller.
    """
    running = start(work, *args)
    try:
        return await settle(running)
    except asyncio.CancelledError:
        if undo is not None and not running.cancelled() and running.exception() is None:
            await settle(start(undo, running.result()))
        raise


def start(
    work: Callable[..., T], *args: object, limiter: anyio.CapacityLimiter | None = None
) -> asyncio.Future[T]:
    """Begin blocking work on a worker thread; it has to be waited for with `settle`.

    These are not the threads of asyncio, which resolves names on a few of them: a slow disk must not hold
    up polls.

    Args:
        work: The work.
        args: Its arguments.
        limiter: Bounds how much of the kind is done at once.
    """
    return asyncio.ensure_future(anyio.to_thread.run_sync(functools.partial(work, *args), limiter=limiter))


async def settle(running: asyncio.Future[T]) -> T:
    """Wait for work until it has ended, also when cancelled; then return its result or raise."""
    cancelled: asyncio.CancelledError | None = None
    # The scope holds off cancellations of anyio, the loop those of asyncio.
    with anyio.CancelScope(shield=True):
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
    failure = running.exception()  # looked at in any case, or asyncio calls it lost
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure
    return running.result()
