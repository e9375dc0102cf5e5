"""Batches of accounts, handed to workers one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Iterable, Sequence
from itertools import islice
from typing import Protocol

import anyio
import msgspec

from tagferry.files.thread import in_thread
from tagferry.lookups.accounts import check_accounts, check_accounts_argument
from tagferry.lookups.window import Window

__all__ = ["Batch", "IterableFeed", "SpoolFeed"]

_AHEAD = 500
"""Batches that are read in one go."""


class Batch(msgspec.Struct, frozen=True):
    """Accounts for one call."""

    number: int
    """Its place in the input, from 0."""
    accounts: Sequence[str]


class Reader(Protocol):
    """Reads batches in order; blocks."""

    def read(self, most: int) -> list[list[str]]:
        """Return the next batches; none at the end."""
        ...


class SpoolFeed:
    """The batches of a spool that are not done yet.

    Args:
        reader: Where they come from; at the first batch that is not done.
        window: What is done, and how far the others may be ahead.
    """

    def __init__(self, reader: Reader, window: Window) -> None:
        self._reader = reader
        self._window = window
        self._next = window.marks.low
        self._ready: deque[Batch] = deque()
        self._ended = False
        self._reading = anyio.Lock()

    async def take(self) -> Batch | None:
        """Return the next batch, or None at the end. It waits while too many are ahead of the slowest."""
        while not self._ready:
            if not await self._read():
                return None
        batch = self._ready.popleft()
        await self._window.wait(batch.number)
        return batch

    async def _read(self) -> bool:
        async with self._reading:
            while not (self._ready or self._ended):
                batches = await in_thread(self._reader.read, _AHEAD)
                self._ended = not batches
                for number, accounts in enumerate(batches, self._next):
                    if number not in self._window.marks:
                        self._ready.append(Batch(number, accounts))
                self._next += len(batches)
            return bool(self._ready)


class IterableFeed:
    """The batches of an iterable, cut while it is gone through.

    Args:
        accounts: Any iterable or async iterable of `str`.
        size: Accounts in a batch.
        window: How far batches may be ahead.

    Raises:
        TypeError: It is a single text or no iterable.
    """

    def __init__(self, accounts: Iterable[str] | AsyncIterable[str], size: int, window: Window) -> None:
        check_accounts_argument(accounts)
        # One of the two; each is gone through once.
        self._later = aiter(accounts) if isinstance(accounts, AsyncIterable) else None
        self._now = iter(()) if isinstance(accounts, AsyncIterable) else iter(accounts)
        self._size = size
        self._window = window
        self._number = 0
        self._ended = False
        self._taking = anyio.Lock()

    async def take(self) -> Batch | None:
        """Return the next batch, or None at the end.

        Raises:
            ConfigError: An item is no `str`.
            RecordError: An account cannot be asked for.
        """
        async with self._taking:
            number = self._number
            await self._window.wait(number)
            accounts = await self._pull()
            # Many workers come here at the end, and nobody knows what a source does when asked beyond it.
            self._ended = len(accounts) < self._size
            if not accounts:
                return None
            check_accounts(accounts, number * self._size + 1)
            self._number += 1
            return Batch(number, accounts)

    async def _pull(self) -> list[str]:
        if self._ended:
            return []
        if self._later is None:
            return list(islice(self._now, self._size))
        accounts: list[str] = []
        async for account in self._later:
            accounts.append(account)
            if len(accounts) == self._size:
                break
        return accounts
