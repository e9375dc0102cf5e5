"""The beginning of a fetch: its accounts are written down, or compared with those of an earlier run."""

from __future__ import annotations

import os
from contextlib import aclosing

from tagferry.errors import ConfigError
from tagferry.files.disk import disk_errors, look
from tagferry.files.thread import in_thread
from tagferry.lookups.intake import blocks_of, is_gone, name_of, stamp_of
from tagferry.lookups.pipe import PipePlace
from tagferry.lookups.plan import Plan
from tagferry.lookups.spec import FetchSpec
from tagferry.lookups.spool import Digest, Spool
from tagferry.lookups.workplace import Workplace

__all__ = ["check_plan", "set_out"]


async def check_plan(spec: FetchSpec, plan: Plan, *, is_ending: bool) -> None:
    """Make sure that an earlier run set out for the same.

    Args:
        spec: What is wanted now.
        plan: What it set out for.
        is_ending: Whether only names are left to give.

    Raises:
        ConfigError: It set out for something else.
        TagferryError: The input cannot be read.
    """
    plan.check_settings(spec.settings)
    # At its end, a retry puts what failed again in the place of its input.
    if is_ending and spec.retried:
        return
    if await in_thread(is_gone, spec.accounts):
        return
    stamp = await in_thread(stamp_of, spec.accounts)
    if stamp is None or stamp != plan.stamp:
        digest = Digest()
        async with aclosing(blocks_of(spec.accounts)) as blocks:
            async for block in blocks:
                await in_thread(digest.add, block)
        plan.check_input(name_of(spec.accounts), digest.accounts, digest.hexdigest)


async def set_out(spec: FetchSpec, place: Workplace | PipePlace) -> None:
    """Write the accounts down, each once, and then what is set out for.

    Raises:
        TypeError: The input is no collection of accounts.
        TagferryError: It cannot be read, or not be written down; nothing is left of it.
    """
    # Before they are read: if they are changed meanwhile, the next run reads them again.
    stamp = await in_thread(stamp_of, spec.accounts)
    spool = await in_thread(Spool, spec.target.spool, undo=Spool.discard)
    try:
        async with aclosing(blocks_of(spec.accounts)) as blocks:
            async for block in blocks:
                await in_thread(spool.add, block)
        report = await in_thread(spool.finish)
    except BaseException:
        await in_thread(spool.discard)
        raise
    retried = await in_thread(_find_elsewhere, spec)
    plan = Plan(
        settings=spec.settings,
        source=name_of(spec.accounts),
        stamp=stamp,
        digest=report.digest,
        accounts=report.accounts,
        distinct=report.distinct,
        size=report.size,
        retried=retried,
    )
    await in_thread(place.begin, plan, spec.target.output if spec.retried else None)


def _find_elsewhere(spec: FetchSpec) -> str | None:
    """Return where dead letters are if they are not beside their output. Blocks.

    Raises:
        ConfigError: Others are there.
    """
    ours, given = spec.target.dead, spec.retried
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
