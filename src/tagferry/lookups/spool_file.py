"""A file of our own beside an output: written behind its end, and read in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tagferry.errors import IntegrityError
from tagferry.files.disk import close_file, disk_errors

__all__ = ["BLOCK", "SpoolFile", "line_blocks"]

BLOCK = 128 * 1024
"""Measured: with blocks of 1 MiB, dropping repeats takes half as long again, as they leave the cache."""


class SpoolFile:
    """A new file, written behind its end through a buffer. Everything blocks.

    Args:
        path: The file to make.
        fleeting: Whether its name is removed at once, so that nothing of it outlives this process.
    """

    def __init__(self, path: Path, *, fleeting: bool = False) -> None:
        self.path = path
        self.size = 0
        """Bytes written, also those that wait in the buffer."""
        self._waiting: list[bytes] = []
        self._flushed = 0
        with disk_errors(path, "make"):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(path, flags, 0o600)
        if fleeting:
            with disk_errors(path, "remove"):
                path.unlink()

    def write(self, text: bytes) -> None:
        """Put bytes behind the end."""
        self._waiting.append(text)
        self.size += len(text)
        if self.size - self._flushed >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Hand all bytes to the system."""
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
        """Yield what was flushed, as `line_blocks` does."""
        return line_blocks(self.path, self._handle)

    def sync(self) -> None:
        """Make all bytes survive a power cut."""
        self.flush()
        with disk_errors(self.path, "sync"):
            os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file; one that has a name stays on disk."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            close_file(self.path, handle)


def line_blocks(path: Path, handle: int) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines, without the LF at the end of each block. Blocks.

    Raises:
        DiskError: It cannot be read.
        IntegrityError: It ends within a line.
    """
    begin, tail = 0, b""
    while True:
        with disk_errors(path, "read"):
            block = os.pread(handle, BLOCK, begin)
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
