"""The file that becomes an output: locked while it is written, to be told from those of runs that died."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from tagferry.files.disk import close_file, disk_errors, names_in

__all__ = ["create", "sweep"]

_END = ".tmp"
_BUFFER = 1024 * 1024


def create(target: Path) -> tuple[Path, BinaryIO]:
    """Make a file beside an output, of this run alone. Blocks.

    Raises:
        DiskError: It cannot be made.
    """
    while True:
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}{_END}")
        with disk_errors(path, "write"):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # Another run may have taken it for one of a dead run before it was locked.
        if _lock(handle) is not False and path.exists():
            return path, os.fdopen(handle, "wb", buffering=_BUFFER)
        close_file(path, handle)


def sweep(target: Path) -> None:
    """Remove the files that runs which died left beside an output. Blocks.

    Raises:
        DiskError: One cannot be removed.
    """
    for name in names_in(target.parent):
        middle = name.removeprefix(f"{target.name}.").removesuffix(_END)
        if name == f"{target.name}.{middle}{_END}" and len(middle) == 8 and middle.isalnum():
            _remove_dead(target.with_name(name))


def _remove_dead(path: Path) -> None:
    with disk_errors(path, "remove"):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if _lock(handle):
                path.unlink(missing_ok=True)
        finally:
            close_file(path, handle)


def _lock(handle: int) -> bool | None:
    """Lock a file; False when another one holds it, None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
