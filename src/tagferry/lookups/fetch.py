"""A durable fetch: every account of an input looked up once, on disk once, whatever breaks on the way."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import anyio
import msgspec

from tagferry.deadline import within
from tagferry.events import FetchPlanned
from tagferry.exports.thread import in_thread
from tagferry.lookups.accounts import check_accounts, check_accounts_argument
from tagferry.lookups.batch import Asker
from tagferry.lookups.feed import Batch, SpoolFeed
from tagferry.lookups.lines import render
from tagferry.lookups.outcome import FetchReport
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.plan import Plan
from tagferry.lookups.saver import Saver
from tagferry.lookups.service import LookupService
from tagferry.lookups.sources import IterableSource, Source, open_source
from tagferry.lookups.spool import Digest, Spool, SpoolReader
from tagferry.lookups.target import IfExists, Target, output_of
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.lookups.workers import work_off
from tagferry.lookups.workplace import Workplace

__all__ = ["DEADLINE", "Accounts", "Job", "fetch", "pipe", "retry"]

Accounts = Iterable[str] | AsyncIterable[str] | Source
"""Where accounts come from; a `Source` is a file, or what the command line names."""

DEADLINE = 24 * 3600.0
"""Seconds that a fetch may take in one run, unless the caller says otherwise."""

_WINDOW = 5000
_ORDERED_WINDOW = 500
"""Batches that may be ahead of the slowest one: their numbers are in every checkpoint, and with an order to
keep, their answers are in memory."""
_ITEMS = 10_000
_COOL = 1.1
"""Seconds before a resumed run sends: what a killed one had in flight may still count."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be fetched, and how."""

    service: LookupService
    accounts: Accounts
    target: Target
    ordered: bool
    if_exists: IfExists
    resume: bool
    base: Path | None = None
    """A file whose lines the output begins with."""

    @property
    def settings(self) -> dict[str, str]:
        """What an unfinished fetch must have been begun with."""
        order = "of the input" if self.ordered else "as answered"
        again = {"lines before": str(self.base)} if self.base else {}
        return {**self.service.settings, "order": order, **again}


async def fetch(job: Job, deadline: float | None) -> FetchReport:
    """Bring a fetch to its end, in no more than a deadline in seconds; None is no bound.

    Raises:
        ConfigError: Something cannot end well; before any request.
        RecordError: The input is damaged; before any request.
        DeadlineError: The time is over; the next run goes on.
        TagferryError: A failure that stops the whole fetch; the next run goes on.
    """
    name, service = str(job.target.output), job.service.name
    return await within(deadline, lambda: _fetch(job), name=name, service=service)


async def pipe(
    service: LookupService,
    accounts: Accounts,
    output: BinaryIO,
    dead_letters: BinaryIO,
    *,
    ordered: bool,
    deadline: float | None,
) -> FetchReport:
    """Fetch into a stream; see `tagferry.TencentIM.pipe_tags`."""

    async def work() -> FetchReport:
        place = await in_thread(PipePlace, output, dead_letters, undo=PipePlace.close)
        try:
            job = Job(
                service=service,
                accounts=accounts,
                target=place.target,
                ordered=ordered,
                if_exists="error",
                resume=False,
            )
            await _spool(job, place)
            await _run(job, place)
            return msgspec.structs.replace(_report(place), output=None, dead_letters=None)
        finally:
            await in_thread(place.close)

    return await within(deadline, work, name="the output", service=service.name)


async def _fetch(job: Job) -> FetchReport:
    if await in_thread(job.target.check, job.if_exists):
        return FetchReport(state="skipped", output=job.target.output)
    opening = functools.partial(Workplace.open, job.target, resume=job.resume)
    place = await in_thread(opening, undo=Workplace.close)
    try:
        if place.ending is None:
            await _prepare(job, place)
            await _run(job, place)
        # Read before they are gone with the ledger.
        report = _report(place)
        await in_thread(functools.partial(place.finish, replace=job.if_exists == "replace"))
        return report
    finally:
        await in_thread(place.close)


def _report(place: Workplace | PipePlace) -> FetchReport:
    plan, checkpoint, target = place.plan, place.checkpoint, place.target
    assert plan is not None
    totals = checkpoint.totals
    return FetchReport(
        accounts=plan.accounts,
        distinct=plan.distinct,
        tagged=totals.tagged,
        missing=totals.missing,
        failed=totals.failed,
        requests=totals.requests,
        throttled=totals.throttled,
        seconds=round(totals.seconds, 3),
        output=target.output,
        dead_letters=target.dead if checkpoint.dead_size else None,
    )


async def _prepare(job: Job, place: Workplace) -> None:
    """Have a complete spool and a plan, or make sure that those of an earlier run are the right ones."""
    if place.plan is None:
        await _spool(job, place)
        return
    place.plan.check_settings(job.settings)
    name, stamp = _name(job.accounts), await in_thread(_stamp, job.accounts)
    if stamp is None or stamp != place.plan.stamp:
        digest = Digest()
        async for block in _blocks(job.accounts):
            await in_thread(digest.add, block)
        place.plan.check_input(name, digest.accounts, digest.hexdigest)
    job.service.hold(_COOL)


async def _spool(job: Job, place: Workplace | PipePlace) -> None:
    stamp = await in_thread(_stamp, job.accounts)
    spool = await in_thread(Spool, job.target.spool, undo=Spool.discard)
    try:
        async for block in _blocks(job.accounts):
            await in_thread(spool.add, block)
        report = await in_thread(spool.finish)
    except BaseException:
        await in_thread(spool.discard)
        raise
    plan = Plan(
        settings=job.settings,
        source=_name(job.accounts),
        stamp=stamp,
        digest=report.digest,
        accounts=report.accounts,
        distinct=report.distinct,
    )
    await in_thread(place.begin, plan, job.base)


async def _run(job: Job, place: Workplace | PipePlace) -> None:
    service, plan, checkpoint = job.service, place.plan, place.checkpoint
    assert plan is not None
    marks = Watermark(checkpoint.low, checkpoint.above)
    await in_thread(place.open_files)
    reader = await in_thread(SpoolReader, place.target.spool, service.batch, undo=SpoolReader.close)
    try:
        await in_thread(reader.skip, marks.low)
        _announce(job, place)
        asker = Asker(service)
        window = Window(marks, _ORDERED_WINDOW if job.ordered else _WINDOW)
        feed = SpoolFeed(reader, window)
        saver = Saver(
            place,
            service.kind,
            window,
            asker.tally,
            ordered=job.ordered,
            clock=service.backoff.clock,
            emit=service.emit,
        )

        async def work(batch: Batch) -> None:
            answers = await asker.ask(batch.accounts)
            await saver.put(batch.number, render(answers, place.target.form))

        try:
            await work_off(feed.take, work, service.workers, beside=saver.run)
        finally:
            # Whatever stopped it: what was answered is not asked for again.
            with anyio.CancelScope(shield=True):
                await saver.save()
    finally:
        await in_thread(reader.close)


def _announce(job: Job, place: Workplace | PipePlace) -> None:
    plan, totals = place.plan, place.checkpoint.totals
    assert plan is not None
    left = plan.distinct - totals.tagged - totals.missing - totals.failed
    calls = -(-left // job.service.batch)
    job.service.emit(
        FetchPlanned(
            kind=job.service.kind,
            output=str(place.target.output),
            accounts=plan.accounts,
            distinct=plan.distinct,
            left=left,
            calls=calls,
            seconds=calls / job.service.rate,
        )
    )


def _name(accounts: Accounts) -> str:
    return accounts.name if isinstance(accounts, Source) else "accounts"


def _stamp(accounts: Accounts) -> str | None:
    return accounts.stamp() if isinstance(accounts, Source) else None


async def _blocks(accounts: Accounts) -> AsyncGenerator[list[bytes]]:
    """Yield the accounts of any input, cleaned and checked, some thousands at a time."""
    if isinstance(accounts, Source):
        blocks = await in_thread(accounts.blocks)
        while (block := await in_thread(_next, blocks)) is not None:
            yield block
        return
    check_accounts_argument(accounts)
    if isinstance(accounts, AsyncIterable):
        items: list[str] = []
        first = 1
        async for account in accounts:
            items.append(account)
            if len(items) == _ITEMS:
                yield check_accounts(items, first)
                first += len(items)
                items = []
        yield check_accounts(items, first)
        return
    # On this thread: what a caller iterates over may belong to it.
    for block in IterableSource(accounts).blocks():
        yield block


def _next(blocks: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(blocks, None)


async def retry(
    service: LookupService,
    dead_letters: Path,
    output: Path | None,
    *,
    ordered: bool,
    resume: bool,
    deadline: float | None,
) -> FetchReport:
    """Ask again for dead letters, and merge what is answered into the output that they came from.

    Raises:
        ConfigError: The output is not there, or something else cannot end well; before any request.
        TagferryError: As for `fetch`.
    """
    base = output or await in_thread(output_of, dead_letters)
    source = await in_thread(open_source, f"{dead_letters}:account")
    job = Job(
        service=service,
        accounts=source,
        target=Target.of(base),
        ordered=ordered,
        if_exists="replace",
        resume=resume,
        base=base,
    )
    return await fetch(job, deadline)
