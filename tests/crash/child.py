"""A process that exports a few tags, to be killed: python -m tests.crash.child BASE_URL OUT ID..."""

import asyncio
import sys
from pathlib import Path

import tagferry
from tests.exports.world import PROJECT, TOKEN, hasten


async def main(base_url: str, out: str, *ids: str) -> int:
    failed = 0
    async with hasten(tagferry.GrowingIO(token=TOKEN, base_url=base_url, rate="10000/s")) as gio:
        exports = [gio.tag_users(PROJECT, tag_id) for tag_id in ids]
        Path(out).mkdir(exist_ok=True)
        async with tagferry.download_all(exports, out, if_exists="skip") as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, tagferry.ExportFailed):
                    failed += 1
                    print(outcome.export, repr(outcome.error), file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
