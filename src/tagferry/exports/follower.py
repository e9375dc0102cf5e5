"""Rows of a running download: disk first, decoded behind the writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from tagferry.errors import IntegrityError
from tagferry.exports.naming import final_name, part_name
from tagferry.exports.tail import Tail
from tagferry.files.disk import disk_errors
from tagferry.files.thread import in_thread
from tagferry.rows.fault import Faults
from tagferry.rows.feed import RowFeed
from tagferry.rows.options import ReadOptions

if TYPE_CHECKING:
    from _hashlib import HASH

    from tagferry.exports.export import Export
    from tagferry.exports.outcome import SavedFile

__all__ = ["Follower"]

T = TypeVar("T")

_BLOCK = 256 * 1024
_GZIP = b"\x1f\x8b"


class Follower(Generic[T]):
    """The bytes of an export as they come to disk, and the rows that they make.

    What was read is compared with what was saved, by hash: rows are never of two exports. Where something was
    dropped that had been read, the rest comes from the whole files, if these begin as what was read did.

    Args:
        export: The export.
        directory: Where its files are.
        tail: Tells what is on disk.
        options: How the files are read.
        faults: What is done about bad records.
    """

    def __init__(
        self, export: Export, directory: Path, tail: Tail, options: ReadOptions[T], faults: Faults
    ) -> None:
        self._export = export
        self._directory = directory
        self._tail = tail
        self._options = options
        self._faults = faults
        self._read_parts: list[tuple[int, str]] = []
        """Size and hash of the parts that were read to their end."""
        self._offset = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._is_lost = False
        """Whether the unfinished files are not what they were: then only the whole ones count."""
        self._last: RowFeed[T] | None = None
        self._feed: RowFeed[T] | None = None
        self._steps: Iterator[list[T]] = iter(())

    @property
    def is_slow(self) -> bool:
        """Whether the next piece may take more than a millisecond or two."""
        return self._feed is not None and self._feed.is_slow

    def decode(self) -> list[T] | None:
        """Return the rows of the next piece, or None when the block has no more.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were returned.
            IntegrityError: A file is cut or damaged.
        """
        return next(self._steps, None)

    async def load(self) -> bool:
        """Wait for the next block, when all of the last one is decoded; tell whether there is one.

        Raises:
            TagferryError: The download failed, or what was saved is not what was read.
        """
        while (files := self._tail.files) is None:
            if self._tail.is_torn and not (self._offset or self._read_parts):
                # Nothing of it was read.
                self._close()
                self._tail.is_torn = False
            usable = self._usable
            if usable > 0:
                unfinished = part_name(self._export.stem, self._export.ending, self._part, self._tail.parts)
                if await self._take(self._directory / unfinished, usable):
                    return True
            elif usable == 0 and self._tail.is_whole(self._part):
                self._end_part()
                return True
            elif self._tail.error is not None:
                raise self._tail.error
            else:
                await self._tail.changed()
        return await self._load_saved(files)

    async def aclose(self) -> None:
        """Close the file that is open, if one is."""
        await in_thread(self._close)

    @property
    def _part(self) -> int:
        return len(self._read_parts) + 1

    @property
    def _usable(self) -> int:
        """Bytes of the part that can be read now; negative when nobody can say."""
        if self._is_lost or self._tail.is_torn:
            return -1
        return self._tail.size(self._part) - self._offset

    async def _take(self, path: Path, most: int) -> bool:
        """Read a block of an unfinished file; tell whether it can be trusted."""
        block, digest = await in_thread(self._read, path, min(most, _BLOCK))
        if self._tail.is_torn:
            return False
        # It is shorter than it was, or it has its final name by now.
        self._is_lost = not block
        return self._accept(block, digest)

    async def _load_saved(self, files: Sequence[SavedFile]) -> bool:
        if self._is_lost or self._tail.is_torn:
            await in_thread(self._check_beginning, files)
            self._is_lost = self._tail.is_torn = False
        if self._part > len(files):
            self._check([(file.size, file.sha256) for file in files] == self._read_parts)
            return False
        file = files[self._part - 1]
        block, digest = await in_thread(self._read, file.path, _BLOCK)
        if not self._accept(block, digest):
            self._check((self._offset, self._digest.hexdigest()) == (file.size, file.sha256))
            self._end_part()
        return True

    def _accept(self, block: bytes, digest: HASH) -> bool:
        if not block:
            return False
        feed = self._feed or self._begin_part(gzip=block.startswith(_GZIP))
        self._steps = feed.feed(block)
        self._offset += len(block)
        self._digest = digest
        return True

    def _begin_part(self, *, gzip: bool) -> RowFeed[T]:
        parts = self._tail.parts if self._tail.files is None else len(self._tail.files)
        name = final_name(self._export.stem, self._export.ending, self._part, parts, gzip=gzip)
        self._feed = RowFeed(self._options, self._faults, self._directory / name, after=self._last)
        return self._feed

    def _close(self) -> None:
        opened, self._file = self._file, None
        if opened is not None:
            opened.close()

    def _end_part(self) -> None:
        self._close()
        feed = self._feed or self._begin_part(gzip=False)
        self._steps = feed.finish()
        self._last, self._feed = feed, None
        self._read_parts.append((self._offset, self._digest.hexdigest()))
        self._offset, self._digest = 0, hashlib.sha256()

    def _read(self, path: Path, most: int) -> tuple[bytes, HASH]:
        """Return the next bytes of a file, if it is there, and the hash of all so far. Blocks."""
        digest = self._digest.copy()
        with disk_errors(path, "read"):
            if self._file is None:
                try:
                    self._file = path.open("rb", buffering=0)
                except FileNotFoundError:
                    return b"", digest
            block = os.pread(self._file.fileno(), most, self._offset)
        digest.update(block)
        return block, digest

    def _check_beginning(self, files: Sequence[SavedFile]) -> None:
        """Make sure that the whole files begin with what was read. Blocks.

        Raises:
            IntegrityError: They do not.
        """
        self._close()
        read = len(self._read_parts)
        self._check([(file.size, file.sha256) for file in files[:read]] == self._read_parts)
        if not self._offset:
            return
        self._check(read < len(files))
        digest, left = hashlib.sha256(), self._offset
        path = files[read].path
        with disk_errors(path, "read"), path.open("rb") as file:
            while left and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
        self._check(digest.digest() == self._digest.digest())

    def _check(self, same: bool) -> None:  # noqa: FBT001  # the one thing that it checks
        if not same:
            msg = f"the service gave another file for {self._export.name} while its rows were read"
            hint = "drop these rows; run again with --if-exists skip (if_exists=) to read the saved files"
            raise IntegrityError(msg, service=self._export.service, hint=hint)
