"""Which batches are done, when they are not done in order."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Watermark"]


class Watermark:
    """All numbers below `low` are done, and some above it.

    Args:
        low: The first number that is not known to be done.
        above: Numbers above it that are.
    """

    def __init__(self, low: int = 0, above: Iterable[int] = ()) -> None:
        self.low = low
        self._above = set(above)

    @property
    def above(self) -> list[int]:
        """What is done beyond `low`, in order."""
        return sorted(self._above)

    def __contains__(self, number: int) -> bool:
        return number < self.low or number in self._above

    def add(self, number: int) -> None:
        """Note that a number is done."""
        if number != self.low:
            self._above.add(number)
            return
        self.low += 1
        while self.low in self._above:
            self._above.remove(self.low)
            self.low += 1
