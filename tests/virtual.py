"""Time that passes only when everybody waits: an event loop for tests of waiting."""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

SECOND = 1_000_000_000
START = 1_000 * SECOND
"""Where virtual time starts, in ns; not 0, so that "0 means never" cannot hide."""
UNIX_START = 1_790_000_000.0
_REAL_STEP = 0.005
"""The longest real wait, in seconds, before worker threads are looked at again."""


class Deadlock(BaseException):
    """Everybody waits, and nothing can ever wake anybody."""


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the time to it."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        while True:
            # In this order: whoever was not busy has already left its byte in the loop's own pipe.
            busy = self.loop.threads_busy()
            events = super().select(0)
            if events:
                return events
            if busy:
                # Real work on a thread takes no virtual time.
                if events := super().select(_REAL_STEP):
                    return events
                continue
            sockets = len(self.get_map()) > 1
            if sockets and self.loop.grace and (events := super().select(self.loop.grace)):
                return events
            if timeout is None:
                if sockets:
                    return super().select(None)
                raise Deadlock
            # A float cannot hold every ns: rounding up makes every wait get somewhere.
            self.loop.ns += max(1, math.ceil(timeout * SECOND))
            return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is ready.

    Work on threads is waited for in real time, and virtual time stands still meanwhile. Sockets work,
    but the time may jump while bytes are on their way; `grace` is how long that is waited for.
    """

    def __init__(self, start: int = START, grace: float = 0.0) -> None:
        self.ns = start
        self.grace = grace
        self._jobs = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.ns / SECOND

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        self._jobs += 1

        def done(_: object) -> None:
            self._jobs -= 1

        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jobs -= 1

    def threads_busy(self) -> bool:
        if self._jobs:
            return True
        return any(
            type(thread).__name__ == "WorkerThread"
            and getattr(thread, "loop", None) is self
            and thread.queue.unfinished_tasks  # type: ignore[attr-defined]
            for thread in threading.enumerate()
        )


class VirtualClock:
    """The `tagferry.wire.clock.Clock` of a `VirtualLoop`.

    Args:
        unix_offset: Seconds that the wall clock is wrong by; may be changed at any time.
    """

    def __init__(self, unix_offset: float = 0.0) -> None:
        self.unix_offset = unix_offset
        self.slept: list[float] = []
        """All sleeps, in seconds."""

    def now(self) -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "VirtualClock works in run_virtual only"
        return loop.ns

    def unix(self) -> float:
        return UNIX_START + (self.now() - START) / SECOND + self.unix_offset

    async def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < math.inf, f"a sleep of {seconds!r} s"
        self.slept.append(seconds)
        await anyio.sleep(seconds)


def run_virtual(
    main: Callable[[], Awaitable[T]], *, start: int = START, grace: float = 0.0, limit: float = 10_000_000.0
) -> T:
    """Run an async function in virtual time to its end.

    Args:
        main: The function.
        start: When virtual time starts, in ns; for what spans several runs.
        grace: Real seconds that bytes on sockets get before the time jumps.
        limit: Virtual seconds after which the run counts as stuck.

    Raises:
        Deadlock: Everybody waits and nothing can wake anybody.
        TimeoutError: The limit is over.
    """

    async def limited() -> T:
        with anyio.fail_after(limit):
            return await main()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start, grace)) as runner:
        return runner.run(limited())
