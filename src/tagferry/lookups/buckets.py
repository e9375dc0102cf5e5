"""Accounts dealt to buckets by their hash, to find the repeats among more than memory holds."""

from __future__ import annotations

import itertools
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tagferry.lookups.spool_file import BLOCK, SpoolFile

__all__ = ["BUCKETS", "SHIFT", "Buckets", "flags_of"]

BUCKETS = 256
SHIFT = sys.hash_info.width - 8
"""The upper bits of a hash choose the bucket: sets place their items by the lower ones."""
_DEALT = 512 * 1024
"""Bytes of accounts dealt in memory before the buckets are written out."""
_FLAGS = 16 * 1024


class Buckets:
    """Accounts dealt by their hash: equal ones to the same bucket, each bucket in order. Everything blocks.

    Args:
        path: A temporary file, whose name is removed at once.
    """

    def __init__(self, path: Path) -> None:
        self._file = SpoolFile(path, fleeting=True)
        self._dealt: list[list[bytes]] = [[] for _ in range(BUCKETS)]
        self._size = 0
        self._layers: list[array[int]] = []
        """Where each bucket begins in what was written at once, and where the last one ends."""

    def deal(self, accounts: Iterable[bytes], size: int) -> None:
        """Put accounts of so many bytes into their buckets."""
        # A hash shifted is -128 to 127: negative ones count from the end.
        put = [bucket.append for bucket in self._dealt]
        for account in accounts:
            put[hash(account) >> SHIFT](account)
        self._size += size
        if self._size >= _DEALT:
            self._write()

    def mark(self, flags: SpoolFile) -> tuple[int, list[tuple[int, int]]]:
        """Find the repeats.

        Args:
            flags: Takes a byte for each account of a bucket with repeats, 0 for a repeat.

        Returns:
            The number of distinct accounts, and for each bucket where its flags are and how many.
        """
        self._write()
        distinct, marked = 0, [(0, 0)] * BUCKETS
        for bucket in range(BUCKETS):
            # Once a bucket had repeats, others will: they are marked at once.
            if not flags.size:
                seen: set[bytes] = set()
                total = 0
                for accounts in self._read(bucket):
                    seen.update(accounts)
                    total += len(accounts)
                distinct += len(seen)
                if len(seen) == total:
                    continue
                distinct -= len(seen)
            begin = flags.size
            distinct += self._mark_bucket(bucket, flags)
            marked[bucket] = begin, flags.size - begin
        return distinct, marked

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _mark_bucket(self, bucket: int, flags: SpoolFile) -> int:
        seen: set[bytes] = set()
        see = seen.add
        for accounts in self._read(bucket):
            flags.write(bytes([account not in seen and not see(account) for account in accounts]))
        return len(seen)

    def _write(self) -> None:
        texts = [b"\n".join(bucket) for bucket in self._dealt]
        ends = itertools.accumulate(map(len, texts), initial=self._file.size)
        self._layers.append(array("Q", ends))
        self._file.write(b"".join(texts))
        self._file.flush()
        for bucket in self._dealt:
            bucket.clear()
        self._size = 0

    def _read(self, bucket: int) -> Iterator[list[bytes]]:
        """Yield the accounts of a bucket in some blocks."""
        texts: list[bytes] = []
        size = 0
        for layer in self._layers:
            begin, end = layer[bucket], layer[bucket + 1]
            if begin < end:
                texts.append(self._file.read(begin, end - begin))
                size += end - begin
            if size >= BLOCK:
                yield b"\n".join(texts).split(b"\n")
                texts, size = [], 0
        if texts:
            yield b"\n".join(texts).split(b"\n")


def flags_of(flags: SpoolFile, begin: int, size: int) -> Callable[[], int]:
    """Return what gives the flags of one bucket, one at each call; without any, it is 1 always.

    Args:
        flags: What `Buckets.mark` filled.
        begin: Where those of the bucket are.
        size: How many they are.
    """
    if not size:
        return itertools.repeat(1).__next__
    end = begin + size
    blocks = (flags.read(at, min(_FLAGS, end - at)) for at in range(begin, end, _FLAGS))
    return itertools.chain.from_iterable(blocks).__next__
