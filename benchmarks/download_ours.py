"""Ours, as a user writes it: ``python -m benchmarks.download_ours BASE_URL PROJECT TAG DIRECTORY LOOP``."""

from __future__ import annotations

import asyncio
import json
import sys

import tagferry
from benchmarks.loops import loop_factory


async def main(url: str, project: str, tag: str, directory: str) -> None:
    async with tagferry.GrowingIO(token="benchmark", base_url=url) as gio:
        files = await gio.tag_users(project, tag).download(directory)
    print(json.dumps([{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in files]))


if __name__ == "__main__":
    *words, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main(*words))
