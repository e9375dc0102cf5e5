"""Exports tags, and prints how late its event loop ever was: -m tests.crash.awake_child BASE_URL OUT ID..."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import tagferry
from tests.exports.world import PROJECT, TOKEN, hasten


async def watch(delays: list[float]) -> None:
    """Note how late the event loop is, a hundred times a second."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        delays.append(time.perf_counter() - before - 0.01)


async def main(base_url: str, out: str, *ids: str) -> None:
    delays: list[float] = []
    watching = asyncio.create_task(watch(delays))
    async with hasten(tagferry.GrowingIO(token=TOKEN, base_url=base_url, rate="10000/s")) as gio:
        exports = [gio.tag_users(PROJECT, tag_id) for tag_id in ids]
        async with tagferry.download_all(exports, out) as outcomes:
            done = sum([isinstance(outcome, tagferry.ExportDone) async for outcome in outcomes])
    watching.cancel()
    print(json.dumps({"done": done, "looks": len(delays), "latest": max(delays)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
