"""What one writes with aiohttp alone; nothing is written, checked or repeated.

``python -m benchmarks.lookups_plain`` with the words of a `Task`.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp

from benchmarks.lookups_task import PATH, Laps, Task


async def main(task: Task) -> int:
    batches = task.batches()
    tagged = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal tagged
        for accounts in batches:
            asked = {"To_Account": accounts}
            async with session.post(task.url + PATH, params=task.parameters(), json=asked) as response:
                # The service does not say that it is JSON.
                answer = await response.json(content_type=None)
            tagged += len(answer["UserTags"])

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*[work(session) for _ in range(task.connections)])
    return tagged


if __name__ == "__main__":
    laps = Laps()
    laps.end("start")
    tagged = asyncio.run(main(Task.of(sys.argv[1:])))
    laps.end("look-ups")
    laps.tell(tagged)
