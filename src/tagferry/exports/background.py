"""Tasks that run beside a block, and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager

__all__ = ["Start", "background_tasks"]

Start = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
"""Starts a task."""


@asynccontextmanager
async def background_tasks() -> AsyncGenerator[Start]:
    """Give what starts tasks; when the block is left, however it is left, they are cancelled and waited for.

    What the block raises goes on as it is. A task that fails cancels the block, and raises a group.
    """
    tasks: list[asyncio.Task[None]] = []
    failure: BaseException | None = None
    # A task of asyncio's own group weighs half of anyio's: ten thousand exports may wait here.
    async with asyncio.TaskGroup() as group:

        def start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
            tasks.append(group.create_task(work))
            return tasks[-1]

        try:
            yield start
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            failure = error
        for task in tasks:
            task.cancel()
    if failure is not None:
        # Raised out here, the caller's own exception, or the end of a generator, is not wrapped in a group.
        raise failure
