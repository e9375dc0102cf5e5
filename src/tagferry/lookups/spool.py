"""The spool: the accounts of a run on disk, each once, in the order of their first appearance.

De-duplication is exact and its memory is flat: beyond the first accounts, all are dealt by their hash to
the 256 buckets of a temporary file. Equal accounts meet in one bucket, and each bucket is looked at on its
own. Only if there were repeats, the spool is written a second time, without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Generator
from pathlib import Path

import msgspec

from tagferry.files.disk import disk_errors, sync_directory
from tagferry.lookups.buckets import BUCKETS, SHIFT, Buckets, flags_of
from tagferry.lookups.spool_file import SpoolFile

__all__ = ["Digest", "Spool", "SpoolReport"]

_FEW = 50_000
_FEW_BYTES = 4 * 1024 * 1024
"""Up to so many accounts or bytes, a set of them is kept in memory: most inputs end before."""
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
        self._file = SpoolFile(path)
        self._written = 0
        self._digest = Digest()
        self._seen: dict[bytes, None] = {}
        self._buckets: Buckets | None = None

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
            self._buckets = Buckets(_beside(self.path, ".buckets"))
            self._buckets.deal(self._seen, self._file.size)
            self._seen = {}

    def _drop_repeats(self, buckets: Buckets) -> None:
        """Write the file again if it has repeats."""
        with contextlib.closing(SpoolFile(_beside(self.path, ".kept"), fleeting=True)) as flags:
            distinct, marked = buckets.mark(flags)
            buckets.close()
            if distinct == self._written:
                return
            flags.flush()
            keep = [flags_of(flags, *marked[bucket]) for bucket in range(BUCKETS)]
            source, self._file = self._file, SpoolFile(_beside(self.path, ".distinct"))
            with contextlib.closing(source):
                source.flush()
                for block in source.blocks():
                    accounts = block.split(b"\n")
                    self._file.write(_as_lines([one for one in accounts if keep[hash(one) >> SHIFT]()]))
            self._written = distinct


def _as_lines(accounts: list[bytes]) -> bytes:
    return b"\n".join(accounts) + b"\n" if accounts else b""


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
