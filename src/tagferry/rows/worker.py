"""Where decoding is done: on a few threads, so that the event loop goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from tagferry.files.thread import Threads, settle, start

__all__ = ["decode"]

T = TypeVar("T")

_THREADS = Threads(2)
"""More would not decode more: they take turns at the interpreter, and the event loop with them."""


async def decode(work: Callable[[], T]) -> T:
    """Do a few milliseconds of blocking work; a cancellation takes effect before or behind it."""
    # Waiting for a thread is shielded, and a loop may do nothing else.
    await checkpoint_if_cancelled()
    return await settle(start(work, threads=_THREADS))
