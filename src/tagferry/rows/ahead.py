"""Files read on a thread, one block ahead of what is decoded."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Generic, TypeVar

from tagferry.errors import DiskError
from tagferry.files.thread import in_thread, settle, start
from tagferry.rows.source import Block, Source

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """The pieces of some files: while one block is decoded, the next one is read.

    Args:
        source: The files.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._reading: asyncio.Future[Block | None] | None = None

    @property
    def is_slow(self) -> bool:
        """Whether the next piece may take more than a millisecond or two."""
        return self._source.is_slow

    def decode(self) -> list[T] | None:
        """Return the rows of the next piece, or None when the block has no more.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were returned.
            IntegrityError: A file is cut or damaged.
        """
        return self._source.decode()

    async def load(self) -> bool:
        """Wait for the next block, when all of the last one is decoded; tell whether there is one.

        Raises:
            DiskError: A file cannot be read.
        """
        self._reading = self._reading or start(self._source.read)
        block = await settle(self._reading)
        if block is None:
            return False
        self._source.take(block)
        self._reading = start(self._source.read)
        return True

    async def aclose(self) -> None:
        """Close the file that is open, if one is."""
        reading, self._reading = self._reading, None
        try:
            if reading is not None:
                with contextlib.suppress(DiskError):
                    await settle(reading)
        finally:
            await in_thread(self._source.close)
