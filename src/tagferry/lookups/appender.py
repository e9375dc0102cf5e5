"""A file that grows at its end, and goes back to a known size after a crash."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from tagferry.errors import DiskError
from tagferry.files.disk import close_file, disk_errors

__all__ = ["Appender"]

_BLOCK = 1024 * 1024


class Appender:
    """One unfinished file. Every method blocks, so call it on a worker thread.

    Args:
        path: The file, made if need be.
        size: Bytes at its beginning that are kept; the rest is dropped.

    Raises:
        DiskError: The file is shorter than that, or no plain file.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        """Bytes of the file."""
        with disk_errors(path, "open"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self._handle = os.open(path, flags, 0o666)
        try:
            self._check()
            with disk_errors(path, "truncate"):
                os.ftruncate(self._handle, size)
                os.lseek(self._handle, size, os.SEEK_SET)
        except BaseException:
            self.close()
            raise

    def append(self, text: bytes) -> None:
        """Write bytes at the end, and make them survive a power cut.

        After a failure nobody knows what the file holds: it has to be opened anew, with the size of before.
        """
        if text:
            self._write(text)
            self._sync()

    def copy(self, source: Path) -> None:
        """Write the lines of another file at the end, and make them survive a power cut."""
        with disk_errors(source, "read"), source.open("rb", buffering=0) as file:
            self.extend(iter(functools.partial(file.read, _BLOCK), b""))

    def extend(self, blocks: Iterable[bytes]) -> None:
        """Write lines at the end, and make them survive a power cut."""
        last = b"\n"
        for block in blocks:
            self._write(block)
            last = block
        if not last.endswith(b"\n"):
            # An editor may have taken it away, and the next line would go on with the last one.
            self._write(b"\n")
        self._sync()

    def close(self) -> None:
        """Let go of the file; it stays on disk."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            close_file(self.path, handle)

    def _write(self, text: bytes) -> None:
        rest = memoryview(text)
        with disk_errors(self.path, "write"):
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        self.size += len(text)

    def _sync(self) -> None:
        with disk_errors(self.path, "sync"):
            os.fdatasync(self._handle) if hasattr(os, "fdatasync") else os.fsync(self._handle)

    def _check(self) -> None:
        with disk_errors(self.path, "look at"):
            status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            msg = f"{self.path} is no plain file of its own"
            raise DiskError(msg, code="EEXIST", hint="remove it or choose another output")
        if status.st_size < self.size:
            msg = f"{self.path} has lost {self.size - status.st_size} of the {self.size} bytes written to it"
            raise DiskError(msg, hint="start over with --no-resume (resume=False)")
