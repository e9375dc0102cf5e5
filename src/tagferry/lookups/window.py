"""How far the fast ones may run ahead of the slowest."""

from __future__ import annotations

import asyncio

from tagferry.lookups.watermark import Watermark

__all__ = ["Window"]


class Window:
    """Holds up numbers that are too far beyond the first one that is not done.

    Args:
        marks: What is done.
        size: How far is too far.
    """

    def __init__(self, marks: Watermark, size: int) -> None:
        self.marks = marks
        self._size = size
        self._moved = asyncio.Event()

    async def wait(self, number: int) -> None:
        """Wait until a number is not too far ahead."""
        while number >= self.marks.low + self._size:
            self._moved.clear()
            await self._moved.wait()

    def done(self, number: int) -> None:
        """Note that a number is done."""
        self.marks.add(number)
        self._moved.set()
