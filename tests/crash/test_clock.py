"""Clocks that step, timers that are late, and processes that stand still: no burst, no loss."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.emulator import serve_in_thread
from tagferry.emulator.quota import Window
from tagferry.errors import DeadlineError, ThrottledError
from tagferry.exports.delivery import within
from tagferry.exports.job import JobReport, JobState
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Head
from tagferry.wire.quota import SECOND, Quota, Rate
from tagferry.wire.retry import MAX_RETRY_AFTER
from tagferry.wire.status import refusal
from tests.exports.test_poller import DOING, DONE, Service
from tests.exports.world import DOWNLOAD, FAST, POLL, PROJECT
from tests.virtual import UNIX_START, VirtualClock, run_virtual

DAY = 86_400.0
TEN_YEARS = 3_652 * DAY
STEPS = [DAY, -TEN_YEARS]
DATE = "Mon, 21 Sep 2026 14:13:30 GMT"  # ten seconds after UNIX_START


class LateClock(VirtualClock):
    """Its timers are late by 1 to 50 ms."""

    def __init__(self, dice):
        super().__init__()
        self.dice = dice

    async def sleep(self, seconds):
        await super().sleep(seconds + self.dice.uniform(0.001, 0.05))


async def step_later(clock, seconds, step):
    await asyncio.sleep(seconds)
    clock.unix_offset = step


@pytest.mark.parametrize("step", STEPS)
def test_a_wall_clock_that_steps_moves_no_request_under_a_quota(step):
    def sends(by):
        clock = VirtualClock()
        limiter, moments = Limiter(Quota(Rate.parse("2/s")), clock), []

        async def main():
            stepping = asyncio.create_task(step_later(clock, 5, by))
            for _ in range(30):
                async with limiter.permit():
                    moments.append(clock.now())
                    await asyncio.sleep(0.03)
            await stepping

        run_virtual(main)
        return moments

    assert sends(step) == sends(0.0)


@pytest.mark.parametrize("step", STEPS)
def test_a_wall_clock_that_steps_moves_no_poll(step):
    def asks(by):
        service = Service(*[DOING] * 12, DONE)

        async def main():
            stepping = asyncio.create_task(step_later(service.clock, 5, by))
            links = await service.wait(service.export())
            await stepping
            return links

        assert run_virtual(main) == DONE.links
        return service.asked

    assert asks(step) == asks(0.0)


@pytest.mark.parametrize("step", [0.0, *STEPS])
def test_a_date_to_retry_after_is_never_negative_and_never_far_whatever_the_wall_clock_says(step):
    head = Head(503, {"retry-after": DATE})
    error = refusal(head, "busy", service="s", now=UNIX_START + step)
    assert isinstance(error, ThrottledError)
    assert error.retry_after == {0.0: 10.0, DAY: None, -TEN_YEARS: MAX_RETRY_AFTER}[step]


@pytest.mark.parametrize("step", STEPS)
def test_a_deadline_is_kept_although_the_wall_clock_steps(step):
    service = Service(JobReport(state=JobState.RUNNING))

    async def main():
        stepping = asyncio.create_task(step_later(service.clock, 5, step))
        start = service.clock.now()
        with pytest.raises(DeadlineError):
            await within(60.0, service.export(), service.wait)
        assert (service.clock.now() - start) / SECOND == pytest.approx(60.0, abs=0.001)
        await stepping

    run_virtual(main)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", ["2/s", "20/s"])
def test_timers_that_are_late_in_random_order_never_break_the_quota(rate, seed, monkeypatch):
    dice = random.Random(seed)
    quota = Quota(Rate.parse(rate))
    window, clock = Window(quota.rate.calls), LateClock(dice)
    limiter = Limiter(quota, clock)
    arrivals = []

    async def main():
        loop = asyncio.get_running_loop()
        call_at = loop.call_at
        # Every timer of the loop: the limiter waits by one of these.
        monkeypatch.setattr(
            loop,
            "call_at",
            lambda when, *args, **named: call_at(when + dice.uniform(0.001, 0.05), *args, **named),
        )

        async def one():
            async with limiter.permit(urgent=dice.random() < 0.3):
                await clock.sleep(dice.uniform(0, 0.3))
                arrivals.append(clock.now())
                await clock.sleep(dice.uniform(0, 0.3))

        await asyncio.gather(*(one() for _ in range(100)))

    run_virtual(main)
    assert len(arrivals) == 100
    assert all(window.admit(moment) for moment in arrivals)
    assert window.max_in_any_second <= quota.rate.calls


IDS = tuple(f"stop{number:04d}" for number in range(12))
RATE = 5
CHILD = """
import asyncio, sys
import tagferry
from tests.exports.world import PROJECT, TOKEN

async def main(base_url, out, rate, *ids):
    async with tagferry.GrowingIO(token=TOKEN, base_url=base_url, rate=rate) as gio:
        exports = [gio.tag_users(PROJECT, tag_id) for tag_id in ids]
        async with tagferry.download_all(exports, out) as outcomes:
            return sum([isinstance(one, tagferry.ExportFailed) async for one in outcomes])

sys.exit(asyncio.run(main(*sys.argv[1:])))
"""


def stand_still(out: Path, seconds: float) -> None:
    """Stop a process for some seconds in the middle of its downloads and polls."""
    settings = replace(FAST, time_scale=1.0, job_seconds=1.0, quota_per_second=RATE, rows=20_000)
    with serve_in_thread(settings) as emulator:
        # Each download takes a second or more.
        emulator.faults.add(DOWNLOAD, "drip@1000 bytes=16384 every=0.02 x*")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, emulator.base_url, str(out), f"{RATE}/s", *IDS]
        )
        try:
            until = time.monotonic() + 20
            while len(emulator.seen.of(DOWNLOAD)) < 3:
                assert time.monotonic() < until
                assert child.poll() is None
                time.sleep(0.01)
            # Some are downloaded, others are still asked about.
            assert len({arrival.key for arrival in emulator.seen.of(DOWNLOAD)}) < len(IDS)
            os.kill(child.pid, signal.SIGSTOP)
            try:
                time.sleep(0.2)
                before = emulator.seen.counts[POLL]
                time.sleep(seconds - 0.2)
                assert emulator.seen.counts[POLL] == before
            finally:
                os.kill(child.pid, signal.SIGCONT)
            assert child.wait(60) == 0
        finally:
            child.kill()
            child.wait()
        assert emulator.seen.counts[POLL] > before
        assert emulator.refused == 0
        assert emulator.max_in_any_second <= RATE
        assert emulator.seen.violations == []
        names = {f"growingio-tag-{PROJECT}-{tag_id}.csv": tag_id for tag_id in IDS}
        assert {path.name for path in out.iterdir()} == set(names)
        for name, tag_id in names.items():
            assert (out / name).read_bytes() == emulator.source("growingio-tag", PROJECT, tag_id).bytes()


def test_a_process_that_stood_still_for_three_seconds_goes_on_without_a_burst(tmp_path: Path) -> None:
    stand_still(tmp_path / "out", 3.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_process_that_stood_still_for_half_a_minute_goes_on_without_a_burst(tmp_path: Path) -> None:
    stand_still(tmp_path / "out", 30.0)
