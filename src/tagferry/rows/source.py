"""Files on disk, block by block: `read` waits for the disk, `decode` makes rows of what it brought."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from tagferry.errors import DiskError, TagferryError
from tagferry.rows.fault import Faults
from tagferry.rows.feed import RowFeed
from tagferry.rows.options import ReadOptions

__all__ = ["Block", "Source"]

T = TypeVar("T")

_BLOCK = 2 * 1024 * 1024
"""With each block the thread that reads and the one that decodes have to take turns."""
_PIECES = 8
"""Pieces decoded by one `pull`. A block may hold many more: gzip makes a thousand bytes of one."""


class Block(NamedTuple):
    """Bytes of a file."""

    number: int
    """That of the file, from 1."""
    file: Path
    data: bytes
    """Nothing at the file's end."""


class Source(Generic[T]):
    """The rows of some files, one after the other; all of them are parts of one.

    A file is opened when its turn comes and closed when it was read; at most one is open.

    Args:
        files: The files.
        options: What is to be read.
        faults: What is done about bad records.
    """

    def __init__(self, files: Sequence[Path], options: ReadOptions[T], faults: Faults) -> None:
        self._files = iter(files)
        self._options = options
        self._faults = faults
        self._file = Path()
        self._opened: BinaryIO | None = None
        self._number = 0
        self._fed = 0
        self._feed: RowFeed[T] | None = None
        self._steps: Iterator[list[T]] | None = None
        self._failure: TagferryError | None = None
        self.size = 0
        """Bytes taken so far."""

    @property
    def header(self) -> Sequence[str] | None:
        """The columns of CSV files, when they are known."""
        return self._feed.header if self._feed else None

    @property
    def is_csv(self) -> bool | None:
        """Whether the files are CSV and not JSON Lines, when that is known."""
        return self._feed.is_csv if self._feed else None

    @property
    def is_slow(self) -> bool:
        """Whether the next piece may take more than a millisecond or two."""
        return self._feed is not None and self._feed.is_slow

    def read(self) -> Block | None:
        """Return the next bytes, or None behind the last file. Blocks.

        Raises:
            DiskError: A file cannot be read.
        """
        try:
            if self._opened is None:
                file = next(self._files, None)
                if file is None:
                    return None
                self._number += 1
                self._file = file
                self._opened = file.open("rb", buffering=0)
            data = self._opened.read(_BLOCK)
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "EIO")
            reason = error.strerror or type(error).__name__
            failure = DiskError(f"cannot read {self._file}: {reason}", code=code)
        else:
            if not data:
                self.close()
            return Block(self._number, self._file, data)
        raise failure

    def take(self, block: Block) -> None:
        """Have a block decoded, when all of the last one is."""
        if self._feed is None or block.number != self._fed:
            self._feed = RowFeed(self._options, self._faults, block.file, after=self._feed)
            self._fed = block.number
        self._steps = self._feed.feed(block.data) if block.data else self._feed.finish()
        self.size += len(block.data)

    def decode(self) -> list[T] | None:
        """Return the rows of the next piece, or None when the block has no more.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were returned.
            IntegrityError: A file is cut or damaged.
        """
        rows = None if self._steps is None else next(self._steps, None)
        if rows is None:
            self._steps = None
        return rows

    def pull(self) -> list[list[T]] | None:
        """Return the rows of some more pieces, or None at the end. Blocks.

        Raises:
            TagferryError: As for `read` and `decode`; the rows before it were returned.
        """
        found: list[list[T]] = []
        try:
            if self._failure is None and self._steps is None:
                block = self.read()
                if block is None:
                    return None
                self.take(block)
            while self._failure is None and len(found) < _PIECES and (rows := self.decode()) is not None:
                if rows:
                    found.append(rows)
        except TagferryError as error:
            self._failure = error
        if self._failure is not None and not found:
            raise self._failure
        return found

    def close(self) -> None:
        """Close the file that is open, if one is."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __del__(self) -> None:
        # Of a loop that was left without `async with`.
        self.close()
