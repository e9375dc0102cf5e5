"""The accounts of a fetch's input: any iterable, or a source that may be gone when a run goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tagferry.errors import TagferryError
from tagferry.files.thread import in_thread, settle, start
from tagferry.lookups.accounts import check_accounts, check_accounts_argument
from tagferry.lookups.attended import Attended
from tagferry.lookups.sources import Source, open_source
from tagferry.lookups.target import check_dead_letters

__all__ = ["Accounts", "DeadLetters", "blocks_of", "is_gone", "name_of", "stamp_of"]

Accounts = Iterable[str] | AsyncIterable[str] | Source
"""Where accounts come from; a `Source` is a file, or what the command line names."""

_ITEMS = 10_000


def name_of(accounts: Accounts) -> str:
    """Return what messages call an input."""
    return accounts.name if isinstance(accounts, Source) else "accounts"


def is_gone(accounts: Accounts) -> bool:
    """Tell whether an input is a source that is no longer there. Blocks."""
    return isinstance(accounts, Source) and not accounts.exists()


def stamp_of(accounts: Accounts) -> str | None:
    """Return what changes when the content does, if there is such a thing. Blocks."""
    return accounts.stamp() if isinstance(accounts, Source) else None


async def blocks_of(accounts: Accounts) -> AsyncGenerator[list[bytes]]:
    """Yield the accounts of any input, cleaned and checked, some thousands at a time.

    Raises:
        TypeError: It is a text or nothing to iterate over.
        TagferryError: What a source raises.
    """
    if isinstance(accounts, Source):
        blocks = await in_thread(accounts.blocks)
        try:
            while (block := await _read(accounts, blocks)) is not None:
                yield block
        finally:
            await in_thread(_close, blocks)
        return
    check_accounts_argument(accounts)
    items: list[str] = []
    first = 1
    if isinstance(accounts, AsyncIterable):
        async for account in accounts:
            items.append(account)
            if len(items) == _ITEMS:
                yield check_accounts(items, first)
                first += len(items)
                items = []
        yield check_accounts(items, first)
        return
    # On this thread: what a caller iterates over may belong to it.
    rest = iter(accounts)
    while items := list(islice(rest, _ITEMS)):
        yield check_accounts(items, first)
        first += len(items)


async def _read(source: Source, blocks: Iterator[list[bytes]]) -> list[bytes] | None:
    """Return the next block; a cancellation ends a wait for input that may never come."""
    running = start(_next, blocks)
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        if isinstance(source, Attended):
            source.stop()
        with suppress(TagferryError):
            await settle(running)
        raise
    return await settle(running)


def _next(blocks: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(blocks, None)


def _close(blocks: Iterator[list[bytes]]) -> None:
    """Close the file of a source that was not read to its end."""
    if isinstance(blocks, Generator):
        blocks.close()


class DeadLetters:
    """The accounts of dead letters, as a source.

    A retry that was ended while it gave names to its files may have removed them already.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    def stamp(self) -> str | None:
        """Return what changes when the content does."""
        return self._open().stamp()

    def exists(self) -> bool:
        """Tell whether the file is there."""
        return os.path.lexists(self.path)

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the accounts.

        Raises:
            ConfigError: There is no such file.
            RecordError: It is damaged.
            DiskError: It cannot be read.
        """
        return self._open().blocks()

    def _open(self) -> Source:
        check_dead_letters(self.path)
        return open_source(f"{self.path}:account")
