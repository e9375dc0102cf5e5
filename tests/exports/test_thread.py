"""Blocking work on worker threads is waited for to its end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import anyio
import pytest

from tagferry.exports.thread import in_thread, settle

pytestmark = pytest.mark.anyio


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate = threading.Event()
        self.done = False
        self.undone: list[str] = []

    def __call__(self, *args):
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


async def test_a_settled_future_gives_its_result_at_once():
    future = asyncio.get_running_loop().create_future()
    future.set_result(5)
    assert await settle(future) == 5
