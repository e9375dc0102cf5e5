"""When a job is asked about again."""

from __future__ import annotations

import math

import msgspec

__all__ = ["PollSchedule"]

_FACTOR = 3


class PollSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Delays with decorrelated jitter: each is drawn between the floor and three times the one before.

    Jobs that began together drift apart, short jobs are seen soon, and long ones are asked about rarely. No
    delay is longer than a part of the time that a job has taken so far: one of half a minute is not waited
    for twice as long. While hundreds wait for their turns that changes nothing.
    """

    floor: float = 1.0
    """The shortest delay in seconds."""
    cap: float = 30.0
    """The longest delay in seconds; links of GrowingIO live for five minutes by default."""
    share: float = 0.2
    """The longest delay as a part of the job's age; three times the floor are always allowed. With ten jobs
    of a minute it halves the time from their end to its notice, for a tenth more questions."""

    def after(self, delay: float | None, chance: float, age: float = math.inf) -> float:
        """Return the delay after a delay, or the first one after None; in seconds.

        Args:
            delay: The delay before.
            chance: A random number from 0 to 1.
            age: How long ago the job began, in seconds.
        """
        longest = min(self.cap, max(_FACTOR * self.floor, self.share * age))
        return min(longest, self.floor + chance * (_FACTOR * (delay or self.floor) - self.floor))
