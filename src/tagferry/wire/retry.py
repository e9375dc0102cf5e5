"""Whether to try again, and when: the one place that decides it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from tagferry.errors import TagferryError

__all__ = ["MAX_RETRY_AFTER", "RetryBudget", "RetryPolicy", "read_retry_after"]

MAX_RETRY_AFTER = 300.0
"""The longest wait, in seconds, that a server can ask of us."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and after which delay, a failed call is tried again."""

    retries: int = 8
    """The most tries after the first one."""
    base: float = 0.5
    """The upper end of the first delay, in seconds; it doubles with each failure."""
    cap: float = 30.0
    """The longest delay of our own choice, in seconds."""
    patience: float = 180.0
    """The longest wait for a place in the budget since the first failure, in seconds."""
    limits: Mapping[int | str | None, int] = {}
    """The most retries after errors with certain codes, where they are fewer."""

    def delay(self, error: TagferryError, failures: int, chance: float) -> float | None:
        """Return the wait before the next try in seconds, or None when it is time to give up.

        Full jitter: anything between nothing and the doubled bound, but never less than the server asks.

        Args:
            error: What went wrong.
            failures: How many tries failed in a row, this one included.
            chance: A random number from 0 to 1.
        """
        if not error.retryable or failures > min(self.retries, self.limits.get(error.code, failures)):
            return None
        # The exponent is bounded so that a very long row of failures cannot overflow a float.
        bound = min(self.cap, self.base * 2.0 ** min(failures - 1, 32))
        return max(chance * bound, error.retry_after or 0.0)


class RetryBudget:
    """Keeps the retries of all calls to one service to a tenth of the calls, over any minute.

    A service that is down would otherwise see every call several times over. A floor lets a small
    program retry at all.

    Args:
        share: Retries allowed for each first try of the last minute.
        floor: Retries allowed in any minute, however few first tries there were.
    """

    def __init__(self, share: float = 0.1, floor: int = 10) -> None:
        self._share = share
        self._floor = floor
        self._calls: deque[int] = deque()
        self._retries: deque[int] = deque()

    def note_call(self, now: int) -> None:
        """Count a first try at a time in ns."""
        self._forget(now)
        self._calls.append(now)

    def wait(self, now: int) -> int:
        """Return how long to wait for a place, in ns; 0 when there is one."""
        self._forget(now)
        if len(self._retries) < max(self._floor, int(self._share * len(self._calls))):
            return 0
        return self._retries[0] + _MINUTE - now if self._retries else _MINUTE

    def take(self, now: int) -> bool:
        """Take a place for a retry that is sent now; tell whether there was one."""
        if self.wait(now):
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: int) -> None:
        for times in (self._calls, self._retries):
            while times and times[0] <= now - _MINUTE:
                times.popleft()


_MINUTE = 60_000_000_000


def read_retry_after(value: str | None, *, now: float) -> float | None:
    """Read a ``Retry-After`` header as seconds to wait, at most `MAX_RETRY_AFTER`; junk is None.

    Args:
        value: The header: seconds, or an HTTP date (RFC 9110, 10.2.3).
        now: Unix time in seconds.
    """
    if not value:
        return None
    value = value.strip()
    plain = value.isascii() and value.isdigit()
    seconds = float(value[:12]) if plain else _seconds_until(value, now)
    return min(seconds, MAX_RETRY_AFTER) if seconds > 0 else None


def _seconds_until(date: str, now: float) -> float:
    try:
        when = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    # "-0000" and a missing zone give a naive time, which means UTC in HTTP.
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
