"""Files on disk, block by block: `load` waits for the disk, `decode` makes rows of what it brought."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from tagferry.errors import DiskError, TagferryError
from tagferry.rows.fault import Faults
from tagferry.rows.feed import Plan, RowFeed

__all__ = ["Source"]

T = TypeVar("T")

_BLOCK = 256 * 1024


class Source(Generic[T]):
    """The rows of some files, one after the other; all of them are parts of one.

    A file is opened when its turn comes and closed when it was read; at most one is open.

    Args:
        files: The files.
        plan: What is to be read.
        faults: What is done about bad records.
    """

    def __init__(self, files: Sequence[Path], plan: Plan[T], faults: Faults) -> None:
        self._files = iter(files)
        self._file = Path()
        self._plan = plan
        self._faults = faults
        self._opened: BinaryIO | None = None
        self._feed: RowFeed[T] | None = None
        self._steps: Iterator[list[T]] = iter(())
        self._failure: TagferryError | None = None

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

    def load(self) -> bool:
        """Read the next block, when all of the last one is decoded; tell whether there is one. Blocks.

        Raises:
            DiskError: A file cannot be read.
        """
        try:
            if self._opened is None:
                file = next(self._files, None)
                if file is None:
                    return False
                self._file = file
                self._feed = RowFeed(self._plan, self._faults, file, after=self._feed)
                self._opened = file.open("rb", buffering=0)
            block = self._opened.read(_BLOCK)
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "EIO")
            reason = error.strerror or type(error).__name__
            failure = DiskError(f"cannot read {self._file}: {reason}", code=code)
        else:
            assert self._feed is not None, "a file is open"
            if block:
                self._steps = self._feed.feed(block)
            else:
                self.close()
                self._steps = self._feed.finish()
            return True
        raise failure

    def decode(self) -> list[T] | None:
        """Return the rows of the next piece, at most 64 KiB, or None when the block has no more.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were returned.
            IntegrityError: A file is cut or damaged.
        """
        return next(self._steps, None)

    def pull(self) -> list[list[T]] | None:
        """Return the rows of a block, or None at the end. Blocks.

        Raises:
            TagferryError: As for `load` and `decode`; the rows before it were returned.
        """
        found: list[list[T]] = []
        try:
            if self._failure is None and not self.load():
                return None
            while self._failure is None and (rows := self.decode()) is not None:
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
