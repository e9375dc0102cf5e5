"""Look-ups as a stream: outcomes while accounts come in, never more in memory than is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import anyio

from tagferry.errors import ConfigError
from tagferry.lookups.batch import Asker
from tagferry.lookups.feed import Batch, IterableFeed
from tagferry.lookups.outcome import Outcome
from tagferry.lookups.service import LookupService
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.lookups.workers import work_off

__all__ = ["Outcomes", "stream"]

_AHEAD = 5000
_ORDERED_AHEAD = 500
"""Batches that may be ahead of the slowest one; with an order to keep, their outcomes are in memory."""


@asynccontextmanager
async def stream(
    service: LookupService, accounts: Iterable[str] | AsyncIterable[str], *, ordered: bool
) -> AsyncGenerator[AsyncIterator[Outcome]]:
    """Look accounts up while they are gone through; see `tagferry.TencentIM.stream_tags`."""
    window = Window(Watermark(), _ORDERED_AHEAD if ordered else _AHEAD)
    feed = IterableFeed(accounts, service.batch, window)
    outcomes = Outcomes()
    lane = _Lane(outcomes, window, ordered=ordered)
    asker = Asker(service)

    async def work(batch: Batch) -> None:
        await lane.put(batch.number, await _ask(asker, batch.accounts))

    async def run() -> None:
        failure: BaseException | None = None
        try:
            await work_off(feed.take, work, service.workers)
        except BaseException as error:  # noqa: BLE001  # whoever iterates gets it
            failure = error
        outcomes.end(failure)

    task = asyncio.create_task(run())
    try:
        yield outcomes
    finally:
        # Before the rest is stopped: who still reads is told, and not cancelled with it.
        outcomes.close()
        await _stop(task)


class Outcomes:
    """An async iterator of outcomes, for one reader or several."""

    def __init__(self) -> None:
        self._ready: deque[Outcome] = deque()
        self._ended = False
        self._failure: BaseException | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        # Nothing is handed to a reader who does not run: one that is cancelled, as by a time-out, loses none.
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        outcome = self._ready.popleft()
        if not self._ready:
            self._emptied.set()
        return outcome

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes when all before them are taken; by one at a time. Behind the end they are dropped."""
        while self._ready:
            self._emptied.clear()
            await self._emptied.wait()
        if not self._ended:
            self._ready.extend(outcomes)
            self._filled.set()

    def end(self, failure: BaseException | None) -> None:
        """End the iteration behind what is there, with a failure if there was one."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._filled.set()

    def close(self) -> None:
        """Give no more outcomes; who asks for what was not taken is told so."""
        if self._ready or self._failure is not None or not self._ended:
            self._ready.clear()
            self._ended = True
            hint = "go through it inside of its `async with` block"
            self._failure = ConfigError("the stream of outcomes is closed", hint=hint)
            self._filled.set()


class _Lane:
    """Hands batches over one by one, in their order if it is to be kept; who puts one waits for its turn."""

    def __init__(self, outcomes: Outcomes, window: Window, *, ordered: bool) -> None:
        self._outcomes = outcomes
        self._window = window
        self._ordered = ordered
        self._held: dict[int, Sequence[Outcome]] = {}
        self._putting = anyio.Lock()

    async def put(self, number: int, outcomes: Sequence[Outcome]) -> None:
        if self._ordered:
            self._held[number] = outcomes
        async with self._putting:
            if not self._ordered:
                await self._hand_over(number, outcomes)
            while (due := self._held.pop(low := self._window.marks.low, None)) is not None:
                await self._hand_over(low, due)

    async def _hand_over(self, number: int, outcomes: Sequence[Outcome]) -> None:
        await self._outcomes.put(outcomes)
        self._window.done(number)


async def _ask(asker: Asker, accounts: Sequence[str]) -> Sequence[Outcome]:
    distinct = list(dict.fromkeys(accounts))
    outcomes = (await asker.ask(distinct)).outcomes
    if len(distinct) == len(accounts):
        return outcomes
    # Equal accounts of a batch are asked for once, and each of them has its outcome.
    found = dict(zip(distinct, outcomes, strict=True))
    return [found[account] for account in accounts]


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end whatever is cancelled meanwhile."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    # The scope holds off cancellations of anyio, the loop those of asyncio.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
