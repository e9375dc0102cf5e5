"""How fast a count grows; pure."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

_WINDOW = 10.0
"""Seconds over which it is taken."""
_STEP = 1.0
"""Seconds between two looks. A quota counts in seconds: in one, calls come in a burst and then rest, and half
a second would look as if more were asked for than is allowed."""


class Pace:
    """How fast a count grows, over the last seconds. All times are seconds on one clock."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> None:
        """Note the count at a time; soon after another look it is not needed."""
        if self._points and now - self._points[-1][0] < _STEP:
            return
        self._points.append((now, count))
        while len(self._points) > 2 and self._points[1][0] < now - _WINDOW:
            self._points.popleft()

    def rate(self, now: float, count: int) -> float | None:
        """Return how much comes in a second; None in the first one, while nothing tells."""
        if not self._points:
            return None
        (began, first), (at, last) = self._points[0], self._points[-1]
        if now - at >= _STEP:
            at, last = now, count
        return (last - first) / (at - began) if at > began else None

    def eta(self, now: float, count: int, total: int) -> float | None:
        """Return the seconds that are left at this rate; None when nothing tells, or nothing is left."""
        rate = self.rate(now, count)
        return (total - count) / rate if rate and count < total else None
