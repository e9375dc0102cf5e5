"""Standard streams that take data: who reads them may be slow, or go away."""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress
from typing import BinaryIO

from tagferry.cli.screen import Screen
from tagferry.cli.stop import Stop

__all__ = ["Letters", "Outlet", "Patience"]

_LOOK = 200
"""Milliseconds between two looks at whether to go on waiting for a reader."""
_GRACE = 0.5
"""Seconds that the one who set a deadline has to notice it first."""


class Patience:
    """How long it makes sense to wait for a reader: until a signal comes, or a deadline is over."""

    def __init__(self, deadline: float | None) -> None:
        self._until = None if deadline is None else time.monotonic() + deadline + _GRACE
        self.stop = Stop()
        """Whether a signal came; whoever listens to signals puts its own here."""
        self.is_cut = False
        """Whether something was dropped since it was over: then nothing is complete."""

    def is_over(self) -> bool:
        """Tell whether nobody wants to wait any longer."""
        late = self._until is not None and time.monotonic() > self._until
        return late or self.stop.signal is not None


class Outlet:
    """Writes whole lines to a stream, and waits for its reader only as long as anybody wants to.

    Args:
        stream: The stream; what it has buffered itself comes later.
        patience: How long to wait; when it is over, what no reader takes is dropped.
    """

    def __init__(self, stream: BinaryIO, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def write(self, text: bytes) -> int:
        """Write lines; blocks. What nobody takes when the patience is over is dropped.

        Raises:
            BrokenPipeError: The reader has gone.
            OSError: It cannot be written.
        """
        descriptor = _descriptor(self._stream)
        if descriptor is None:
            return self._stream.write(text)
        whole, at = memoryview(text), 0
        waits = _may_wait(descriptor)
        while at < len(text) and self._wait(descriptor):
            end = _end_of_lines(text, at) if waits else len(text)
            # Somebody else may have made it one that does not wait.
            with suppress(BlockingIOError):
                at += os.write(descriptor, whole[at:end])
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written is out."""

    def _wait(self, descriptor: int) -> bool:
        """Wait until a pipe takes at least `select.PIPE_BUF` bytes; tell whether it does."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while not poll.poll(_LOOK):
            if self._patience.is_over():
                self._patience.is_cut = True
                return False
        return True


class Letters:
    """Writes dead letters to standard error, where a view may be drawn meanwhile.

    Args:
        screen: Where the view is.
        stream: Standard error.
        live: Whether a view renews itself there.
        patience: As for `Outlet`.
    """

    def __init__(self, screen: Screen, stream: BinaryIO, *, live: bool, patience: Patience) -> None:
        self._console = screen.console
        self._outlet = Outlet(stream, patience)
        self._live = live

    def write(self, text: bytes) -> int:
        """Write lines; blocks. When the reader has gone, they are dropped: the answers are what counts."""
        if self._live:
            self._console.out(text.decode().removesuffix("\n"), highlight=False)
        elif not self._console.quiet:
            try:
                self._outlet.write(text)
            except BrokenPipeError:
                self._console.on_broken_pipe()
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written is out."""


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None  # it is in memory


def _may_wait(descriptor: int) -> bool:
    return not stat.S_ISREG(os.fstat(descriptor).st_mode)


def _end_of_lines(text: bytes, start: int) -> int:
    """Return the end of what a pipe that has room takes at once, at the end of a line if there is one."""
    most = start + select.PIPE_BUF
    return len(text) if len(text) <= most else text.rfind(b"\n", start, most) + 1 or most
