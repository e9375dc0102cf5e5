"""Several batches at once: workers that take one, ask for it, and settle it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Generic, TypeVar

from tagferry.errors import TagferryError

__all__ = ["work_off"]

T = TypeVar("T")


async def work_off(
    take: Callable[[], Awaitable[T | None]],
    work: Callable[[T], Awaitable[None]],
    workers: int,
    *,
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
) -> None:
    """Take pieces of work until there is none, several at once.

    The first failure stops everything that is under way; so does a cancellation from within, such as one of
    what `take` waits for.

    Args:
        take: Gives the next piece, or None at the end; it is safe to call by several at once.
        work: Does one piece.
        workers: The most pieces at once.
        beside: What runs beside them until they are done.
    """
    failure: BaseException
    try:
        async with asyncio.TaskGroup() as group:
            other = group.create_task(beside()) if beside else None
            await _Crew(group, take, work, workers).work_off()
            if other is not None:
                other.cancel()
    except BaseExceptionGroup as errors:
        failure = _first(errors)
    else:
        return
    # Raised out here, it is not wrapped in a group nor chained to one.
    raise failure


class _Crew(Generic[T]):
    """Workers, of which there are no more than there is work for: most look-ups are of one batch."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        take: Callable[[], Awaitable[T | None]],
        work: Callable[[T], Awaitable[None]],
        most: int,
    ) -> None:
        self._group = group
        self._take = take
        self._work = work
        self._most = most
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = 0

    async def work_off(self) -> None:
        """Return when nothing is left."""
        self._hire()
        while busy := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(busy)

    def _hire(self) -> None:
        self._idle += 1
        self._tasks.append(self._group.create_task(self._run()))

    async def _run(self) -> None:
        try:
            while (piece := await self._take()) is not None:
                self._idle -= 1
                if not self._idle and len(self._tasks) < self._most:
                    self._hire()
                await self._work(piece)
                self._idle += 1
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            # As a cancellation it would end this worker unheard, and its piece would be lost.
            msg = "what a look-up waited for was cancelled"
            raise RuntimeError(msg) from error


def _is_cancelled() -> bool:
    """Tell whether anybody cancelled this task, and not only what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one failure of several: a bug before what the service or the disk said."""
    bugs = [error for error in errors.exceptions if not isinstance(error, TagferryError)]
    return (bugs or errors.exceptions)[0]
