"""Runs async work, and stops it cleanly on a signal."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import anyio

__all__ = ["EXIT_CODES", "run_async", "stop_on_signals"]

T = TypeVar("T")

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stop:
    """Whether a signal came, and which."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run async work on a loop of its own; on uvloop if that is installed."""
    fast = importlib.util.find_spec("uvloop") is not None
    return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": fast})


@contextmanager
def stop_on_signals() -> Generator[Stop]:
    """Cancel the block at the first SIGINT or SIGTERM; exit at once at the second.

    The block ends as soon as its clean-up is done; what the context manager gives then tells the signal.
    """
    loop = asyncio.get_running_loop()
    stop = Stop()
    with anyio.CancelScope() as scope:

        def take(number: signal.Signals) -> None:
            if stop.signal is not None:
                _leave(EXIT_CODES[number])
            stop.signal = number
            scope.cancel()

        for number in EXIT_CODES:
            loop.add_signal_handler(number, take, number)
        try:
            yield stop
        finally:
            for number in EXIT_CODES:
                loop.remove_signal_handler(number)


def _leave(code: int) -> None:
    if sys.stderr.isatty():
        # A live view hides the cursor.
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)
