"""Streams whose writer may keep a reader waiting for ever: a wait that can be ended from another thread."""

from __future__ import annotations

import errno
import io
import os
import selectors
import stat
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Attended", "attend", "open_at_once"]

_LOOK = 0.2
"""Seconds between two looks at whether to go on waiting."""
_Selector = selectors.SelectSelector if sys.platform == "darwin" else selectors.PollSelector
"""The one that takes any file: poll knows no terminals on macOS, and epoll no plain files."""
_AT_ONCE = os.O_NONBLOCK if sys.platform == "linux" else 0
"""A named pipe is opened before its writer comes; elsewhere it might look as if it was at its end."""


@runtime_checkable
class Attended(Protocol):
    """Something whose reading can be ended from another thread."""

    def stop(self) -> None:
        """Let whoever reads it wait no longer; that reading fails."""
        ...


class _Stream(io.RawIOBase):
    def __init__(self, file: io.BufferedReader | io.FileIO, stopped: threading.Event) -> None:
        # What a buffered stream holds already comes first; then it is asked for no more than is there.
        self._read = file.readinto1 if isinstance(file, io.BufferedReader) else file.readinto
        self._number = file.fileno()
        self._stopped = stopped
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = 0 if self._ended else None
        while count is None:
            self._wait()
            # None is no end of the input: somebody else was faster, at a stream that does not wait.
            count = cast("int | None", self._read(buffer))
        # Who types would have to end it once more each time that a terminal is asked again.
        self._ended = count == 0
        return count

    def _wait(self) -> None:
        with _Selector() as selector:
            selector.register(self._number, selectors.EVENT_READ)
            while not self._stopped.is_set():
                if selector.select(_LOOK):
                    return
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def attend(file: BinaryIO, stopped: threading.Event) -> BinaryIO:
    """Return a stream with the content of another one, whose reader waits only until an event is set.

    A plain file, or one in memory, keeps nobody waiting and is returned itself.

    Args:
        file: The stream; it is not closed with the new one.
        stopped: Whether to wait no longer. Then reading fails with the number ECANCELED.
    """
    try:
        waits = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:
        return file
    stream = _Stream(cast("io.BufferedReader | io.FileIO", file), stopped)
    return cast("BinaryIO", stream) if waits else file


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a pipe; an opener for `open`."""
    return os.open(path, flags | _AT_ONCE)
