"""The floor: as little as can be done by the same libraries; nothing is written, checked or repeated.

``python -m benchmarks.lookups_bare`` with the words of a `Task`.
"""

from __future__ import annotations

import asyncio
import random
import sys

import aiohttp
import msgspec
from yarl import URL

from benchmarks.lookups_task import PATH, Laps, Task
from benchmarks.loops import loop_factory


class User(msgspec.Struct, gc=False):
    To_Account: str
    Tags: list[str]


class Answer(msgspec.Struct):
    UserTags: list[User]


async def main(task: Task) -> int:
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Answer)
    head = f"{task.url}{PATH}?sdkappid={task.sdkappid}&identifier={task.identifier}&usersig={task.credential}"
    kind = {"Content-Type": "application/json"}
    batches = task.batches()
    tagged = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal tagged
        for accounts in batches:
            # Ready as it is: composing it of parameters would take longer than sending it.
            url = URL(f"{head}&random={random.getrandbits(32)}&contenttype=json", encoded=True)
            body = encoder.encode({"To_Account": accounts})
            async with session.post(url, data=body, headers=kind) as response:
                tagged += len(decoder.decode(await response.read()).UserTags)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*[work(session) for _ in range(task.connections)])
    return tagged


if __name__ == "__main__":
    laps = Laps()
    laps.end("start")
    task = Task.of(sys.argv[1:])
    with asyncio.Runner(loop_factory=loop_factory(task.loop)) as runner:
        tagged = runner.run(main(task))
    laps.end("look-ups")
    laps.tell(tagged)
