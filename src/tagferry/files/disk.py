"""What the operating system says about files, as errors that say what to do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tagferry.errors import ConfigError, DiskError

__all__ = ["check_directory", "close_file", "disk_errors", "is_plain", "look", "names_in", "sync_directory"]

_ELSEWHERE = "choose another output directory"
_HINTS = {
    errno.ENOSPC: "free some space and run the same again: what is done is kept",
    errno.EDQUOT: "free some of your quota and run the same again: what is done is kept",
    errno.EFBIG: "choose an output directory on a file system for files of this size (ulimit -f)",
    errno.EROFS: _ELSEWHERE,
    errno.ENOTDIR: _ELSEWHERE,
    errno.EISDIR: _ELSEWHERE,
    errno.EEXIST: _ELSEWHERE,
    errno.ELOOP: _ELSEWHERE,
    errno.ENOENT: "leave the output directory alone while it is in use, and run the same again",
    errno.EACCES: "check the permissions of the output directory",
    errno.EPERM: "check the permissions of the output directory",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower the concurrency",
    errno.ENFILE: "lower the concurrency: this machine has no more open files to give",
    errno.ENAMETOOLONG: "choose a shorter output directory",
}
_HINT = "check the disk of the output directory and run the same again: what is done is kept"


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
        raise DiskError(msg, code=code, hint=_HINTS.get(error.errno or 0, _HINT)) from None


def check_directory(directory: Path) -> None:
    """Refuse a directory in which no file can be made, without making anything.

    Raises:
        ConfigError: It is no directory, or it or its nearest existing parent is not writable.
        DiskError: It cannot even be looked at.
    """
    place = directory
    while look(place, follow=False) is None and place != place.parent:
        place = place.parent
    status = look(place)
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{place} is no directory", hint=_ELSEWHERE)
    if not os.access(place, os.W_OK | os.X_OK):
        msg = f"no file can be written to {place}"
        raise ConfigError(msg, hint="choose another output directory or change its permissions")


def look(path: Path, *, follow: bool = True) -> os.stat_result | None:
    """Return the status of what is at a path, or None if there is nothing.

    `Path.exists` and its kin take some errors for "no", in newer versions of Python all of them. But a disk
    that does not answer says nothing about what is there.

    Args:
        path: The path.
        follow: Whether a link stands for what it leads to.

    Raises:
        DiskError: It cannot be told.
    """
    with disk_errors(path, "look at"):
        try:
            return path.stat(follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None


def is_plain(path: Path) -> bool:
    """Tell whether a path leads to a plain file."""
    status = look(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory; none if there is no such directory."""
    with disk_errors(directory, "read"):
        try:
            return [path.name for path in directory.iterdir()]
        except FileNotFoundError:
            return []


def close_file(path: Path, handle: int) -> None:
    """Close a file; the descriptor is free afterwards, also after an error."""
    with disk_errors(path, "close"):
        os.close(handle)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
    with disk_errors(directory, "sync"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
