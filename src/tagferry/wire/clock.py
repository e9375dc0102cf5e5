"""Time and sleep, as arguments."""

from __future__ import annotations

import time
from typing import Protocol

import anyio

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the waiting parts know of time."""

    def now(self) -> int:
        """Return monotonic time in ns."""
        ...

    def unix(self) -> float:
        """Return Unix time in seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a timer may be early or late, so look at `now` again."""
        ...


class SystemClock:
    """The clocks of this machine and the sleep of the running event loop."""

    def now(self) -> int:
        """Return monotonic time in ns."""
        return time.monotonic_ns()

    def unix(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await anyio.sleep(seconds)
