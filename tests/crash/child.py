"""A process that exports a few tags, to be killed: -m tests.crash.child BASE_URL OUT IF_EXISTS ID...

With ONE_THREAD in its environment all files are written by one thread: strace counts the calls of each thread
for itself.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import tagferry
from tagferry.files import thread
from tagferry.files.thread import Threads
from tests.exports.world import PROJECT, TOKEN, hasten


async def main(base_url: str, out: str, if_exists: Any, *ids: str) -> int:
    failed = 0
    client = hasten(tagferry.GrowingIO(token=TOKEN, base_url=base_url, rate="10000/s"))
    if "ONE_THREAD" in os.environ:
        thread._THREADS = Threads(1)
    async with client as gio:
        exports = [gio.tag_users(PROJECT, tag_id) for tag_id in ids]
        Path(out).mkdir(exist_ok=True)
        async with tagferry.download_all(exports, out, if_exists=if_exists) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, tagferry.ExportFailed):
                    failed += 1
                    print(outcome.export, repr(outcome.error), file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
