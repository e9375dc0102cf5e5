"""The quota as the service counts it."""

from __future__ import annotations

from collections import deque

SECOND = 1_000_000_000


class Window:
    """At most `limit` calls in any sliding second, both ends included.

    Two calls exactly one second apart share a second here: the strict reading, because a client that keeps
    to it keeps to every other one. A refused call does not use up quota, but it is an arrival.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.arrivals = 0
        self.refused = 0
        self.max_in_any_second = 0
        self._arrived: deque[int] = deque()
        self._admitted: deque[int] = deque()

    def admit(self, nanoseconds: int) -> bool:
        """Count an arrival and say whether it is within the quota."""
        self.arrivals += 1
        for stamps in (self._arrived, self._admitted):
            while stamps and nanoseconds - stamps[0] > SECOND:
                stamps.popleft()
        self._arrived.append(nanoseconds)
        self.max_in_any_second = max(self.max_in_any_second, len(self._arrived))
        if len(self._admitted) >= self.limit:
            self.refused += 1
            return False
        self._admitted.append(nanoseconds)
        return True
