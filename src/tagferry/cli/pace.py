"""How fast a count grows; pure."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

_WINDOW = 10.0
"""Seconds over which it is taken."""


class Pace:
    """How fast a count grows, over the last seconds. All times are seconds on one clock."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> None:
        """Note the count at a time."""
        self._points.append((now, count))
        while len(self._points) > 2 and self._points[1][0] < now - _WINDOW:
            self._points.popleft()

    def rate(self, now: float, count: int) -> float | None:
        """Return how much comes in a second; None while nothing tells."""
        if not self._points or now <= self._points[0][0]:
            return None
        return (count - self._points[0][1]) / (now - self._points[0][0])

    def eta(self, now: float, count: int, total: int) -> float | None:
        """Return the seconds that are left at this rate; None when nothing tells, or nothing is left."""
        rate = self.rate(now, count)
        return (total - count) / rate if rate and count < total else None
