"""Rows piece by piece, on the event loop, so that others have their turn in between."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from tagferry.errors import ConfigError
from tagferry.rows.worker import decode

__all__ = ["PieceDecoder", "Pieces"]

T = TypeVar("T")

_TURN = 0.001
"""Seconds of decoding after which others have their turn, over all that is being read."""


class Pieces(Protocol[T]):
    """Where rows come from, in pieces of which each is decoded in a millisecond or so."""

    @property
    def is_slow(self) -> bool:
        """Whether the next piece may take longer."""
        ...

    def decode(self) -> list[T] | None:
        """Return the rows of the next piece, or None when something has to be loaded."""
        ...

    async def load(self) -> bool:
        """Wait until there is more to decode; tell whether there is."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class PieceDecoder(Generic[T]):
    """Decodes pieces, one for each call.

    A piece takes less than a millisecond, which is what it costs to have it decoded by a thread. So it is
    decoded here, and others have their turn after a few. What takes longer goes to a thread.

    Args:
        pieces: What is decoded.
    """

    def __init__(self, pieces: Pieces[T]) -> None:
        self._pieces = pieces
        self._busy = asyncio.Lock()
        self._last = 0.0
        self.closed = False
        """Whether nothing more may come."""

    def begin(self) -> None:
        """Take part in the turns."""
        _READING.add(self)

    async def next(self) -> list[T] | None:
        """Return the rows of the next piece, or None at the end.

        Raises:
            ConfigError: It is closed.
        """
        loop = asyncio.get_running_loop()
        if loop.time() - self._last > _TURN / (len(_READING) or 1):
            await asyncio.sleep(0)
            self._last = loop.time()
        pieces = self._pieces
        while not self.closed:
            # What awaits nothing needs no lock.
            rows = await self._decode() if pieces.is_slow else pieces.decode()
            if rows is not None:
                return rows
            async with self._busy:
                if not await self._load():
                    return None
        raise ConfigError("these rows are closed", hint="read them within `async with`")

    async def aclose(self) -> None:
        """Let go of everything, when what is being done has ended."""
        self.closed = True
        _READING.discard(self)
        async with self._busy:
            await self._pieces.aclose()

    async def _load(self) -> bool:
        return self.closed or await self._pieces.load()

    async def _decode(self) -> list[T] | None:
        async with self._busy:
            return None if self.closed else await decode(self._pieces.decode)


_READING: WeakSet[PieceDecoder[Any]] = WeakSet()
