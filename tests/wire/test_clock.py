import time

import pytest

from tagferry.wire.clock import Clock, SystemClock

pytestmark = pytest.mark.anyio


async def test_the_system_clock_is_monotonic_time_in_ns_and_unix_time_in_seconds():
    clock: Clock = SystemClock()
    assert time.monotonic_ns() <= clock.now() <= time.monotonic_ns()
    assert time.time() <= clock.unix() <= time.time()


async def test_the_system_clock_sleeps_as_long_as_it_is_told():
    clock = SystemClock()
    start = clock.now()
    await clock.sleep(0.02)
    assert 0.019 <= (clock.now() - start) / 1e9 < 1


async def test_a_sleep_of_nothing_lets_others_go():
    await SystemClock().sleep(0)
