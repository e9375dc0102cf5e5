"""Blocking work on worker threads, always waited for to its end.

An await of a thread that is cancelled leaves the thread running: it would write into files that are closed
by then, and what it opened would belong to nobody. So work is handed over as a future, which is no task: at
its end `asyncio.run` cancels every task that is left, also those that a library makes to wait for a thread.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

import anyio

__all__ = ["Threads", "in_thread", "settle", "start"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST = 40
"""Threads for all kinds of work together; most of them wait for the disk."""


class Threads(Executor):
    """A few worker threads, each of which ends when there is no work left.

    So there is nothing to shut down, and an interpreter that ends has no thread to wait for.

    Args:
        most: Threads at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have work done on a thread, in any case: what was handed over cannot be cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(functools.partial(_do, future, functools.partial(fn, *args, **kwargs)))
            more = self._threads < self._most
            self._threads += more
        if more:
            self._grow()
        return future

    def _grow(self) -> None:
        try:
            threading.Thread(target=self._run, name="tagferry").start()
        except RuntimeError:
            # The system gives no more threads. The others will see to it; if there are none, files have to
            # be closed all the same, at the cost of everything else that has to wait here.
            with self._lock:
                alone = self._threads == 1
                self._threads -= not alone
            if alone:
                self._run()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def _do(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  # whoever waits for the work has to be told
        future.set_exception(error)
    else:
        future.set_result(result)


_THREADS = Threads(_MOST)


async def in_thread(work: Callable[..., T], *args: object, undo: Callable[[T], object] | None = None) -> T:
    """Run blocking work on a worker thread; a cancellation takes effect when it has ended.

    Args:
        work: The work.
        args: Its arguments.
        undo: Called with the result, on a worker thread too, when a cancellation keeps it from the caller.
    """
    running = start(work, *args)
    try:
        return await settle(running)
    except asyncio.CancelledError:
        if undo is not None and running.exception() is None:
            await settle(start(undo, running.result()))
        raise


def start(work: Callable[..., T], *args: object, threads: Threads | None = None) -> asyncio.Future[T]:
    """Begin blocking work on a worker thread; it has to be waited for with `settle`.

    These are not the threads of asyncio, which resolves names on a few of them: a slow disk must not hold
    up polls.

    Args:
        work: The work.
        args: Its arguments.
        threads: Threads for this kind of work alone, which bound how much of it is done at once.
    """
    return asyncio.get_running_loop().run_in_executor(threads or _THREADS, work, *args)


async def settle(running: asyncio.Future[T]) -> T:
    """Wait for work until it has ended, also when cancelled; then return its result or raise.

    Whatever is cancelled, once or often, the work has ended when this has.
    """
    cancelled: asyncio.CancelledError | None = None
    # The scope holds off cancellations of anyio, the loop those of asyncio.
    with anyio.CancelScope(shield=True):
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
    failure = running.exception()  # looked at in any case, or asyncio calls it lost
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure
    return running.result()
