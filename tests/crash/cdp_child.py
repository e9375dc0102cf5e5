"""A process that exports tags of a CDP, to be killed: -m tests.crash.cdp_child BASE_URL OUT KEY[=WISH]...

A wish is the id of a job to go on with, or "anew" for another one. It prints the key and the kind of error of
each export that failed.

With ONE_THREAD in its environment all files are written by one thread: strace counts the calls of each thread
for itself.
"""

import asyncio
import os
import sys
from pathlib import Path

import tagferry
from tagferry.files import thread
from tagferry.files.thread import Threads
from tests.exports.cdp_world import TOKEN, hasten


async def fetch(exports: list[tagferry.Export], out: Path, *, resume: bool) -> None:
    async with tagferry.download_all(exports, out, if_exists="skip", resume=resume) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, tagferry.ExportFailed):
                print(outcome.export.id, type(outcome.error).__name__, flush=True)
                print(repr(outcome.error), file=sys.stderr)


async def main(base_url: str, out: str, *wishes: str) -> None:
    plain: list[tagferry.Export] = []
    anew: list[tagferry.Export] = []
    client = hasten(tagferry.GrowingIOCDP(token=TOKEN, base_url=base_url, rate="10000/s"))
    if "ONE_THREAD" in os.environ:
        thread._THREADS = Threads(1)
    async with client as cdp:
        for wish in wishes:
            key, _, job = wish.partition("=")
            export = cdp.tag_users(key)
            (anew if job == "anew" else plain).append(
                cdp.attach(job, export) if job not in {"", "anew"} else export
            )
        await fetch(plain, Path(out), resume=True)
        await fetch(anew, Path(out), resume=False)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
