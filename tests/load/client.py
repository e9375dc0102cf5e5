"""A process that exports many tags and says what it cost: BASE_URL TOKEN RATE EXPORTS CONCURRENCY OUT."""

import asyncio
import itertools
import json
import resource
import sys
import time

import tagferry
from tagferry.events import Event, Polled


async def watch(delays: list[float]) -> None:
    """Note how late the event loop is, a hundred times a second."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        delays.append(time.perf_counter() - before - 0.01)


async def main(base_url: str, token: str, rate: str, exports: int, concurrency: int, out: str) -> None:
    delays: list[float] = []
    polled: dict[str, list[float]] = {}
    seen_done: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Polled):
            if not seen_done:
                # Later on, jobs are held back on purpose while finished ones wait for a place.
                polled.setdefault(event.id, []).append(time.perf_counter())
            if event.state == "done":
                seen_done.append(event.id)

    watching = asyncio.create_task(watch(delays))
    done = failed = 0
    started: list[str] = []
    async with tagferry.GrowingIO(token=token, base_url=base_url, rate=rate, on_event=listen) as gio:
        wanted = [gio.tag_users("nxog09md", f"{number:08d}") for number in range(exports)]
        async with tagferry.download_all(wanted, out, concurrency=concurrency) as outcomes:
            async for outcome in outcomes:
                done += isinstance(outcome, tagferry.ExportDone)
                failed += isinstance(outcome, tagferry.ExportFailed)
                started.append(outcome.export.id)
    watching.cancel()
    gaps = [b - a for times in polled.values() for a, b in itertools.pairwise(times)]
    delays.sort()
    place = {tag_id: number for number, tag_id in enumerate(seen_done)}
    print(
        json.dumps(
            {
                "done": done,
                "failed": failed,
                "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "delay_p99": delays[int(len(delays) * 0.99)],
                "longest_gap": max(gaps, default=0.0),
                "out_of_order": max(abs(place[tag_id] - number) for number, tag_id in enumerate(started)),
            }
        )
    )


if __name__ == "__main__":
    base_url, token, rate, exports, concurrency, out = sys.argv[1:]
    asyncio.run(main(base_url, token, rate, int(exports), int(concurrency), out))
