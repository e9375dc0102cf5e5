"""A durable fetch: every account of an input looked up once, on disk once, whatever breaks on the way."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO

import anyio
import msgspec

from tagferry.deadline import within
from tagferry.errors import ConfigError, IntegrityError
from tagferry.events import FetchPlanned
from tagferry.files.disk import is_plain
from tagferry.files.thread import in_thread
from tagferry.lookups.batch import Asker
from tagferry.lookups.feed import Batch, SpoolFeed
from tagferry.lookups.format import render
from tagferry.lookups.intake import Accounts, DeadLetters
from tagferry.lookups.outcome import FetchReport
from tagferry.lookups.outset import check_plan, set_out
from tagferry.lookups.parquet import make_table
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.saver import Saver
from tagferry.lookups.service import LookupService
from tagferry.lookups.spec import FetchSpec
from tagferry.lookups.spool_reader import SpoolReader
from tagferry.lookups.target import Target, output_of
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.lookups.workers import work_off
from tagferry.lookups.workplace import Workplace

__all__ = ["DEADLINE", "Accounts", "FetchSpec", "fetch", "pipe", "retry"]

DEADLINE = 24 * 3600.0
"""Seconds that a fetch may take in one run, unless the caller says otherwise."""

_WINDOW = 5000
_ORDERED_WINDOW = 500
"""Batches that may be ahead of the slowest one: their numbers are in every checkpoint, and with an order to
keep, their answers are in memory."""
_COOL = 1.1
"""Seconds before a resumed run sends: what a killed one had in flight may still count."""


async def fetch(spec: FetchSpec, deadline: float | None) -> FetchReport:
    """Bring a fetch to its end, in no more than a deadline in seconds; None is no bound.

    Raises:
        ConfigError: Something cannot end well; before any request.
        RecordError: The input is damaged; before any request.
        DeadlineError: The time is over; the next run goes on.
        TagferryError: A failure that stops the whole fetch; the next run goes on.
    """
    name, service = str(spec.target.output), spec.service.name
    async with AsyncExitStack() as stack:
        place = await within(deadline, lambda: _fetch(spec, stack), name=name, service=service)
        if place is None:
            return FetchReport(state="skipped", output=spec.target.output)
        # Read before they are gone with the ledger.
        report = _report(place)
        # Not within the deadline: all is answered, and the rest takes no time.
        await in_thread(functools.partial(place.finish, replace=spec.if_exists == "replace"))
        return report


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
            spec = FetchSpec(
                service=service,
                accounts=accounts,
                target=place.target,
                ordered=ordered,
                if_exists="error",
                resume=False,
            )
            await set_out(spec, place)
            await _run(spec, place)
            return msgspec.structs.replace(_report(place), output=None, dead_letters=None)
        finally:
            await in_thread(place.close)

    return await within(deadline, work, name="the output", service=service.name)


async def _fetch(spec: FetchSpec, stack: AsyncExitStack) -> Workplace | None:
    """Bring a fetch to where only names are left to give; None when the output is to be kept."""
    target = spec.target
    if await in_thread(target.check, spec.if_exists):
        return None
    place = await _open(target, stack)
    if place.ending and not spec.resume:
        # Some of its files may have their names already: only at its end nothing is lost.
        await in_thread(functools.partial(place.finish, replace=spec.if_exists == "replace"))
        place = await _open(target, stack)
        place.follows = True
    # Again, now that no other run can give the names any more.
    if place.ending is None and await in_thread(target.is_kept, spec.if_exists):
        return None
    if place.plan is None or not spec.resume:
        await in_thread(place.make_room)
        await set_out(spec, place)
    else:
        await check_plan(spec, place.plan, is_ending=place.ending is not None)
    if place.ending is None:
        if place.follows:
            spec.service.hold(_COOL)
        await _run(spec, place)
    if target.form.is_table:
        await make_table(target, spec.service.emit)
    return place


async def _open(target: Target, stack: AsyncExitStack) -> Workplace:
    place = await in_thread(Workplace.open, target, undo=Workplace.close)
    stack.push_async_callback(in_thread, place.close)
    return place


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


async def _run(spec: FetchSpec, place: Workplace | PipePlace) -> None:
    service, plan, checkpoint = spec.service, place.plan, place.checkpoint
    assert plan is not None
    marks = Watermark(checkpoint.low, checkpoint.above)
    await in_thread(place.open_files)
    reader = await in_thread(SpoolReader, place.target.spool, service.batch, undo=SpoolReader.close)
    try:
        await in_thread(reader.skip, marks.low)
        _announce(spec, place)
        asker = Asker(service)
        window = Window(marks, _ORDERED_WINDOW if spec.ordered else _WINDOW)
        feed = SpoolFeed(reader, window)
        saver = Saver(
            place,
            service.kind,
            window,
            asker.tally,
            ordered=spec.ordered,
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
    _check_whole(place)


def _check_whole(place: Workplace | PipePlace) -> None:
    """Make sure that every account was answered, whatever was done to the files meanwhile.

    Raises:
        IntegrityError: One is missing.
    """
    plan, totals = place.plan, place.checkpoint.totals
    assert plan is not None
    answered = totals.tagged + totals.missing + totals.failed
    if answered != plan.distinct:
        msg = f"{answered} accounts of {plan.distinct} were answered at the end of the fetch"
        raise IntegrityError(msg, hint="start over with --no-resume (resume=False)")


def _announce(spec: FetchSpec, place: Workplace | PipePlace) -> None:
    plan, totals = place.plan, place.checkpoint.totals
    assert plan is not None
    left = plan.distinct - totals.tagged - totals.missing - totals.failed
    calls = -(-left // spec.service.batch)
    spec.service.emit(
        FetchPlanned(
            kind=spec.service.kind,
            output=str(place.target.output),
            accounts=plan.accounts,
            distinct=plan.distinct,
            left=left,
            calls=calls,
            seconds=calls / spec.service.rate,
        )
    )


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
    if output is None:
        output = await in_thread(output_of, dead_letters)
    elif not await in_thread(is_plain, output):
        hint = "name the output that the dead letters came from"
        raise ConfigError(f"there is no file {output}", hint=hint)
    spec = FetchSpec(
        service=service,
        accounts=DeadLetters(dead_letters),
        target=Target.of(output),
        ordered=ordered,
        if_exists="replace",
        resume=resume,
        retried=dead_letters,
    )
    return await fetch(spec, deadline)
