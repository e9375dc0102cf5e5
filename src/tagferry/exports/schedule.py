"""When a job is asked about again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

__all__ = ["PollSchedule"]


class PollSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Delays with decorrelated jitter: each is drawn between the floor and three times the one before.

    Jobs that began together drift apart, short jobs are seen soon, and long ones are asked about rarely.
    """

    floor: float = 1.0
    """The shortest delay in seconds."""
    cap: float = 30.0
    """The longest delay in seconds; links of GrowingIO live for five minutes by default."""

    def delays(self, chance: Callable[[], float]) -> Iterator[float]:
        """Yield the delays of one job in seconds, without end.

        Args:
            chance: Returns a random number from 0 to 1.
        """
        delay = self.floor
        while True:
            delay = min(self.cap, self.floor + chance() * (3 * delay - self.floor))
            yield delay
