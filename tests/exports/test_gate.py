"""A few pieces of work at once, in order, each waited for to its end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from tagferry.exports.gate import Gate
from tagferry.files.thread import settle

pytestmark = pytest.mark.anyio


class Work:
    """Counts how much of it is done at once, until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began: list[int] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, number: int) -> int:
        with self._lock:
            self.began.append(number)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.gate.wait(5)
        with self._lock:
            self.at_once -= 1
        if number % 3 == 2:
            raise ZeroDivisionError
        return number


async def settle_all(running: list[asyncio.Future[int]]) -> list[int | None]:
    results: list[int | None] = []
    for one in running:
        try:
            results.append(await settle(one))
        except ZeroDivisionError:
            results.append(None)
    return results


async def test_no_more_than_allowed_at_once_in_order_also_behind_errors():
    gate, work = Gate(2), Work()
    for _ in range(2):
        running = [gate.start(work, number) for number in range(9)]
        await asyncio.sleep(0.02)
        assert work.began == [0, 1]
        work.gate.set()
        assert await settle_all(running) == [0, 1, None, 3, 4, None, 6, 7, None]
        assert work.most == 2
        assert sorted(work.began) == list(range(9))
        work.gate.clear()
        work.began.clear()


async def test_who_is_cancelled_while_waiting_for_room_has_its_work_done_too():
    gate, work = Gate(1), Work()
    first = gate.start(work, 0)
    second = asyncio.create_task(settle(gate.start(work, 1)))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.sleep(0.01)
    assert not second.done()
    work.gate.set()
    assert await settle(first) == 0
    with suppress(asyncio.CancelledError):
        await second
    assert second.cancelled()
    assert work.began == [0, 1]


def test_a_gate_serves_one_event_loop_after_the_other():
    gate, work = Gate(1), Work()
    work.gate.set()

    async def main():
        return await settle_all([gate.start(work, number) for number in range(2)])

    assert [asyncio.run(main()) for _ in range(2)] == [[0, 1]] * 2
