"""A durable fetch: every account of an input looked up once, on disk once, whatever breaks on the way."""

from __future__ import annotations

import functools
import os
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import BinaryIO

import anyio
import msgspec

from tagferry.deadline import within
from tagferry.errors import ConfigError, IntegrityError
from tagferry.events import FetchPlanned
from tagferry.exports.disk import disk_errors, is_plain, look
from tagferry.exports.thread import in_thread
from tagferry.lookups.batch import Asker
from tagferry.lookups.feed import Batch, SpoolFeed
from tagferry.lookups.intake import Accounts, DeadLetters, blocks_of, is_gone, name_of, stamp_of
from tagferry.lookups.lines import render
from tagferry.lookups.outcome import FetchReport
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.plan import Plan
from tagferry.lookups.saver import Saver
from tagferry.lookups.service import LookupService
from tagferry.lookups.spool import Digest, Spool, SpoolReader
from tagferry.lookups.target import IfExists, Target, output_of
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tagferry.lookups.workers import work_off
from tagferry.lookups.workplace import Workplace

__all__ = ["DEADLINE", "Accounts", "Job", "fetch", "pipe", "retry"]

DEADLINE = 24 * 3600.0
"""Seconds that a fetch may take in one run, unless the caller says otherwise."""

_WINDOW = 5000
_ORDERED_WINDOW = 500
"""Batches that may be ahead of the slowest one: their numbers are in every checkpoint, and with an order to
keep, their answers are in memory."""
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
    retried: Path | None = None
    """Dead letters that are asked for again; the output then begins with the lines that it has."""

    @property
    def settings(self) -> dict[str, str]:
        """What an unfinished fetch must have been begun with."""
        return {
            **self.service.settings,
            "accounts in a call": str(self.service.batch),
            "order": "of the input" if self.ordered else "as answered",
            "purpose": "retry" if self.retried else "fetch",
        }


async def fetch(job: Job, deadline: float | None) -> FetchReport:
    """Bring a fetch to its end, in no more than a deadline in seconds; None is no bound.

    Raises:
        ConfigError: Something cannot end well; before any request.
        RecordError: The input is damaged; before any request.
        DeadlineError: The time is over; the next run goes on.
        TagferryError: A failure that stops the whole fetch; the next run goes on.
    """
    name, service = str(job.target.output), job.service.name
    async with AsyncExitStack() as stack:
        place = await within(deadline, lambda: _fetch(job, stack), name=name, service=service)
        if place is None:
            return FetchReport(state="skipped", output=job.target.output)
        # Read before they are gone with the ledger.
        report = _report(place)
        # Not within the deadline: all is answered, and the rest takes no time.
        await in_thread(functools.partial(place.finish, replace=job.if_exists == "replace"))
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


async def _fetch(job: Job, stack: AsyncExitStack) -> Workplace | None:
    """Bring a fetch to where only names are left to give; None when the output is to be kept."""
    target = job.target
    if await in_thread(target.check, job.if_exists):
        return None
    replace = job.if_exists == "replace"
    opening = functools.partial(Workplace.open, target, resume=job.resume, replace=replace)
    place = await in_thread(opening, undo=Workplace.close)
    stack.push_async_callback(in_thread, place.close)
    # Again, now that no other run can give the names any more.
    if place.ending is None and await in_thread(target.is_kept, job.if_exists):
        return None
    if place.plan is None:
        await _spool(job, place)
    else:
        await _check(job, place.plan, is_ending=place.ending is not None)
    if place.ending is None:
        if place.follows:
            job.service.hold(_COOL)
        await _run(job, place)
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


async def _check(job: Job, plan: Plan, *, is_ending: bool) -> None:
    """Make sure that an earlier run set out for the same."""
    plan.check_settings(job.settings)
    # At its end, a retry puts what failed again in the place of its input.
    if is_ending and job.retried:
        return
    if await in_thread(is_gone, job.accounts):
        return
    stamp = await in_thread(stamp_of, job.accounts)
    if stamp is None or stamp != plan.stamp:
        digest = Digest()
        async with aclosing(blocks_of(job.accounts)) as blocks:
            async for block in blocks:
                await in_thread(digest.add, block)
        plan.check_input(name_of(job.accounts), digest.accounts, digest.hexdigest)


async def _spool(job: Job, place: Workplace | PipePlace) -> None:
    """Write the accounts down, each once, and then what is set out for."""
    # Before they are read: if they are changed meanwhile, the next run reads them again.
    stamp = await in_thread(stamp_of, job.accounts)
    spool = await in_thread(Spool, job.target.spool, undo=Spool.discard)
    try:
        async with aclosing(blocks_of(job.accounts)) as blocks:
            async for block in blocks:
                await in_thread(spool.add, block)
        report = await in_thread(spool.finish)
    except BaseException:
        await in_thread(spool.discard)
        raise
    retried = await in_thread(_find_elsewhere, job)
    plan = Plan(
        settings=job.settings,
        source=name_of(job.accounts),
        stamp=stamp,
        digest=report.digest,
        accounts=report.accounts,
        distinct=report.distinct,
        size=report.size,
        retried=retried,
    )
    await in_thread(place.begin, plan, job.target.output if job.retried else None)


def _find_elsewhere(job: Job) -> str | None:
    """Return where dead letters are if they are not beside their output. Blocks.

    Raises:
        ConfigError: Others are there.
    """
    ours, given = job.target.dead, job.retried
    if given is None:
        return None
    there = look(ours)
    if there is None:
        return str(given.absolute())
    with disk_errors(given, "look at"):
        if os.path.samestat(there, given.stat()):
            return None
    msg = f"{ours} is there, and is not {given}"
    raise ConfigError(msg, hint="ask for those beside the output first: they are of the same output")


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
    job = Job(
        service=service,
        accounts=DeadLetters(dead_letters),
        target=Target.of(output),
        ordered=ordered,
        if_exists="replace",
        resume=resume,
        retried=dead_letters,
    )
    return await fetch(job, deadline)
