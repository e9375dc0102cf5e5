"""The record beside unfinished files: what they are, how far they are trusted, and whose they are."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import msgspec

from tagferry.errors import DiskError
from tagferry.files.disk import close_file, disk_errors, look

__all__ = ["PartState", "Record", "RecordFile", "Submission"]

_VERSION = 1
_MAX_SIZE = 4 * 1024 * 1024
_BLOCK = 512
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems without locks answer."""


class PartState(msgspec.Struct, kw_only=True):
    """What is known of one part."""

    offset: int = 0
    """Bytes on disk that the hash below covers."""
    sha256: str = ""
    validator: str | None = None
    total: int | None = None
    md5: str | None = None
    """The hex MD5 that the store gave for the whole."""
    gzipped: bool = False
    whole: bool = False
    """All bytes are on disk, verified and synced."""
    final: str | None = None
    """The final name, once the part is whole."""


class Submission(msgspec.Struct, frozen=True):
    """A job that was asked for."""

    job_id: str | None = None
    """The service's id of it; None while no answer is known."""


class Record(msgspec.Struct, kw_only=True):
    """The state of one export's unfinished files. It never holds a link or a token."""

    v: int = _VERSION
    request: str
    """A digest of what was asked for."""
    writer: str
    """A random id of the process that writes."""
    committing: bool = False
    """All parts are whole, and the renaming to final names has begun."""
    replacing: bool = False
    """Whether the renaming replaces the files of an older export, all of them."""
    submission: Submission | None = None
    """The job, where one has to be made."""
    parts: list[PartState] = []

    @classmethod
    def read(cls, text: bytes) -> Record | None:
        """Return the record in a text, or None if there is none that can be read."""
        try:
            record = msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return record if record.v == _VERSION else None


class RecordFile:
    """A record on disk, locked by this process from `acquire` to `close` or `remove`.

    It is written in place: a new file under the name would not be the one that is locked.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    @property
    def is_open(self) -> bool:
        """Whether this process still holds the record."""
        return self._handle >= 0

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever written to it."""
        with disk_errors(self.path, "read the record"):
            return os.fstat(self._handle).st_size == 0

    @classmethod
    def acquire(cls, path: Path) -> RecordFile:
        """Open and lock a record, making it if need be.

        Raises:
            DiskError: Another process holds it, or the path is no plain file.
        """
        while True:
            with disk_errors(path, "open the record"):
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                handle = os.open(path, flags, 0o600)
            try:
                locked = cls._lock(path, handle)
            except BaseException:
                close_file(path, handle)
                raise
            if locked:
                return cls(path, handle)
            close_file(path, handle)

    @staticmethod
    def _lock(path: Path, handle: int) -> bool:
        """Lock an open record; tell whether the path still leads to it."""
        with disk_errors(path, "open the record"):
            status = os.fstat(handle)
        # One without any name was removed in between, see below.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            msg = f"{path} is no plain file of its own"
            raise DiskError(msg, code="EEXIST", hint="remove it or choose another output directory")
        if not _flock(path, handle):
            msg = f"another run is writing this export ({path})"
            hint = "wait for that process or call, or choose another output directory"
            raise DiskError(msg, code="EBUSY", hint=hint)
        # The one who held the lock may have finished and removed the file in between.
        return _same_file(path, handle)

    def holds(self) -> bool:
        """Tell whether the lock keeps others out; some network file systems grant it to everyone."""
        with disk_errors(self.path, "open the record"):
            other = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return not _flock(self.path, other)
        finally:
            close_file(self.path, other)

    def load(self) -> Record | None:
        """Return the record, or None if there is none that can be read."""
        with disk_errors(self.path, "read the record"):
            return Record.read(os.pread(self._handle, _MAX_SIZE, 0))

    def save(self, record: Record) -> None:
        """Write the record over the one before."""
        text = msgspec.json.encode(record)
        # Blanks up to a block cover the rest of a longer text before, in the same write.
        text += b" " * (-len(text) % _BLOCK)
        with disk_errors(self.path, "write the record"):
            before = os.fstat(self._handle).st_size
            text = text.ljust(before)
            done = 0
            while done < len(text):
                done += os.pwrite(self._handle, text[done:], done)

    def sync(self) -> None:
        """Make the record survive a power cut."""
        with disk_errors(self.path, "sync the record"):
            os.fsync(self._handle)

    def check_writer(self, writer: str) -> None:
        """Make sure that no other process took over, as it may where locks do not hold.

        Raises:
            DiskError: The record is another writer's.
        """
        record = self.load() if _same_file(self.path, self._handle) else None
        if record is None or record.writer != writer:
            msg = f"another run took over this export ({self.path})"
            raise DiskError(msg, code="EBUSY", hint="run one process for each output directory")

    def remove(self) -> None:
        """Remove the record from disk and let go of it."""
        try:
            with disk_errors(self.path, "remove the record"):
                self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the record; it stays on disk."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            close_file(self.path, handle)


def _flock(path: Path, handle: int) -> bool:
    """Lock an open record; False when another one holds it. Where there are no locks, it is granted."""
    with disk_errors(path, "lock the record"):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # As good as a lock that keeps nobody out: `holds` tells.
            if error.errno not in _NO_LOCKS:
                raise
    return True


def _same_file(path: Path, handle: int) -> bool:
    there = look(path, follow=False)
    with disk_errors(path, "look at"):
        return there is not None and os.path.samestat(there, os.fstat(handle))
