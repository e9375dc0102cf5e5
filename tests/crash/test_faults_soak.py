"""Many faults in the middle of downloads, with counts of what was really seen on both sides."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import tagferry
from tagferry.events import LinkRenewed, TransferBroken
from tests.exports.world import DOWNLOAD, FAST, World, open_world
from tests.standing import open_files

pytestmark = pytest.mark.anyio

PARTS = 3
ROWS = 12_000
STALL = 0.3
"""Seconds in which a transfer must bring some bytes."""


def draw(dice: random.Random, size: int, breaks: int, stalls: int, *, lapse: bool) -> list[str]:
    """Draw the faults of one export: at random places, spread over its parts, a lapse in mid-body last."""
    words = [dice.choice(["cut", "reset"]) for _ in range(breaks)]
    words += [dice.choice(["stall", "drip"]) for _ in range(stalls)]
    dice.shuffle(words)
    orders = [f"{word}@{dice.randrange(1, size // 8)}" for word in words]
    orders = [order + (" bytes=1 every=0.02" if order.startswith("drip") else "") for order in orders]
    # A whole part in between moves what follows to the next one.
    for _ in range(dice.randrange(PARTS)):
        orders.insert(dice.randrange(len(orders) + 1), "pass")
    # The link is found lapsed when the rest of a body that broke off is asked for.
    return [*orders, f"cut@{dice.randrange(1, size // 8)}", "expired"] if lapse else orders


def files_and_tasks() -> int:
    gc.collect()
    return len(asyncio.all_tasks()) + open_files().total()


async def run(tmp_path: Path, *, exports: int, breaks: int, stalls: int, lapses: int) -> Counter[str]:
    """Download exports with so many faults each; return what was observed."""
    dice = random.Random(20261123)
    settings = replace(FAST, time_scale=1.0, rows=ROWS, parts=PARTS)
    before = files_and_tasks()
    seen: Counter[str] = Counter()
    ordered: Counter[str] = Counter()
    async with open_world(tmp_path, settings, stall_timeout=STALL) as world:
        wanted = world.tags(exports)
        for export in wanted:
            size = min(source.size for source in world.sources(export.id, parts=PARTS))
            for order in draw(dice, size, breaks, stalls, lapse=lapses > 0):
                world.order(order, operation=f"{DOWNLOAD}:{export.id}")
                ordered[order.partition("@")[0]] += 1
        async with tagferry.download_all(wanted, world.out, concurrency=10) as outcomes:
            async for outcome in outcomes:
                assert isinstance(outcome, tagferry.ExportDone), outcome
                count_files(world, outcome, seen)
        # What was ordered less what no request came for.
        for left in world.emulator.faults.unused():
            ordered[left.rpartition(": ")[2].partition("@")[0]] -= 1
        refused = sum(arrival.status == 403 for arrival in world.emulator.seen.of(DOWNLOAD))
        seen.update(cuts=ordered["cut"], resets=ordered["reset"], expiries=refused)
        seen.update(stalls=ordered["stall"] + ordered["drip"])
        broken = [event.error.code for event in world.of(TransferBroken)]
        # The client noticed every one of them.
        assert broken.count("stall") == seen["stalls"]
        assert len(broken) == seen["cuts"] + seen["resets"] + seen["stalls"]
        assert len(world.of(LinkRenewed)) == refused
        # What the store sent twice: what a reset or a stop left unread on its way.
        size = sum(source.size for export in wanted for source in world.sources(export.id, parts=PARTS))
        seen["sent again"] = world.sent - size
    await asyncio.sleep(0.1)
    seen["leaked"] = files_and_tasks() - before
    return seen


def count_files(world: World, outcome: tagferry.ExportDone, seen: Counter[str]) -> None:
    sources = world.sources(outcome.export.id, parts=PARTS)
    seen["files"] += len(outcome.files)
    seen["lost"] += len(sources) - len(outcome.files)
    for file, source in zip(outcome.files, sources, strict=False):
        body = file.path.read_bytes()
        seen["wrong"] += not hashlib.sha256(body).hexdigest() == source.sha256 == file.sha256
        seen["doubled bytes"] += max(0, len(body) - source.size)


def judge(seen: Counter[str], *, exports: int, breaks: int, stalls: int, lapses: int) -> None:
    names = ("cuts", "resets", "stalls", "expiries", "files", "lost", "doubled bytes", "wrong")
    summary = {name: seen[name] for name in names}
    print(json.dumps({**summary, "bytes sent again": seen["sent again"], "leaked fds/tasks": seen["leaked"]}))
    # Each lapse comes with a cut of its own.
    assert seen["cuts"] + seen["resets"] == exports * (breaks + lapses)
    assert seen["stalls"] == exports * stalls
    assert seen["expiries"] == exports * lapses
    assert seen["files"] == exports * PARTS
    assert {name: seen[name] for name in ("lost", "doubled bytes", "wrong", "leaked")} == {
        "lost": 0,
        "doubled bytes": 0,
        "wrong": 0,
        "leaked": 0,
    }


@pytest.mark.parametrize(
    "dose",
    [
        {"breaks": 1, "stalls": 0, "lapses": 0},
        {"breaks": 0, "stalls": 1, "lapses": 0},
        {"breaks": 0, "stalls": 0, "lapses": 1},
    ],
    ids=["breaks", "stalls", "lapses"],
)
async def test_ten_faults_of_a_sort_lose_and_double_nothing(tmp_path: Path, dose: dict[str, int]) -> None:
    judge(await run(tmp_path, exports=10, **dose), exports=10, **dose)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_hundreds_of_faults_in_many_parts_lose_and_double_nothing(tmp_path: Path) -> None:
    dose = {"exports": 50, "breaks": 4, "stalls": 1, "lapses": 1}
    judge(await run(tmp_path, **dose), **dose)
