"""Time and sleep, as arguments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the waiting parts know of time."""

    def now(self) -> int:
        """Return monotonic time in ns."""
        ...

    def unix(self) -> float:
        """Return Unix time in seconds."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
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

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait on the running event loop."""
        return asyncio.sleep(seconds)
