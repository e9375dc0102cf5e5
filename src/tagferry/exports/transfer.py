"""One body, from the wire to the disk: the next bytes are read while a block is written."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable

import anyio

from tagferry.errors import UnavailableError
from tagferry.exports.gate import Gate
from tagferry.files.thread import settle, start
from tagferry.wire.transport import Body

__all__ = ["BLOCK", "LEAST", "receive"]

BLOCK = 2 * 1024 * 1024
"""Bytes gathered for one write; a part may lose this much to a crash. 1 and 4 MiB were measured no faster."""
_PAUSE = 1.0
"""Seconds after which a block is written although it is not full, so that a slow transfer shows and keeps
what came."""
LEAST = 4096
"""Bytes that have to arrive in the stall time-out, and between two breaks; a drip is a stall too."""


async def receive(
    body: Body,
    write: Callable[[list[bytes]], None],
    wrote: Callable[[], None],
    *,
    stall_timeout: float,
    block: int = BLOCK,
    writers: Gate | None = None,
) -> None:
    """Hand a body to a writer in large blocks, on a worker thread.

    At most two blocks are held: the one that is written and the one that is gathered. When this ends, also
    by an error or a cancellation, nothing is being written any more.

    Args:
        body: The chunks.
        write: Writes chunks; blocks, and is called on a worker thread.
        wrote: Called on the event loop after each block, at once: somebody may be waiting for it.
        stall_timeout: Seconds in which some bytes have to come; the writer's time does not count.
        block: Bytes to gather for one write.
        writers: Bounds how many blocks are written at once.

    Raises:
        UnavailableError: The transfer stalled.
    """
    begin = functools.partial(_begin, start if writers is None else writers.start, write, wrote)
    writing: asyncio.Future[None] | None = None
    chunks: list[bytes] = []
    size = seen = 0
    written = anyio.current_time()
    try:
        with anyio.CancelScope(deadline=anyio.current_time() + stall_timeout) as stall:
            async for chunk in body:
                chunks.append(chunk)
                size += len(chunk)
                seen += len(chunk)
                now = anyio.current_time()
                if size >= block or now >= written + _PAUSE:
                    if writing is not None:
                        # Only the writer's time is given back: a drip must not gain any by its small blocks.
                        left, stall.deadline = stall.deadline - now, math.inf
                        await settle(writing)
                        stall.deadline = anyio.current_time() + left
                    writing = begin(chunks)
                    chunks, size, written = [], 0, now
                if seen >= LEAST:
                    seen = 0
                    stall.deadline = anyio.current_time() + stall_timeout
    finally:
        if writing is not None:
            await settle(writing)
        # What came before a break is worth keeping.
        if chunks:
            await settle(begin(chunks))
    if stall.cancelled_caught:
        msg = f"a transfer stalled: less than {LEAST} bytes in {stall_timeout:g} s"
        raise UnavailableError(msg, code="stall")


def _begin(
    start_writing: Callable[..., asyncio.Future[None]],
    write: Callable[[list[bytes]], None],
    wrote: Callable[[], None],
    chunks: list[bytes],
) -> asyncio.Future[None]:
    def note(done: asyncio.Future[None]) -> None:
        if done.exception() is None:
            wrote()

    writing = start_writing(write, chunks)
    writing.add_done_callback(note)
    return writing
