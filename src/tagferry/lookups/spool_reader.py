"""The accounts of a spool in batches, as they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

from tagferry.files.disk import close_file, disk_errors
from tagferry.lookups.spool_file import line_blocks

__all__ = ["SpoolReader"]


class SpoolReader:
    """The accounts of a finished spool in batches; the batch of a number always holds the same accounts.

    Every method blocks, so call it on a worker thread.

    Args:
        path: The spool.
        batch: Accounts of each batch; the last one may have fewer.

    Raises:
        DiskError: It cannot be opened.
    """

    def __init__(self, path: Path, batch: int) -> None:
        self._path = path
        self._batch = batch
        self._accounts: list[str] = []
        self._next = 0
        with disk_errors(path, "open"):
            self._handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._blocks = line_blocks(path, self._handle)

    def read(self, most: int) -> list[list[str]]:
        """Return the next batches, at most so many; none at the end.

        Raises:
            DiskError: It cannot be read.
            IntegrityError: It is cut.
        """
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
        """Pass over batches; past the end there are none.

        Raises:
            DiskError: As for `read`.
            IntegrityError: The same.
        """
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
