"""Many exports, as a user writes it: ``python -m benchmarks.growth_exports URL RATE EXPORTS OUT LOOP``."""

from __future__ import annotations

import asyncio
import sys

import tagferry
from benchmarks.loops import loop_factory
from benchmarks.store import PROJECT


async def main(url: str, rate: str, exports: int, directory: str) -> int:
    done = 0
    async with tagferry.GrowingIO(token="benchmark", base_url=url, rate=rate) as gio:
        wanted = [gio.tag_users(PROJECT, f"{number:08d}") for number in range(exports)]
        async with tagferry.download_all(wanted, directory) as outcomes:
            async for outcome in outcomes:
                done += isinstance(outcome, tagferry.ExportDone)
    return done


if __name__ == "__main__":
    url, rate, exports, directory, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        print(runner.run(main(url, rate, int(exports), directory)))
