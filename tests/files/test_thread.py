"""Blocking work on worker threads is waited for to its end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import anyio
import pytest

from tagferry.files import thread
from tagferry.files.thread import Threads, in_thread, settle, start

pytestmark = pytest.mark.anyio


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate = threading.Event()
        self.calls = 0
        self.done = False
        self.undone: list[str] = []

    def __call__(self, *args):
        self.calls += 1
        assert self.gate.wait(5)
        self.done = True
        if self.error is not None:
            raise self.error
        return f"result{args}"


async def test_the_result_and_the_error_come_out():
    work = Work()
    work.gate.set()
    assert await in_thread(work, 1, "a", undo=work.undone.append) == "result(1, 'a')"
    work.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await in_thread(work, undo=work.undone.append)
    assert work.undone == []


async def cancel_task(work: Work) -> None:
    task = asyncio.create_task(in_thread(work, undo=work.undone.append))
    await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.002)
    assert not task.done()
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_timeout(work: Work) -> None:
    asyncio.get_running_loop().call_later(0.03, work.gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await in_thread(work, undo=work.undone.append)


@pytest.mark.parametrize("cancel", [cancel_task, cancel_timeout])
async def test_a_cancellation_waits_for_the_work_and_undoes_it(cancel):
    work = Work()
    await cancel(work)
    assert work.done
    assert work.undone == ["result()"]


@pytest.mark.parametrize("cancel", [cancel_task, cancel_timeout])
async def test_work_that_failed_has_nothing_to_undo(cancel):
    work = Work(ZeroDivisionError())
    await cancel(work)
    assert work.undone == []


async def test_a_cancelled_scope_waits_too_and_keeps_the_result():
    work = Work()
    asyncio.get_running_loop().call_later(0.03, work.gate.set)
    kept = []
    with anyio.move_on_after(0.01) as scope:
        kept.append(await in_thread(work, undo=work.undone.append))
        await anyio.sleep(1)
    assert scope.cancelled_caught
    assert kept == ["result()"]
    assert work.undone == []


async def test_work_in_a_cancelled_scope_is_done():
    work = Work()
    work.gate.set()
    with anyio.CancelScope() as scope:
        scope.cancel()
        with suppress(asyncio.CancelledError):
            await in_thread(work)
    assert work.done


async def test_cancelling_every_task_of_the_loop_orphans_no_work():
    """That is what `asyncio.run` does at its end."""
    work, before = Work(), asyncio.all_tasks()
    task = asyncio.create_task(in_thread(work, undo=work.undone.append))
    await asyncio.sleep(0.01)
    for one in asyncio.all_tasks() - before:
        one.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    work.gate.set()
    with suppress(asyncio.CancelledError):
        await task
    assert work.done
    assert work.undone == ["result()"]


async def test_what_was_handed_over_is_done_although_its_future_is_cancelled():
    work, threads = Work(), Threads(1)
    first, second = start(work, threads=threads), start(work, 2, threads=threads)
    assert second.cancel()
    assert not threads.submit(work).cancel()
    work.gate.set()
    assert await settle(first) == "result()"
    assert await settle(start(work, 3, threads=threads)) == "result(3,)"
    assert second.cancelled()
    assert work.calls == 4


def ours() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "tagferry"]


async def wait_until_none_is_left() -> None:
    with anyio.fail_after(5):
        while ours():
            await anyio.sleep(0.001)


async def test_no_more_threads_than_allowed_and_none_without_work(monkeypatch):
    monkeypatch.setattr(thread, "_LINGER", 0.01)
    await wait_until_none_is_left()
    work, threads = Work(), Threads(2)
    running = [start(work, number, threads=threads) for number in range(6)]
    await asyncio.sleep(0.02)
    assert len(ours()) == work.calls == 2
    work.gate.set()
    assert [await settle(one) for one in running] == [f"result({number},)" for number in range(6)]
    await wait_until_none_is_left()
    assert await settle(start(work, threads=threads)) == "result()"


async def test_a_thread_stays_for_more_work_and_leaves_with_the_last_task(monkeypatch):
    monkeypatch.setattr(thread, "_LINGER", 60.0)
    await wait_until_none_is_left()
    threads = Threads(2)

    async def use(times):
        seen = set()
        for _ in range(times):
            seen.add(await settle(start(threading.current_thread, threads=threads)))
            await asyncio.sleep(0.005)
        return seen

    short, long = asyncio.create_task(use(2)), asyncio.create_task(use(10))
    assert len(await short | await long) <= 2
    # A thread that did not stay would be another one each time.
    assert len(await asyncio.create_task(use(5))) <= 2
    await wait_until_none_is_left()


async def test_work_is_done_although_the_system_gives_no_more_threads(monkeypatch):
    monkeypatch.setattr(thread, "_LINGER", 0.01)
    await wait_until_none_is_left()
    work, threads = Work(), Threads(3)
    first = start(work, threads=threads)

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(thread.threading.Thread, "start", refuse)
    second = start(work, 2, threads=threads)
    assert not second.done()
    work.gate.set()
    # The one that there is does it all.
    assert [await settle(first), await settle(second)] == ["result()", "result(2,)"]
    await wait_until_none_is_left()
    # There is none at all.
    assert [await in_thread(threading.current_thread)] == [threading.current_thread()]
    assert await settle(start(threading.current_thread, threads=threads)) is threading.current_thread()
    monkeypatch.undo()
    assert await settle(start(threading.current_thread, threads=threads)) is not threading.current_thread()


async def test_a_settled_future_gives_its_result_at_once():
    future = asyncio.get_running_loop().create_future()
    future.set_result(5)
    assert await settle(future) == 5
