"""One body, from the wire to the disk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagferry.errors import DiskError, UnavailableError
from tagferry.exports import transfer
from tagferry.exports.transfer import receive
from tests.virtual import run_virtual

FOREVER = 1_000_000.0


class Sink:
    """A writer that remembers, and knows whether it is at work."""

    def __init__(
        self, *, takes: float = 0.0, fails_at: int | None = None, gate: threading.Event | None = None
    ):
        self.blocks: list[bytes] = []
        self.takes = takes
        self.fails_at = fails_at
        self.gate = gate
        self.entered = threading.Event()
        self.at_work = 0
        self.wrote = 0

    def write(self, chunks: list[bytes]) -> None:
        self.at_work += 1
        self.entered.set()
        try:
            if self.gate is not None:
                assert self.gate.wait(5)
            time.sleep(self.takes)
            if len(self.blocks) == self.fails_at:
                raise DiskError("cannot write: No space left on device", code="ENOSPC")
            self.blocks.append(b"".join(chunks))
        finally:
            self.at_work -= 1

    def note(self) -> None:
        self.wrote += 1

    @property
    def data(self) -> bytes:
        return b"".join(self.blocks)


async def chunks_of(
    *chunks: bytes, then: float = 0.0, error: Exception | None = None
) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await anyio.lowlevel.checkpoint()
        yield chunk
    if then:
        await anyio.sleep(then)
    if error is not None:
        raise error


def run(sink: Sink, body: AsyncIterator[bytes], block: int = transfer.BLOCK) -> None:
    run_virtual(lambda: receive(body, sink.write, sink.note, stall_timeout=30, block=block))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(transfer, "LEAST", 4)
    return 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.integers(1, 30))
def test_any_split_of_the_bytes_gives_the_same_file(chunks, block):
    sink = Sink()
    asyncio.run(receive(chunks_of(*chunks), sink.write, sink.note, stall_timeout=30, block=block))
    assert sink.data == b"".join(chunks)
    # Large blocks, but no larger than the block and the chunk that filled it.
    assert all(block <= len(one) < block + 40 for one in sink.blocks[:-1])
    assert sink.at_work == 0


def test_an_empty_body_writes_nothing():
    sink = Sink()
    run(sink, chunks_of())
    assert sink.blocks == []


def test_progress_is_told_after_each_block(small_blocks):
    sink = Sink()
    run(sink, chunks_of(*[b"x" * 5] * 9), block=10)
    assert [len(block) for block in sink.blocks] == [10, 10, 10, 10, 5]
    assert sink.wrote == 5


@pytest.mark.anyio
async def test_at_most_two_blocks_are_held_when_the_writer_is_slow(small_blocks):
    gate = threading.Event()
    sink = Sink(gate=gate)
    pulled = 0

    async def body():
        nonlocal pulled
        for _ in range(100):
            pulled += 1
            yield b"x" * 5

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: receive(body(), sink.write, sink.note, stall_timeout=30, block=10))
        await anyio.sleep(0.05)
        # One block is being written, the next is full, and nothing more was asked for.
        assert pulled * 5 == 2 * small_blocks
        gate.set()
    assert len(sink.data) == 500


def test_silence_is_a_stall_and_what_came_is_kept():
    sink = Sink()

    async def main():
        began = anyio.current_time()
        with pytest.raises(UnavailableError, match="stalled") as caught:
            await receive(chunks_of(b"abc", then=FOREVER), sink.write, sink.note, stall_timeout=30)
        assert anyio.current_time() - began == pytest.approx(30, abs=0.1)
        assert caught.value.retryable
        assert caught.value.code == "stall"

    run_virtual(main)
    assert sink.data == b"abc"


def test_a_drip_is_a_stall_too():
    async def drip():
        while True:
            await anyio.sleep(0.5)
            yield b"x"

    sink = Sink()
    with pytest.raises(UnavailableError, match="stalled"):
        run(sink, drip())
    assert 55 <= len(sink.data) <= 60


def test_a_slow_but_steady_body_is_no_stall():
    async def slow():
        for _ in range(100):
            await anyio.sleep(10)
            yield b"x" * 2048

    sink = Sink()
    run(sink, slow())
    assert len(sink.data) == 100 * 2048


def test_a_slow_body_is_written_every_second():
    async def slow():
        for _ in range(10):
            await anyio.sleep(0.5)
            yield b"x" * 3000

    sink = Sink()
    run(sink, slow())
    assert len(sink.data) == 30_000
    assert [len(block) for block in sink.blocks] == [6000] * 5


@pytest.mark.parametrize("before", range(1, 12))
def test_silence_right_behind_a_full_block_is_a_stall(small_blocks, before):
    # Whatever the number of bytes that came since the stall was last ruled out.
    chunks = [b"x" * 10, b"y" * 10, b"z" * (before % 4), b"w" * before, b"v" * 11]

    sink = Sink()
    with pytest.raises(UnavailableError, match="stalled"):
        run(
            sink,
            chunks_of(*[chunk for chunk in chunks if chunk], b"u", b"t" * 9, b"s", then=FOREVER),
            block=10,
        )


@pytest.mark.parametrize("least", [4, 11, 15, 1000])
def test_the_watch_for_stalls_goes_on_after_waiting_for_the_writer(monkeypatch, least):
    monkeypatch.setattr(transfer, "LEAST", least)
    sink = Sink()

    async def main():
        with anyio.fail_after(1000), pytest.raises(UnavailableError, match="stalled"):
            await receive(
                chunks_of(*[b"x" * 10] * 3, then=FOREVER), sink.write, sink.note, stall_timeout=30, block=10
            )

    run_virtual(main)
    assert sink.data == b"x" * 30


@pytest.mark.anyio
async def test_a_writer_slower_than_the_network_is_no_stall(small_blocks):
    sink = Sink(takes=0.03)
    await receive(chunks_of(*[b"x" * 10] * 5), sink.write, sink.note, stall_timeout=0.02, block=10)
    assert len(sink.data) == 50


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_the_error_of_the_writer_comes_out_and_ends_the_transfer(small_blocks, fails_at):
    sink = Sink(fails_at=fails_at)
    with pytest.raises(DiskError, match="No space"):
        run(sink, chunks_of(*[b"x" * 10] * 3, b"last"), block=10)
    assert sink.data == b"x" * 10 * fails_at
    assert sink.at_work == 0


def test_what_came_before_a_break_is_written(small_blocks):
    sink = Sink()
    with pytest.raises(UnavailableError, match="broke"):
        run(sink, chunks_of(b"x" * 10, b"y" * 3, error=UnavailableError("the body broke off")), block=10)
    assert sink.data == b"x" * 10 + b"yyy"


def test_a_full_disk_after_a_break_is_what_is_told(small_blocks):
    sink = Sink(fails_at=1)
    with pytest.raises(DiskError):
        run(sink, chunks_of(b"x" * 10, b"y" * 3, error=UnavailableError("the body broke off")), block=10)


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["task", "scope", "timeout"])
@pytest.mark.parametrize("sent", [1, 2, 3, 4, 5, 7])
async def test_after_a_cancellation_nothing_is_being_written_and_the_file_is_a_prefix(
    small_blocks, way, sent
):
    """A thread that still wrote after the end could write into whatever file has the descriptor next."""
    gate = threading.Event()
    sink = Sink(gate=gate)
    source = bytes(range(100))

    async def body():
        for start in range(0, sent * 5, 5):
            yield source[start : start + 5]
        await anyio.sleep_forever()

    async def work():
        try:
            await receive(body(), sink.write, sink.note, stall_timeout=30, block=10)
        finally:
            assert sink.at_work == 0, "a thread is still writing"

    async def cancel_by_scope():
        with anyio.move_on_after(0.01):
            await work()

    async def cancel_by_timeout():
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await work()

    main = {"task": work, "scope": cancel_by_scope, "timeout": cancel_by_timeout}[way]
    task = asyncio.create_task(main())
    await asyncio.sleep(0.02)
    if way == "task":
        task.cancel()
        await asyncio.sleep(0.005)
        task.cancel()
    while not task.done() and not sink.entered.is_set():
        await asyncio.sleep(0.001)
    assert task.done() is (not sink.entered.is_set())
    gate.set()
    with suppress(asyncio.CancelledError):
        await task
    assert source.startswith(sink.data)
    if way != "task":
        assert len(sink.data) == sent * 5 if sent < 4 else len(sink.data) >= 10


def test_the_block_is_large_enough_for_full_speed_and_bounds_the_rework():
    assert transfer.BLOCK == 2 * 1024 * 1024
