"""Giving a whole file its final name, without ever replacing what someone else wrote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tagferry.errors import DiskError
from tagferry.files.disk import disk_errors, look

__all__ = ["check_free", "check_there", "place_file"]

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems without hard links answer, such as FAT."""


def place_file(source: Path, target: Path, *, replace: bool) -> None:
    """Give a whole file its final name. Run again after a crash in its middle, it ends the same.

    Args:
        source: The unfinished name.
        target: The final name, on the same disk.
        replace: Whether to replace a file that is already there.

    Raises:
        DiskError: Another file has the name, or the disk refuses.
    """
    with disk_errors(target, "rename the finished file to"):
        if replace and not _is_same(source, target):
            source.replace(target)
            return
        try:
            # Unlike a rename, a link never replaces what someone else wrote in the meantime.
            target.hardlink_to(source)
        except FileExistsError:
            if not _is_same(source, target):
                raise _taken(target) from None
            # A crash came between this and the next step.
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            check_free(target)
            source.rename(target)
            return
        source.unlink()


def check_there(source: Path) -> None:
    """Make sure that an unfinished file is still there.

    Raises:
        DiskError: It is not.
    """
    if look(source, follow=False) is None:
        hint = "run the same again, and leave unfinished files alone"
        raise DiskError(f"{source} was removed in the meantime", code="ENOENT", hint=hint)


def check_free(target: Path) -> None:
    """Refuse a name that is taken.

    Raises:
        DiskError: It is.
    """
    if look(target, follow=False):
        raise _taken(target)


def _is_same(source: Path, target: Path) -> bool:
    there = look(target, follow=False)
    return there is not None and os.path.samestat(there, source.lstat())


def _taken(target: Path) -> DiskError:
    hint = "use --if-exists replace (if_exists=), or another directory"
    return DiskError(f"{target} came into being in the meantime", code="EEXIST", hint=hint)
