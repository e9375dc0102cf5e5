from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tagferry.errors import DiskError
from tagferry.events import Checkpointed, Event, Fetching
from tagferry.lookups import saver as module
from tagferry.lookups.format import Chunk
from tagferry.lookups.plan import Checkpoint, Totals
from tagferry.lookups.saver import Saver
from tagferry.lookups.target import Target
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.wire.call import Tally
from tagferry.wire.clock import SystemClock
from tests.virtual import VirtualClock, run_virtual


class Place:
    """What was saved, in place of the files."""

    def __init__(self, totals: Totals | None = None) -> None:
        self.target = Target.of(Path("tags.jsonl"))
        self.plan = None
        self.checkpoint = Checkpoint(totals=totals or Totals())
        self.text = b""
        self.dead = b""
        self.saved: list[tuple[bytes, bytes, int, list[int], Totals]] = []
        self.before: Callable[[], None] = lambda: None

    def save(self, answers: bytes, dead: bytes, low: int, above: list[int], totals: Totals) -> None:
        self.before()
        self.text += answers
        self.dead += dead
        self.saved.append((answers, dead, low, above, totals))


class Scene:
    def __init__(self, *, ordered: bool = False, totals: Totals | None = None, clock: Any = None) -> None:
        self.place = Place(totals)
        self.window = Window(Watermark(), 100)
        self.tally = Tally()
        self.events: list[Event] = []
        self.saver = Saver(
            self.place,  # type: ignore[arg-type]
            "memory-tags",
            self.window,
            self.tally,
            ordered=ordered,
            clock=clock or SystemClock(),
            emit=self.events.append,
        )

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            await self.saver.put(number, chunk(number))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def chunk(number: int, size: int = 1) -> Chunk:
    """Lines of a batch: a letter for its number; every fifth batch has a dead letter."""
    letter = bytes([ord("a") + number])
    dead = letter.upper() if number % 5 == 0 else b""
    return Chunk(letter * size, dead, tagged=2, missing=1, failed=len(dead))


@pytest.mark.anyio
async def test_lines_are_written_as_they_come():
    scene = Scene()
    await scene.put(2, 0)
    assert scene.place.text == b""
    await scene.saver.save()
    await scene.put(5, 1)
    await scene.saver.save()
    await scene.saver.save()  # nothing came since
    assert [one[:4] for one in scene.place.saved] == [(b"ca", b"A", 1, [2]), (b"fb", b"F", 3, [5])]
    assert [event.accounts for event in scene.of(Checkpointed)] == [7, 14]


@pytest.mark.anyio
async def test_lines_are_written_in_order_if_it_is_to_be_kept():
    scene = Scene(ordered=True)
    await scene.put(2, 1)
    await scene.saver.save()
    assert scene.place.saved == []
    await scene.put(0, 4)
    await scene.saver.save()
    await scene.put(3)
    await scene.saver.save()
    assert [one[:4] for one in scene.place.saved] == [(b"abc", b"A", 3, []), (b"de", b"", 5, [])]


@pytest.mark.anyio
async def test_counts_are_of_all_runs():
    scene = Scene(totals=Totals(tagged=10, missing=20, failed=30, requests=40, throttled=50, seconds=60.0))
    scene.tally.requests, scene.tally.throttled = 3, 1
    await scene.put(0, 1)
    await scene.saver.save()
    totals = scene.place.saved[0][4]
    assert (totals.tagged, totals.missing, totals.failed) == (14, 22, 31)
    assert (totals.requests, totals.throttled) == (43, 51)
    assert 60.0 <= totals.seconds < 120.0
    assert scene.of(Fetching)[0].requests == 43


@pytest.mark.anyio
async def test_what_comes_during_a_checkpoint_is_for_the_next_one():
    scene = Scene()
    writing, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        writing.set()
        assert goes_on.wait(10)

    scene.place.before = wait
    await scene.put(0, 1)
    saving = asyncio.create_task(scene.saver.save())
    await asyncio.to_thread(writing.wait, 10)
    await scene.put(2)
    goes_on.set()
    await saving
    await scene.saver.save()
    assert [one[:4] for one in scene.place.saved] == [(b"ab", b"A", 2, []), (b"c", b"", 3, [])]


def fail_once() -> Callable[[], None]:
    failures = [DiskError("the disk is full", code="ENOSPC")]

    def fail() -> None:
        if failures:
            raise failures.pop()

    return fail


@pytest.mark.anyio
async def test_after_a_failure_nothing_counts_as_written_any_more():
    """The lines of the failed checkpoint are lost: a later one must not say that they are there."""
    scene = Scene()
    scene.place.before = fail_once()
    await scene.put(0)
    with pytest.raises(DiskError, match="full"):
        await scene.saver.save()
    await scene.put(1)
    for _ in range(2):
        with pytest.raises(DiskError, match="full"):
            await scene.saver.save()
    assert scene.place.saved == []
    assert scene.of(Checkpointed) == []


@pytest.mark.anyio
async def test_a_failure_is_told_although_its_checkpoint_was_cancelled():
    scene = Scene()
    writing, goes_on = threading.Event(), threading.Event()

    def fail() -> None:
        writing.set()
        assert goes_on.wait(10)
        raise DiskError("the disk is full", code="ENOSPC")

    scene.place.before = fail
    await scene.put(0)
    saving = asyncio.create_task(scene.saver.save())
    await asyncio.to_thread(writing.wait, 10)
    saving.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    scene.place.before = lambda: None
    with pytest.raises(DiskError, match="full"):
        await scene.saver.save()
    assert scene.place.saved == []


@pytest.mark.anyio
async def test_a_cancelled_checkpoint_is_made_and_not_made_again():
    scene = Scene()
    writing, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        writing.set()
        assert goes_on.wait(10)

    scene.place.before = wait
    await scene.put(0)
    saving = asyncio.create_task(scene.saver.save())
    await asyncio.to_thread(writing.wait, 10)
    saving.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await scene.put(1)
    await scene.saver.save()
    assert [one[:3] for one in scene.place.saved] == [(b"a", b"A", 1), (b"b", b"", 2)]


def test_a_checkpoint_comes_every_second():
    async def main() -> None:
        scene = Scene(clock=VirtualClock())
        loop = asyncio.get_running_loop()
        times: list[float] = []
        scene.place.before = lambda: times.append(loop.time())
        begin = loop.time()
        running = asyncio.create_task(scene.saver.run())
        for number in range(20):
            await scene.put(number)
            await asyncio.sleep(0.25)
        await asyncio.sleep(0.1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert [round(time - begin, 3) for time in times] == [1.0, 2.0, 3.0, 4.0, 5.0]
        # A few times a second, not at every batch, and at each checkpoint: the last one tells the end.
        assert len(scene.of(Fetching)) == 20 + 5
        await asyncio.sleep(1)
        for number in range(20, 40):
            await scene.put(number)
        assert len(scene.of(Fetching)) == 20 + 5 + 1

    run_virtual(main)


def test_many_bytes_do_not_wait_for_the_second(monkeypatch):
    monkeypatch.setattr(module, "_SOON", 100)

    async def main() -> None:
        scene = Scene(clock=VirtualClock())
        begin = asyncio.get_running_loop().time()
        running = asyncio.create_task(scene.saver.run())
        for number in range(3):
            await scene.saver.put(number, chunk(number, 40))
        while not scene.place.saved:
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - begin < 0.5
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    run_virtual(main)


def test_more_bytes_than_the_disk_takes_hold_up_the_workers(monkeypatch):
    monkeypatch.setattr(module, "_SOON", 50)
    monkeypatch.setattr(module, "_MOST", 100)

    async def main() -> None:
        scene = Scene(clock=VirtualClock())
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, scene.saver._waiting)

        async def work(first: int) -> None:
            for number in range(first, 24, 4):
                await scene.saver.put(number, chunk(number, 40))
                look()

        running = asyncio.create_task(scene.saver.run())
        await asyncio.gather(*(work(first) for first in range(4)))
        await scene.saver.save()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert sorted(scene.place.text) == sorted(b"".join(chunk(n, 40).answers for n in range(24)))
        # Each worker had one batch to put down at most, when there was no room.
        assert 0 < most < 100 + 4 * 41

    run_virtual(main)
