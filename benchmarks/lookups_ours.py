"""Ours, as a user writes it, with output and ledger: ``python -m benchmarks.lookups_ours OUTPUT``.

The words of a `Task` follow.
"""

from __future__ import annotations

import asyncio
import sys

import tagferry
from benchmarks.lookups_task import Laps, Task, names
from benchmarks.loops import loop_factory
from tagferry.events import Event, FetchPlanned

# Named here, it is imported before the first lap ends.
TencentIM = tagferry.TencentIM
FASTEST = "999999/s"


async def main(output: str, task: Task, laps: Laps) -> int:
    def listen(event: Event) -> None:
        if isinstance(event, FetchPlanned):
            laps.end("spool")

    async with TencentIM(
        sdkappid=int(task.sdkappid),
        identifier=task.identifier,
        secret_key=task.credential,
        base_url=task.url,
        rate=FASTEST,
        concurrency=task.connections,
        on_event=listen,
    ) as im:
        report = await im.fetch_tags(names(task.accounts), output)
    return report.tagged


if __name__ == "__main__":
    laps = Laps()
    laps.end("start")
    task = Task.of(sys.argv[2:])
    with asyncio.Runner(loop_factory=loop_factory(task.loop)) as runner:
        tagged = runner.run(main(sys.argv[1], task, laps))
    laps.end("look-ups")
    laps.tell(tagged)
