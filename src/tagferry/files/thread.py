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
from weakref import WeakSet

import anyio

__all__ = ["Threads", "in_thread", "settle", "start"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST = 40
"""Threads for all kinds of work together; most of them wait for the disk."""


_LINGER = 2.0
"""Seconds that a thread without work waits for more, as long as one of the tasks that gave some goes on. To
start one holds up the event loop, on a busy machine for many milliseconds."""


class Threads(Executor):
    """A few worker threads, which end soon after their work, and at once with the tasks that gave it.

    So there is nothing to shut down.

    Args:
        most: Threads at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = self._idle = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._users: WeakSet[asyncio.Task[object]] = WeakSet()
        self._changed = threading.Condition()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have work done on a thread, in any case: what was handed over cannot be cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            self._waiting.append(functools.partial(_do, future, functools.partial(fn, *args, **kwargs)))
            grows = self._idle < len(self._waiting) and self._threads < self._most
            self._threads += grows
            self._changed.notify()
        if grows:
            self._grow()
        return future

    def stay_for(self, task: asyncio.Task[object]) -> None:
        """Let threads linger until a task has ended."""
        with self._changed:
            if task in self._users:
                return
            self._users.add(task)
        task.add_done_callback(self._leave)

    def _leave(self, task: asyncio.Task[object]) -> None:
        with self._changed:
            self._users.discard(task)
            if not self._users:
                self._changed.notify_all()

    def _grow(self) -> None:
        try:
            threading.Thread(target=self._run, args=(_LINGER,), name="tagferry").start()
        except RuntimeError:
            # The system gives no more threads. The others will see to it; if there are none, files have to
            # be closed all the same, at the cost of everything else that has to wait here.
            with self._changed:
                alone = self._threads == 1
                self._threads -= not alone
            if alone:
                self._run(0.0)

    def _run(self, linger: float) -> None:
        while (work := self._next(linger)) is not None:
            work()

    def _next(self, linger: float) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or not self._users, linger)
            self._idle -= 1
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
    threads = threads or _THREADS
    if (task := asyncio.current_task()) is not None:
        threads.stay_for(task)
    return asyncio.get_running_loop().run_in_executor(threads, work, *args)


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
