"""Keeps the answers until they are on disk, which is once a second."""

from __future__ import annotations

import asyncio

import anyio
import msgspec

from tagferry.events import Checkpointed, Emit, Fetching
from tagferry.files.thread import in_thread
from tagferry.lookups.format import Chunk
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.plan import Totals
from tagferry.lookups.window import Window
from tagferry.lookups.workplace import Workplace
from tagferry.wire.call import Tally
from tagferry.wire.clock import Clock
from tagferry.wire.quota import SECOND

__all__ = ["Saver"]

_EVERY = 1.0
"""Seconds between checkpoints."""
_SOON = 2 * 1024 * 1024
"""Bytes after which one is made at once."""
_MOST = 8 * 1024 * 1024
"""Bytes that may wait for the disk; then the workers wait too."""
_TELL = SECOND // 5


class Saver:
    """The answers of one run on their way to the disk.

    Args:
        place: The files.
        kind: What is looked up, for events.
        window: Which batches are done.
        tally: The requests of this run.
        ordered: Whether lines are written in the order of the input.
        clock: Time.
        emit: Told of progress.
    """

    def __init__(
        self,
        place: Workplace | PipePlace,
        kind: str,
        window: Window,
        tally: Tally,
        *,
        ordered: bool,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._place = place
        self._kind = kind
        self._window = window
        self._tally = tally
        self._ordered = ordered
        self._clock = clock
        self._emit = emit
        self._held: dict[int, Chunk] = {}  # done, but an earlier batch is not
        self._answers: list[bytes] = []
        self._dead: list[bytes] = []
        self._waiting = 0
        self._changed = False
        self._before = place.checkpoint.totals
        self._counts = msgspec.structs.replace(self._before)
        self._since = clock.now()
        self._told = 0
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._saving = anyio.Lock()
        self._failure: BaseException | None = None

    @property
    def totals(self) -> Totals:
        """The counts of the whole fetch until now."""
        counts, before = self._counts, self._before
        return msgspec.structs.replace(
            counts,
            requests=before.requests + self._tally.requests,
            throttled=before.throttled + self._tally.throttled,
            seconds=before.seconds + (self._clock.now() - self._since) / SECOND,
        )

    async def put(self, number: int, chunk: Chunk) -> None:
        """Take over the lines of a batch; it waits while too much waits for the disk."""
        if self._ordered:
            self._held[number] = chunk
            marks = self._window.marks
            while (due := self._held.pop(marks.low, None)) is not None:
                self._write(marks.low, due)
        else:
            self._write(number, chunk)
        if (now := self._clock.now()) - self._told >= _TELL:
            self._told = now
            self._tell()
        while self._waiting >= _MOST:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Make checkpoints until cancelled."""
        while True:
            with anyio.move_on_after(_EVERY):
                await self._full.wait()
            await self.save()

    async def save(self) -> None:
        """Make a checkpoint, if anything came or was sent since the last one.

        Once one failed, there is no other: it would count the lines of the failed one as written.
        """
        async with self._saving:
            self._full.clear()
            if self._failure is not None:
                raise self._failure
            totals = self.totals
            if not self._changed and totals.requests == self._place.checkpoint.totals.requests:
                return
            answers, dead = b"".join(self._answers), b"".join(self._dead)
            low, above = self._window.marks.low, self._window.marks.above
            self._answers, self._dead, self._waiting, self._changed = [], [], 0, False
            await in_thread(self._put_down, answers, dead, low, above, totals)
            self._room.set()
        counts = self._counts
        accounts = counts.tagged + counts.missing + counts.failed
        # A view that listens to progress alone should see the end, too.
        self._tell()
        self._emit(Checkpointed(kind=self._kind, output=str(self._place.target.output), accounts=accounts))

    def _put_down(self, answers: bytes, dead: bytes, low: int, above: list[int], totals: Totals) -> None:
        try:
            self._place.save(answers, dead, low, above, totals)
        except BaseException as error:
            # Noted here, since whoever waits for this may be cancelled and never hear of it.
            self._failure = error
            raise

    def _write(self, number: int, chunk: Chunk) -> None:
        self._answers.append(chunk.answers)
        if chunk.dead:
            self._dead.append(chunk.dead)
        self._waiting += len(chunk.answers) + len(chunk.dead)
        self._changed = True
        counts = self._counts
        counts.tagged += chunk.tagged
        counts.missing += chunk.missing
        counts.failed += chunk.failed
        self._window.done(number)
        if self._waiting >= _SOON:
            self._full.set()

    def _tell(self) -> None:
        totals, plan = self.totals, self._place.plan
        self._emit(
            Fetching(
                kind=self._kind,
                output=str(self._place.target.output),
                distinct=plan.distinct if plan else 0,
                tagged=totals.tagged,
                missing=totals.missing,
                failed=totals.failed,
                requests=totals.requests,
                throttled=totals.throttled,
            )
        )
