"""The spool: the accounts of a run on disk, each once, in the order of their first appearance.

De-duplication is exact and its memory is flat: beyond the first accounts, all are dealt by their hash to
the 256 buckets of a temporary file. Equal accounts meet in one bucket, and each bucket is looked at on its
own. Only if there were repeats, the spool is written a second time, without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import msgspec

from tagferry.errors import IntegrityError
from tagferry.files.disk import close_file, disk_errors, sync_directory

__all__ = ["Digest", "Spool", "SpoolReader", "SpoolReport"]

_FEW = 50_000
_FEW_BYTES = 4 * 1024 * 1024
"""Up to so many accounts or bytes, a set of them is kept in memory: most inputs end before."""
_BUCKETS = 256
_SHIFT = sys.hash_info.width - 8
"""The upper bits of a hash choose the bucket: sets place their items by the lower ones."""
_DEALT = 512 * 1024
"""Bytes of accounts dealt in memory before the buckets are written out."""
_BLOCK = 128 * 1024
"""Measured: with blocks of 1 MiB, dropping repeats takes half as long again, as they leave the cache."""
_FLAGS = 16 * 1024
_ENDINGS = ("", ".buckets", ".kept", ".distinct")


class SpoolReport(msgspec.Struct, frozen=True):
    """What a finished spool holds."""

    accounts: int
    """How many accounts went in."""
    distinct: int
    """How many the file holds."""
    size: int
    """Bytes of the file."""
    digest: str
    """Hex, of the accounts as they went in, repeats included; see `Digest`."""


class Digest:
    """The count and the digest of accounts, the same however they are cut into blocks."""

    def __init__(self) -> None:
        self.accounts = 0
        """How many there were, repeats included."""
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def hexdigest(self) -> str:
        """The digest of all of them, in hex."""
        return self._hash.hexdigest()

    def add(self, accounts: list[bytes]) -> bytes:
        """Take the next accounts; return them as lines."""
        text = _as_lines(accounts)
        self._hash.update(text)
        self.accounts += len(accounts)
        return text


class Spool:
    """A spool being written. Every method blocks, so call it on a worker thread.

    After a failure nothing is left on disk. What a crash leaves is removed by `sweep`.

    Args:
        path: The file to make; it must not exist.

    Raises:
        DiskError: It exists or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _File(path)
        self._written = 0
        self._digest = Digest()
        self._seen: dict[bytes, None] = {}
        self._buckets: _Buckets | None = None

    @staticmethod
    def sweep(path: Path) -> None:
        """Remove a spool, finished or not, and all that belongs to it."""
        for ending in _ENDINGS:
            with disk_errors(path, "remove"):
                _beside(path, ending).unlink(missing_ok=True)

    def add(self, accounts: list[bytes]) -> None:
        """Take the next accounts: cleaned, not empty and without LF; some thousands at a time are best.

        Raises:
            DiskError: They cannot be written; the spool is gone.
        """
        with self._or_nothing():
            text = self._digest.add(accounts)
            if self._buckets is None:
                self._add_few(accounts, text)
            else:
                self._buckets.deal(accounts, len(text))
                self._file.write(text)
                self._written += len(accounts)

    def finish(self) -> SpoolReport:
        """Drop all repeats, and make the file survive a power cut.

        Raises:
            DiskError: The disk failed; the spool is gone.
        """
        with self._or_nothing():
            self._seen = {}
            if self._buckets is not None:
                self._drop_repeats(self._buckets)
            self._file.sync()
            if self._file.path != self.path:
                with disk_errors(self.path, "rename"):
                    self._file.path.replace(self.path)
            self._close()
            sync_directory(self.path.parent)
        return SpoolReport(self._digest.accounts, self._written, self._file.size, self._digest.hexdigest)

    def discard(self) -> None:
        """Let go of the spool and remove it."""
        self._close()
        self.sweep(self.path)

    def _close(self) -> None:
        self._file.close()
        if self._buckets is not None:
            self._buckets.close()

    @contextlib.contextmanager
    def _or_nothing(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                self.discard()
            raise

    def _add_few(self, accounts: list[bytes], text: bytes) -> None:
        """Write accounts that were not seen before."""
        self._seen.update(dict.fromkeys(accounts))
        fresh = len(self._seen) - self._written
        if fresh < len(accounts):
            # A dict keeps the order, so what is new stands at its end.
            text = _as_lines(list(itertools.islice(reversed(self._seen), fresh))[::-1])
        self._file.write(text)
        self._written += fresh
        if self._written > _FEW or self._file.size > _FEW_BYTES:
            self._buckets = _Buckets(_beside(self.path, ".buckets"))
            self._buckets.deal(self._seen, self._file.size)
            self._seen = {}

    def _drop_repeats(self, buckets: _Buckets) -> None:
        """Write the file again if it has repeats."""
        with contextlib.closing(_File(_beside(self.path, ".kept"), fleeting=True)) as flags:
            distinct, marked = buckets.mark(flags)
            buckets.close()
            if distinct == self._written:
                return
            flags.flush()
            keep = [_flags_of(flags, *marked[bucket]) for bucket in range(_BUCKETS)]
            source, self._file = self._file, _File(_beside(self.path, ".distinct"))
            with contextlib.closing(source):
                source.flush()
                for block in source.blocks():
                    accounts = block.split(b"\n")
                    self._file.write(_as_lines([one for one in accounts if keep[hash(one) >> _SHIFT]()]))
            self._written = distinct


class _Buckets:
    """Accounts dealt by their hash: equal ones to the same bucket, each bucket in order."""

    def __init__(self, path: Path) -> None:
        self._file = _File(path, fleeting=True)
        self._dealt: list[list[bytes]] = [[] for _ in range(_BUCKETS)]
        self._size = 0
        self._layers: list[array[int]] = []
        """Where each bucket begins in what was written at once, and where the last one ends."""

    def deal(self, accounts: Iterable[bytes], size: int) -> None:
        """Put accounts of so many bytes into their buckets."""
        # A hash shifted is -128 to 127: negative ones count from the end.
        put = [bucket.append for bucket in self._dealt]
        for account in accounts:
            put[hash(account) >> _SHIFT](account)
        self._size += size
        if self._size >= _DEALT:
            self._write()

    def mark(self, flags: _File) -> tuple[int, list[tuple[int, int]]]:
        """Find the repeats.

        Args:
            flags: Takes a byte for each account of a bucket with repeats, 0 for a repeat.

        Returns:
            The number of distinct accounts, and for each bucket where its flags are and how many.
        """
        self._write()
        distinct, marked = 0, [(0, 0)] * _BUCKETS
        for bucket in range(_BUCKETS):
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
        self._file.close()

    def _mark_bucket(self, bucket: int, flags: _File) -> int:
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
            if size >= _BLOCK:
                yield b"\n".join(texts).split(b"\n")
                texts, size = [], 0
        if texts:
            yield b"\n".join(texts).split(b"\n")


class _File:
    """A new file of our own, written behind its end through a buffer.

    Args:
        path: The file to make.
        fleeting: Whether its name is removed at once, so that nothing of it outlives this process.
    """

    def __init__(self, path: Path, *, fleeting: bool = False) -> None:
        self.path = path
        self.size = 0
        self._waiting: list[bytes] = []
        self._flushed = 0
        with disk_errors(path, "make"):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(path, flags, 0o600)
        if fleeting:
            with disk_errors(path, "remove"):
                path.unlink()

    def write(self, text: bytes) -> None:
        self._waiting.append(text)
        self.size += len(text)
        if self.size - self._flushed >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        text = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        with disk_errors(self.path, "write"):
            while text:
                text = text[os.write(self._handle, text) :]
        self._flushed = self.size

    def read(self, begin: int, size: int) -> bytes:
        """Return bytes that were flushed."""
        with disk_errors(self.path, "read"):
            return os.pread(self._handle, size, begin)

    def blocks(self) -> Iterator[bytes]:
        """Yield what was flushed, see `_line_blocks`."""
        return _line_blocks(self.path, self._handle)

    def sync(self) -> None:
        self.flush()
        with disk_errors(self.path, "sync"):
            os.fsync(self._handle)

    def close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            close_file(self.path, handle)


class SpoolReader:
    """The accounts of a finished spool in batches; the batch of a number always holds the same accounts.

    Every method blocks, so call it on a worker thread.

    Args:
        path: The spool.
        batch: Accounts of each batch; the last one may have fewer.
        start: The number of the batch to begin with, from 0.

    Raises:
        DiskError: It cannot be read.
        IntegrityError: It is cut.
    """

    def __init__(self, path: Path, batch: int, start: int = 0) -> None:
        self._path = path
        self._batch = batch
        self._accounts: list[str] = []
        self._next = 0
        with disk_errors(path, "open"):
            self._handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._blocks = _line_blocks(path, self._handle)
        try:
            self.skip(start)
        except BaseException:
            self.close()
            raise

    def read(self, most: int) -> list[list[str]]:
        """Return the next batches, at most so many; none at the end."""
        wanted = most * self._batch
        while len(self._accounts) - self._next < wanted and (block := next(self._blocks, b"")):
            self._accounts = self._accounts[self._next :] + block.decode().split("\n")
            self._next = 0
        end = min(self._next + wanted, len(self._accounts))
        cuts = range(self._next, end, self._batch)
        batches = [self._accounts[cut : min(cut + self._batch, end)] for cut in cuts]
        self._next = end
        return batches

    def skip(self, batches: int) -> None:
        """Pass over batches; past the end there are none."""
        wanted = self._next + batches * self._batch
        if wanted <= len(self._accounts):
            self._next = wanted
            return
        wanted -= len(self._accounts)
        self._accounts, self._next = [], 0
        for block in self._blocks:
            lines = block.count(b"\n") + 1
            if wanted < lines:
                self._accounts, self._next = block.decode().split("\n"), wanted
                return
            wanted -= lines

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            close_file(self._path, handle)


def _line_blocks(path: Path, handle: int) -> Iterator[bytes]:
    """Yield a spool in blocks of whole lines, without the LF at the end of each block."""
    begin, tail = 0, b""
    while True:
        with disk_errors(path, "read"):
            block = os.pread(handle, _BLOCK, begin)
        if not block:
            break
        begin += len(block)
        text = tail + block
        end = text.rfind(b"\n")
        tail = text[end + 1 :]
        if end >= 0:
            yield text[:end]
    if tail:
        raise IntegrityError(f"{path} is cut", hint="remove it and run the same again")


def _flags_of(flags: _File, begin: int, size: int) -> Callable[[], int]:
    """Return what gives the flags of one bucket, one at each call; without any, it is 1 always."""
    if not size:
        return itertools.repeat(1).__next__
    end = begin + size
    blocks = (flags.read(at, min(_FLAGS, end - at)) for at in range(begin, end, _FLAGS))
    return itertools.chain.from_iterable(blocks).__next__


def _as_lines(accounts: list[bytes]) -> bytes:
    return b"\n".join(accounts) + b"\n" if accounts else b""


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
