"""Several pieces of work at once, and what the first failure does to the others."""

import asyncio
from contextlib import suppress

import pytest

from tagferry.errors import UnavailableError
from tagferry.lookups.workers import work_off
from tests.virtual import run_virtual


class Bench:
    """Pieces from 0 to `count`; each takes a second."""

    def __init__(self, count=10, seconds=1.0):
        self.left = list(range(count))
        self.seconds = seconds
        self.begun = []
        self.done = []
        self.most = 0

    async def take(self):
        return self.left.pop(0) if self.left else None

    async def work(self, piece):
        self.begun.append(piece)
        self.most = max(self.most, len(self.begun) - len(self.done))
        await asyncio.sleep(self.seconds)
        self.done.append(piece)


def run(main):
    async def checked():
        try:
            return await main()
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return run_virtual(checked)


@pytest.mark.parametrize("workers", [1, 3, 10, 40])
def test_every_piece_is_done_once_and_so_many_at_once(workers):
    bench = Bench()
    run(lambda: work_off(bench.take, bench.work, workers))
    assert sorted(bench.done) == list(range(10))
    assert bench.most == min(workers, 10)


def test_a_falsy_piece_is_a_piece():
    bench = Bench(1)
    run(lambda: work_off(bench.take, bench.work, 1))
    assert bench.done == [0]


def test_nothing_to_do_is_done():
    bench = Bench(0)
    run(lambda: work_off(bench.take, bench.work, 3))
    assert bench.begun == []


@pytest.mark.parametrize("error", [UnavailableError("gone"), ValueError("bug")])
def test_the_first_failure_stops_all_and_is_the_only_one_in_sight(error):
    bench = Bench()

    async def work(piece):
        if piece == 4:
            raise error
        await bench.work(piece)

    with pytest.raises(type(error)) as caught:
        run(lambda: work_off(bench.take, work, 3))
    assert caught.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert sorted(bench.begun) == [0, 1, 2, 3, 5]
    assert sorted(bench.done) == [0, 1, 2]


def test_a_bug_is_shown_before_what_the_service_said():
    bench = Bench(2)

    async def work(piece):
        if piece == 0:
            await asyncio.sleep(1)
            raise UnavailableError("gone")
        try:
            await asyncio.sleep(10)
        finally:
            raise ValueError("bug on the way out")

    with pytest.raises(ValueError, match="bug on the way out"):
        run(lambda: work_off(bench.take, work, 2))


def test_of_failures_of_the_service_alone_the_first_is_shown():
    async def work(piece):
        try:
            await asyncio.sleep(1 + piece)
        finally:
            raise UnavailableError(f"{piece}")

    bench = Bench(3)
    with pytest.raises(UnavailableError, match=r"^0$"):
        run(lambda: work_off(bench.take, work, 3))


def test_a_failure_to_take_stops_all():
    bench = Bench()

    async def take():
        if len(bench.left) == 5:
            raise ValueError("broken source")
        return await bench.take()

    with pytest.raises(ValueError, match="broken source"):
        run(lambda: work_off(take, bench.work, 3))
    assert sorted(bench.done) == [0, 1, 2]


def test_a_cancellation_cancels_all_and_stays_a_cancellation():
    bench = Bench(100)

    async def main():
        task = asyncio.create_task(work_off(bench.take, bench.work, 5))
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main)
    assert sorted(bench.done) == [0, 1, 2, 3, 4]
    assert len(bench.begun) == 10


@pytest.mark.parametrize("where", ["take", "work"])
def test_a_cancellation_from_within_is_a_failure_and_loses_no_piece_unheard(where):
    """Such as of a task that a provider or a source of the caller waits for."""
    bench = Bench()

    async def take():
        if where == "take" and len(bench.left) == 5:
            await _cancelled()
        return await bench.take()

    async def work(piece):
        if where == "work" and piece == 5:
            await _cancelled()
        await bench.work(piece)

    with pytest.raises(RuntimeError, match="was cancelled") as caught:
        run(lambda: work_off(take, work, 2))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert sorted(bench.done) == [0, 1, 2, 3]


async def _cancelled():
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    await waiting


def test_what_runs_beside_ends_with_the_work():
    bench = Bench(4)
    ticks = []

    async def beside():
        while True:
            ticks.append(len(bench.done))
            await asyncio.sleep(0.9)

    run(lambda: work_off(bench.take, bench.work, 2, beside=beside))
    assert ticks == [0, 0, 2]


def test_what_runs_beside_and_fails_stops_the_work():
    bench = Bench()

    async def beside():
        await asyncio.sleep(1.5)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(lambda: work_off(bench.take, bench.work, 2, beside=beside))
    assert sorted(bench.done) == [0, 1]


def test_what_runs_beside_and_ends_early_stops_nothing():
    bench = Bench(4)

    async def beside():
        with suppress(TimeoutError):
            await asyncio.sleep(0)

    run(lambda: work_off(bench.take, bench.work, 2, beside=beside))
    assert sorted(bench.done) == [0, 1, 2, 3]


@pytest.mark.parametrize(("count", "tasks"), [(0, 1), (1, 2), (2, 3), (50, 10)])
def test_there_are_no_more_workers_than_work(count, tasks):
    bench = Bench(count)
    most = 0

    async def work(piece):
        nonlocal most
        await bench.work(piece)
        most = max(most, len(asyncio.all_tasks()) - 1)

    run(lambda: work_off(bench.take, work, 10))
    assert bench.most == min(count, 10)
    assert most <= tasks


def test_work_that_comes_slowly_needs_few_workers():
    bench = Bench(20, seconds=1.5)
    takers = set()

    async def take():
        takers.add(asyncio.current_task())
        await asyncio.sleep(1)
        return await bench.take()

    run(lambda: work_off(take, bench.work, 10))
    assert sorted(bench.done) == list(range(20))
    assert len(takers) <= 4
