"""The unfinished file of one part: written in large blocks, hashed on the way, synced at the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from tagferry.errors import DiskError
from tagferry.exports.gzipped import GzipWatch
from tagferry.files.disk import close_file, disk_errors, is_plain

__all__ = ["PartFile", "hash_file"]

_READ = 1024 * 1024
_IOV = 512
_FLUSH = 8 * 1024 * 1024
"""Bytes after which the disk is told to begin. Measured: the sync of 475 MB then takes 3 ms, not 130."""
_MAGIC = 64
_GZIP = b"\x1f\x8b"
_PAGES = (b"<!doctype html", b"<html", b"\xef\xbb\xbf<!doctype html", b"\xef\xbb\xbf<html")
_REPORTS = tuple(f'{{"{name}"'.encode() for name in ("error", "errors", "message", "status", "timestamp"))


class PartFile:
    """One unfinished file. Every method blocks, so call it on a worker thread.

    Args:
        path: The path of the ``.part`` file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes on disk."""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._wants_md5 = False
        self._magic = b""
        self._flushed = 0
        with disk_errors(path, "open"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self._handle = os.open(path, flags, 0o666)
        try:
            self._check_own()
        except BaseException:
            self.close()
            raise

    @property
    def sha256(self) -> str:
        """The hex SHA-256 of the bytes on disk."""
        return self._sha256.hexdigest()

    @property
    def is_gzip(self) -> bool:
        """Whether the bytes begin like a gzip file."""
        return self._magic.startswith(_GZIP)

    @property
    def is_page(self) -> bool:
        """Whether the bytes begin like an HTML page, whatever the server called them."""
        return self._magic.lstrip().lower().startswith(_PAGES)

    @property
    def is_report(self) -> bool:
        """Whether the bytes begin like the JSON in which a server says what went wrong."""
        return self._magic.lstrip().startswith(_REPORTS)

    def adopt(self, offset: int, sha256: str) -> bool:
        """Keep the first bytes of what is on disk if they have a hash, else keep nothing; tell which."""
        self._forget()
        with disk_errors(self.path, "read"):
            while self.size < offset:
                block = os.pread(self._handle, min(_READ, offset - self.size), self.size)
                if not block:
                    break
                self._note(block)
        if self.size == offset and self.sha256 == sha256:
            self._truncate(offset)
            self._flushed = offset
            return True
        self.restart()
        return False

    def restart(self) -> None:
        """Drop all bytes."""
        self._forget()
        self._truncate(0)

    def want_md5(self) -> None:
        """Compute the MD5 too, from now on and for what is on disk."""
        if self._wants_md5:
            return
        self._wants_md5 = True
        with disk_errors(self.path, "read"):
            done = 0
            while done < self.size and (block := os.pread(self._handle, _READ, done)):
                self._md5.update(block)
                done += len(block)

    @property
    def md5(self) -> str | None:
        """The hex MD5 of the bytes on disk, if it was wanted."""
        return self._md5.hexdigest() if self._wants_md5 else None

    def is_whole_gzip(self) -> bool:
        """Tell whether the bytes are gzip members from the first byte to the last, each with its end."""
        done, watch = 0, GzipWatch()
        with disk_errors(self.path, "read"):
            while done < self.size and (block := os.pread(self._handle, _READ, done)):
                done += len(block)
                if not watch.feed(block):
                    return False
        return watch.whole

    def append(self, chunks: Sequence[bytes]) -> None:
        """Write chunks behind the bytes on disk."""
        with disk_errors(self.path, "write"):
            os.lseek(self._handle, self.size, os.SEEK_SET)
            rest: list[bytes | memoryview] = list(chunks)
            while rest:
                rest = _behind(rest, os.writev(self._handle, rest[:_IOV]))
        for chunk in chunks:
            self._note(chunk)
        self._begin_sync()

    def sync(self) -> None:
        """Make the bytes survive a power cut. After a failure they cannot be trusted: drop them."""
        with disk_errors(self.path, "sync"):
            try:
                os.fsync(self._handle)
            except OSError:
                # The kernel may have dropped the pages and call them clean: a second fsync would lie.
                os.ftruncate(self._handle, 0)
                raise

    def close(self) -> None:
        """Let go of the file; it stays on disk."""
        if self._handle >= 0:
            # Not even after an error may it be closed again: the number may be another file's by then.
            handle, self._handle = self._handle, -1
            close_file(self.path, handle)

    def _check_own(self) -> None:
        with disk_errors(self.path, "open"):
            status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            msg = f"{self.path} is no plain file of its own"
            raise DiskError(msg, code="EEXIST", hint="remove it or choose another output directory")

    def _begin_sync(self) -> None:
        """Let the disk work while the next bytes come. What goes wrong there is told by `sync`."""
        if sys.platform != "linux" or self.size - self._flushed < _FLUSH:
            return
        # Linux begins to write what is dirty, waits for nothing, and drops only pages that are on disk.
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._handle, self._flushed, self.size - self._flushed, os.POSIX_FADV_DONTNEED)
        self._flushed = self.size

    def _note(self, block: bytes) -> None:
        if len(self._magic) < _MAGIC:
            self._magic = (self._magic + block[:_MAGIC])[:_MAGIC]
        self._sha256.update(block)
        if self._wants_md5:
            self._md5.update(block)
        self.size += len(block)

    def _forget(self) -> None:
        self.size = self._flushed = 0
        self._magic = b""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def _truncate(self, size: int) -> None:
        with disk_errors(self.path, "truncate"):
            os.ftruncate(self._handle, size)


def _behind(chunks: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """Return what is left of chunks after some bytes of them were written."""
    for index, chunk in enumerate(chunks):
        if written < len(chunk):
            return [memoryview(chunk)[written:], *chunks[index + 1 :]]
        written -= len(chunk)
    return []


def hash_file(path: Path) -> tuple[int, str]:
    """Return the size of a file in bytes, and its hex SHA-256. Blocks."""
    if not is_plain(path):
        raise DiskError(
            f"{path} is no plain file", code="EEXIST", hint="remove it or choose another directory"
        )
    with disk_errors(path, "read"), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()
