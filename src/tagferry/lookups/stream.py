"""Look-ups as a stream: outcomes while accounts come in, never more in memory than is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tagferry.lookups.batch import Asker
from tagferry.lookups.feed import Batch, IterableFeed
from tagferry.lookups.outcome import Outcome
from tagferry.lookups.service import LookupService
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.lookups.workers import work_off

__all__ = ["Outcomes", "stream"]

_AHEAD = 500
"""Batches that may be ahead of the slowest one."""


@asynccontextmanager
async def stream(
    service: LookupService, accounts: Iterable[str] | AsyncIterable[str], *, ordered: bool
) -> AsyncGenerator[AsyncIterator[Outcome]]:
    """Look accounts up while they are gone through; see `tagferry.TencentIM.stream_tags`."""
    window = Window(Watermark(), _AHEAD)
    feed = IterableFeed(accounts, service.batch, window)
    send, receive = anyio.create_memory_object_stream[Sequence[Outcome]](0)
    outcomes = Outcomes(receive)
    lane = _Lane(send, window, ordered=ordered)
    asker = Asker(service)

    async def work(batch: Batch) -> None:
        await lane.put(batch.number, await _ask(asker, batch.accounts))

    async def run() -> None:
        try:
            await work_off(feed.take, work, service.workers)
        except Exception as error:  # noqa: BLE001  # whoever iterates gets it
            outcomes.failure = error
        finally:
            send.close()

    task = asyncio.create_task(run())
    try:
        yield outcomes
    finally:
        task.cancel()
        # It must not outlive the block, which may be left by a cancellation.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        receive.close()


class Outcomes:
    """An async iterator of outcomes.

    Args:
        receive: Where they come from, a batch at a time.
    """

    def __init__(self, receive: MemoryObjectReceiveStream[Sequence[Outcome]]) -> None:
        self.failure: Exception | None = None
        """What ended the stream before its end."""
        self._receive = receive
        self._batch: Iterator[Outcome] = iter(())

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        while True:
            for outcome in self._batch:
                return outcome
            try:
                self._batch = iter(await self._receive.receive())
            except anyio.EndOfStream:
                break
        if (failure := self.failure) is not None:
            raise failure
        raise StopAsyncIteration


class _Lane:
    """Sends batches on, in their order if it is to be kept; whoever puts one waits until it is taken."""

    def __init__(
        self, send: MemoryObjectSendStream[Sequence[Outcome]], window: Window, *, ordered: bool
    ) -> None:
        self._send = send
        self._window = window
        self._ordered = ordered
        self._held: dict[int, Sequence[Outcome]] = {}
        self._sending = anyio.Lock()

    async def put(self, number: int, outcomes: Sequence[Outcome]) -> None:
        if not self._ordered:
            await self._send.send(outcomes)
            self._window.done(number)
            return
        self._held[number] = outcomes
        async with self._sending:
            while (due := self._held.pop(low := self._window.marks.low, None)) is not None:
                await self._send.send(due)
                self._window.done(low)


async def _ask(asker: Asker, accounts: Sequence[str]) -> Sequence[Outcome]:
    distinct = list(dict.fromkeys(accounts))
    outcomes = (await asker.ask(distinct)).outcomes
    if len(distinct) == len(accounts):
        return outcomes
    # Equal accounts of a batch are asked for once, and each of them has its outcome.
    found = dict(zip(distinct, outcomes, strict=True))
    return [found[account] for account in accounts]
