"""Many exports under 2 polls a second, in virtual time, by every way to wait for them.

``python -m benchmarks.poller_task EXPORTS MEDIAN RUNS``; it prints what each way took in each run. Of ours it
is the poller, the schedule and the limiter themselves; the other ways wait at the same limiter.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import math
import random
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tagferry.emulator.quota import Window
from tagferry.exports.export import Export
from tagferry.exports.job import Job, JobReport, JobState
from tagferry.exports.poller import Poller
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.service import ExportService
from tagferry.wire.backoff import Backoff
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Request
from tagferry.wire.quota import Quota, Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tagferry.wire.transport import Transport
from tests.virtual import VirtualClock, run_virtual

RATE = 2
SIGMA = 1.0
"""Of the logarithm of the durations: a sixth of them takes 2.7 times the median and more."""
CAP = 30
"""The longest delay of every way that has one, in seconds; that of ours."""
_WAY = (0.025, 0.075)
"""Seconds that a request or its answer is on its way."""

Follow = Callable[[int], Awaitable[object]]
"""Waits until an export is known to be done."""


class Jobs:
    """A service whose jobs begin with the first question, and the quota before it."""

    def __init__(self, durations: Sequence[float], seed: int) -> None:
        self.durations = durations
        self.began: dict[int, float] = {}
        """When the service heard of each job, in seconds of the event loop."""
        self.known: dict[int, float] = {}
        """When each one was known to be done."""
        self.window = Window(RATE)
        self.clock = VirtualClock()
        self.chance = random.Random(seed)
        self._limiter = Limiter(Quota(Rate(RATE)), self.clock)

    async def ask(self, number: int, *, urgent: bool = False) -> bool:
        """Ask once, when the quota allows; tell whether the job is done."""
        loop = asyncio.get_running_loop()
        async with self._limiter.permit(urgent=urgent):
            await asyncio.sleep(self.chance.uniform(*_WAY))
            self.window.admit(self.clock.now())
            began = self.began.setdefault(number, loop.time())
            done = loop.time() >= began + self.durations[number]
            await asyncio.sleep(self.chance.uniform(*_WAY))
        if done:
            self.known[number] = loop.time()
        return done


def oracle(*, hurry: bool) -> Callable[[Jobs], Follow]:
    """Knows when each job ends and asks then, before any waiting first question or after all of them."""

    def strategy(jobs: Jobs) -> Follow:
        async def follow(number: int) -> None:
            await jobs.ask(number)
            end = jobs.began[number] + jobs.durations[number]
            while number not in jobs.known:
                await asyncio.sleep(max(0.0, end - asyncio.get_running_loop().time()))
                await jobs.ask(number, urgent=hurry)

        return follow

    return strategy


def ours(jobs: Jobs) -> Follow:
    async def ask(job: Job, _what: str, urgent: bool) -> JobReport:  # noqa: FBT001
        if await jobs.ask(int(job.request.operation), urgent=urgent):
            return JobReport(state=JobState.DONE, links=("https://download.invalid/",))
        return JobReport(state=JobState.RUNNING)

    backend = ExportService(
        name="benchmark",
        dialect="saas",
        ask_job=ask,
        transport=Transport(
            "benchmark", timeout=30, session=None, ssl=None, proxy=None, api_host="api.invalid"
        ),
        private=False,
        schedule=PollSchedule(),
        backoff=Backoff(
            policy=RetryPolicy(), budget=RetryBudget(), clock=jobs.clock, chance=jobs.chance.random
        ),
        stall_timeout=30,
        emit=lambda _: None,
        writer="benchmark",
    )
    poller = Poller(backend)

    async def follow(number: int) -> None:
        request = Request(operation=f"{number}", method="GET", url=f"https://api.invalid/{number}")
        export = Export("benchmark", "tag", f"{number}", "", "", "", request, backend, poller)
        await poller.wait(export, Job(None, request))

    return follow


def every(seconds: int) -> Callable[[Jobs], Follow]:
    def strategy(jobs: Jobs) -> Follow:
        async def follow(number: int) -> None:
            while not await jobs.ask(number):
                await asyncio.sleep(seconds)

        return follow

    return strategy


def tenacity(jobs: Jobs) -> Follow:
    """The delay doubles each time."""
    library = importlib.import_module("tenacity")
    retrying = library.retry(
        retry=library.retry_if_result(lambda done: not done),
        wait=library.wait_exponential(max=CAP),
        sleep=asyncio.sleep,
    )
    follow: Follow = retrying(jobs.ask)
    return follow


def backoff(jobs: Jobs) -> Follow:
    """The delay is anything up to a bound that doubles each time."""
    library = importlib.import_module("backoff")
    follow: Follow = library.on_predicate(library.expo, max_value=CAP)(jobs.ask)
    return follow


WAYS: Mapping[str, Callable[[Jobs], Follow]] = {
    "oracle, ends first": oracle(hurry=True),
    "oracle, starts first": oracle(hurry=False),
    "tagferry": ours,
    "every 5 s": every(5),
    "every 30 s": every(30),
    "tenacity, exponential": tenacity,
    "backoff, full jitter": backoff,
}
LIBRARIES = {"tenacity, exponential": "tenacity", "backoff, full jitter": "backoff"}
"""What a way needs; without it, it is left out."""


def run(way: Callable[[Jobs], Follow], durations: Sequence[float], seed: int) -> dict[str, float]:
    """Wait for all exports in one way, and return what that took."""
    # For what draws from the one source of chance of the process.
    random.seed(seed)
    jobs = Jobs(durations, seed)
    follow = way(jobs)

    async def main() -> float:
        since = asyncio.get_running_loop().time()
        await asyncio.gather(*(follow(number) for number in range(len(durations))))
        return since

    since = run_virtual(main)
    late = [jobs.known[number] - jobs.began[number] - took for number, took in enumerate(durations)]
    return {
        "all": max(jobs.known.values()) - since,
        "each": statistics.mean(jobs.known.values()) - since,
        "late": statistics.mean(late),
        "polls": jobs.window.arrivals,
        "most": jobs.window.max_in_any_second,
    }


def main(exports: int, median: float, runs: int) -> None:
    found: dict[str, list[dict[str, float]]] = {}
    for name, way in WAYS.items():
        if name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]) is None:
            continue
        found[name] = []
        for seed in range(runs):
            chance = random.Random(seed)
            durations = [chance.lognormvariate(math.log(median), SIGMA) for _ in range(exports)]
            found[name].append(run(way, durations, seed))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
