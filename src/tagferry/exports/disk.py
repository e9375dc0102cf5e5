"""What the operating system says about files, as errors that say what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tagferry.errors import ConfigError, DiskError

__all__ = ["check_directory", "disk_errors", "sync_directory"]

_HINTS = {
    errno.ENOSPC: "free some space and run the same again: it goes on where it stopped",
    errno.EDQUOT: "free some of your quota and run the same again: it goes on where it stopped",
    errno.EROFS: "choose another output directory",
    errno.EACCES: "check the permissions of the output directory",
    errno.EPERM: "check the permissions of the output directory",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower the concurrency",
    errno.ENAMETOOLONG: "choose a shorter output directory",
}


@contextmanager
def disk_errors(path: Path, doing: str) -> Generator[None]:
    """Turn an `OSError` of the block into a `DiskError` that names the file and the next step."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EIO")
        msg = f"cannot {doing} {path}: {error.strerror or type(error).__name__}"
        raise DiskError(msg, code=code, hint=_HINTS.get(error.errno or 0)) from None


def check_directory(directory: Path) -> None:
    """Refuse a directory in which no file can be made, without making anything.

    Raises:
        ConfigError: It is no directory, or it or its nearest existing parent is not writable.
    """
    place = directory
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"{place} is no directory", hint="choose another output directory")
    if not os.access(place, os.W_OK | os.X_OK):
        msg = f"no file can be written to {place}"
        raise ConfigError(msg, hint="choose another output directory or change its permissions")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
