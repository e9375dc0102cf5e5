"""When a job is asked about again."""

from __future__ import annotations

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

    def after(self, delay: float | None, chance: float) -> float:
        """Return the delay after a delay, or the first one after None; in seconds.

        Args:
            delay: The delay before.
            chance: A random number from 0 to 1.
        """
        return min(self.cap, self.floor + chance * (3 * (delay or self.floor) - self.floor))
