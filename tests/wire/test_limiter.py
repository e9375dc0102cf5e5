import asyncio
import gc
import random
import threading
import time
import weakref

import anyio
import pytest

from tagferry.wire.clock import SystemClock
from tagferry.wire.limiter import Limiter, shared_limiter
from tagferry.wire.quota import GUARD, QUARANTINE, SECOND, Quota, Rate
from tests.virtual import VirtualClock, run_virtual


def make(rate="2/s"):
    quota = Quota(Rate.parse(rate))
    return Limiter(quota, VirtualClock()), quota


async def settle():
    """Let every task go as far as it gets without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


def free_tokens(quota, now):
    """How many tokens could be taken long after everything is quiet."""
    return quota.rate.calls - quota.out


def test_the_order_of_arrival_is_the_order_of_service():
    async def main():
        limiter, _ = make("10/s")
        served = []

        async def call(number):
            async with limiter.permit():
                served.append(number)
                await asyncio.sleep(random.Random(number).random())

        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(call(number))
                if number % 7 == 0:
                    await asyncio.sleep(0.01)
        assert served == list(range(50))

    run_virtual(main)


def test_two_urgent_requests_and_one_of_the_others_take_turns_and_keep_their_own_order():
    async def main():
        limiter, _ = make("5/s")
        served = []

        async def call(name, urgent):
            async with limiter.permit(urgent=urgent):
                served.append(name)

        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(call(f"o{number}", False))
            await settle()
            for number in range(5):
                tasks.create_task(call(f"u{number}", True))
        # The first two went before anything urgent came: one is served, one is next.
        rest = served[2:]
        assert [name for name in served if name[0] == "o"] == [f"o{n}" for n in range(6)]
        assert [name for name in served if name[0] == "u"] == [f"u{n}" for n in range(5)]
        kinds = "".join(name[0] for name in rest)
        assert kinds == "uuouuouoo"

    run_virtual(main)


@pytest.mark.parametrize("flood", [True, False])
def test_no_lane_starves_the_other_however_many_wait_in_it(flood):
    async def main():
        limiter, _ = make("10/s")
        served = []

        async def call(name, urgent):
            async with limiter.permit(urgent=urgent):
                served.append(name)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(300):
                tasks.create_task(call("many", flood))
            await settle()
            tasks.create_task(call("one", not flood))
        assert served.index("one") <= 3

    run_virtual(main)


def test_a_single_lane_uses_the_whole_rate():
    async def main():
        limiter, _ = make("10/s")
        clock = VirtualClock()
        start = clock.now()
        for _ in range(100):
            async with limiter.permit(urgent=True):
                pass
        assert (clock.now() - start) / SECOND <= 10.1

    run_virtual(main)


def test_a_request_that_is_alone_does_not_wait():
    async def main():
        limiter, _ = make()
        start = VirtualClock().now()
        async with limiter.permit():
            assert VirtualClock().now() == start

    run_virtual(main)


@pytest.mark.parametrize("victim", range(6))
@pytest.mark.parametrize("rounds", range(4))
def test_a_cancelled_waiter_strands_nobody_and_loses_no_token(victim, rounds):
    async def main():
        limiter, quota = make("2/s")
        served = []

        async def call(number):
            async with limiter.permit(urgent=number % 2 == 0):
                served.append(number)
                await asyncio.sleep(0.3)

        tasks = [asyncio.create_task(call(number)) for number in range(6)]
        for _ in range(rounds * 3):
            await asyncio.sleep(0)
        await asyncio.sleep(0.2 * rounds)
        tasks[victim].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {number for number in range(6) if number != victim} <= set(served)
        assert sum(isinstance(result, asyncio.CancelledError) for result in results) <= 1
        assert limiter.waiting == 0
        assert quota.out == 0
        # Both tokens still come: two calls go within the time that a quarantine can last.
        start = VirtualClock().now()
        for _ in range(2):
            async with limiter.permit():
                pass
        assert VirtualClock().now() - start <= 2 * SECOND + 2 * GUARD + QUARANTINE

    run_virtual(main)


@pytest.mark.parametrize("seed", range(20))
def test_storms_of_cancellations_at_any_moment_strand_nobody(seed):
    async def main():
        chance = random.Random(seed)
        limiter, quota = make("100/s")
        served = []

        async def call(number):
            async with limiter.permit(urgent=chance.random() < 0.5):
                await asyncio.sleep(chance.random() / 10)
                served.append(number)

        tasks = [asyncio.create_task(call(number)) for number in range(1000)]
        doomed = set(chance.sample(range(1000), 900))
        for number in sorted(doomed, key=lambda _: chance.random()):
            if chance.random() < 0.02:
                await asyncio.sleep(chance.random() / 50)
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert set(range(1000)) - doomed <= set(served)
        assert limiter.waiting == 0
        assert quota.out == 0
        start = VirtualClock().now()
        for _ in range(200):
            async with limiter.permit():
                pass
        assert VirtualClock().now() - start <= 2 * SECOND + 2 * GUARD + QUARANTINE

    run_virtual(main)


def test_everybody_cancelled_at_once_leaves_a_limiter_that_works():
    async def main():
        limiter, quota = make("1/s")

        async def call():
            async with limiter.permit():
                await asyncio.sleep(3600)

        tasks = [asyncio.create_task(call()) for _ in range(1000)]
        await settle()
        assert limiter.waiting == 999
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (limiter.waiting, quota.out) == (0, 0)
        async with limiter.permit():
            pass

    run_virtual(main)


def test_a_call_that_ends_with_an_error_keeps_its_token_longer():
    async def main():
        limiter, _ = make("1/s")
        with pytest.raises(OSError, match="broke"):
            async with limiter.permit():
                raise OSError("broke")
        start = VirtualClock().now()
        async with limiter.permit():
            assert VirtualClock().now() - start >= SECOND + GUARD + QUARANTINE

    run_virtual(main)


def test_a_call_that_ends_well_keeps_its_token_for_a_period():
    async def main():
        limiter, _ = make("1/s")
        async with limiter.permit():
            await asyncio.sleep(5)
        start = VirtualClock().now()
        async with limiter.permit():
            assert start + SECOND + GUARD <= VirtualClock().now() <= start + SECOND + 2 * GUARD

    run_virtual(main)


def test_an_answer_wakes_who_waits_for_a_token_that_would_come_later():
    async def main():
        limiter, _ = make("2/s")
        with pytest.raises(OSError, match="broke"):
            async with limiter.permit():
                raise OSError("broke")

        async def answered():
            async with limiter.permit():
                await asyncio.sleep(0.1)

        start = VirtualClock().now()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answered())
            await asyncio.sleep(0.55)
            # Now both tokens are taken: one comes back after the quarantine, the other is on the wire.
            async with limiter.permit():
                assert VirtualClock().now() - start <= 2 * SECOND

    run_virtual(main)


def test_a_throttled_service_stops_those_who_wait_already():
    async def main():
        limiter, quota = make("100/s")
        async with limiter.permit():
            pass
        waiting = asyncio.create_task(limiter.permit().__aenter__())
        await settle()
        limiter.slow_down(7.0)
        start = VirtualClock().now()
        await waiting
        assert VirtualClock().now() - start >= 7 * SECOND
        assert quota.pace == 0.5
        await asyncio.sleep(15)
        limiter.recover()
        assert quota.pace == 1.0

    run_virtual(main)


def test_a_clock_that_lags_behind_the_timers_lets_nothing_go_early():
    """uvloop wakes up to 1 ms before the time it was asked for."""

    class Lagging(VirtualClock):
        chance = random.Random(1)
        latest = 0

        def now(self):
            self.latest = max(self.latest, super().now() - self.chance.randrange(1_000_000))
            return self.latest

    async def main():
        quota, clock = Quota(Rate(100)), Lagging()
        limiter = Limiter(quota, clock)
        spans = []
        for _ in range(250):
            async with limiter.permit():
                spans.append(clock.now())
        gaps = [later - earlier for earlier, later in zip(spans, spans[100:], strict=False)]
        assert min(gaps) > SECOND

    run_virtual(main)


def test_repr_tells_the_rate_and_who_waits():
    async def main():
        limiter, _ = make("2/s")
        async with limiter.permit():
            waiter = asyncio.create_task(limiter.permit().__aenter__())
            await settle()
            assert repr(limiter) == "Limiter(2/s, 1 waiting, 1 on the wire)"
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)

    run_virtual(main)


# Several loops ----------------------------------------------------------------------------------------


class Key:
    """What a user gives as a token, say a function of the user's own."""


class Hands:
    """A clock that is set by hand."""

    def __init__(self):
        self.at = 0

    def now(self):
        return self.at

    def unix(self):
        return self.at / SECOND

    def sleep(self, seconds):
        raise AssertionError(seconds)


def spend(limiter):
    async def main():
        async with limiter.permit() as permit:
            permit.answered = True

    asyncio.run(main())


def test_one_key_has_one_quota_and_the_lower_rate_wins():
    key, clock = Key(), Hands()
    first = shared_limiter(key, Rate(100), clock)
    second = shared_limiter(key, Rate(79), clock)
    assert repr(first) == repr(second) == "Limiter(79/s, 0 waiting, 0 on the wire)"
    third = shared_limiter(key, Rate(100), clock)
    assert "79/s" in repr(third)
    assert "100/s" in repr(shared_limiter(Key(), Rate(100), clock))

    async def main():
        async with first.permit():
            return [repr(one) for one in (first, second, third)]

    assert asyncio.run(main()) == ["Limiter(79/s, 0 waiting, 1 on the wire)"] * 3


def test_a_quota_that_nobody_uses_is_forgotten_when_it_has_rested():
    key, clock = Key(), Hands()
    gone = weakref.ref(key)
    spend(shared_limiter(key, Rate(2), clock))
    del key
    gc.collect()
    shared_limiter(Key(), Rate(2), clock)
    assert gone() is not None, "the next client with the same token would be too fast"
    clock.at = 2 * SECOND
    shared_limiter(Key(), Rate(2), clock)
    gc.collect()
    assert gone() is None


def test_a_quota_in_use_is_kept_however_long_it_rests():
    key, clock = Key(), Hands()
    limiter = shared_limiter(key, Rate(2), clock)
    spend(limiter)
    clock.at = 3600 * SECOND
    shared_limiter(Key(), Rate(2), clock)
    assert "2/s" in repr(shared_limiter(key, Rate(100), clock)), "the quota of the first is another one"


def test_a_successive_run_keeps_the_quota_of_the_one_before():
    quota = Quota(Rate(2))

    async def main():
        limiter = Limiter(quota, VirtualClock())
        for _ in range(2):
            async with limiter.permit():
                pass
        return asyncio.get_running_loop().ns

    first = run_virtual(main)
    assert run_virtual(main, start=first) - first >= SECOND


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_limiter_works_in_a_later_run_even_if_its_waiters_were_cancelled(cancelled):
    limiter, quota = make("1/s")

    async def call():
        async with limiter.permit():
            await asyncio.sleep(0.5)

    async def first():
        tasks = [asyncio.create_task(call()) for _ in range(3)]
        await asyncio.sleep(0.9)
        if cancelled:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return asyncio.get_running_loop().ns

    async def second():
        await asyncio.gather(*(call() for _ in range(3)))

    run_virtual(second, start=run_virtual(first))
    assert (limiter.waiting, quota.out) == (0, 0)


def test_two_event_loops_in_two_threads_share_one_quota():
    quota, arrivals, lock = Quota(Rate(20)), [], threading.Lock()

    async def main():
        limiter = Limiter(quota, SystemClock())

        async def call():
            async with limiter.permit():
                with lock:
                    arrivals.append(time.monotonic_ns())
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(call())

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arrivals) == 40
    assert most_in_a_second(arrivals) <= 20
    assert time.monotonic() - start < 3


def test_a_token_that_another_loop_gives_back_wakes_a_waiter_that_nobody_told():
    quota, given = Quota(Rate(1)), threading.Event()
    permit = quota.take(time.monotonic_ns() - 2 * SECOND)

    async def main():
        limiter = Limiter(quota, SystemClock())
        asyncio.get_running_loop().call_later(0.05, given.set)
        async with asyncio.timeout(3), limiter.permit():
            return time.monotonic_ns()

    def other():
        given.wait()
        quota.give_back(permit, time.monotonic_ns() - SECOND, answered=True)

    thread = threading.Thread(target=other)
    thread.start()
    asyncio.run(main())
    thread.join()


def most_in_a_second(arrivals):
    arrivals = sorted(arrivals)
    return max(
        sum(first <= other <= first + SECOND for other in arrivals[i:]) for i, first in enumerate(arrivals)
    )


# A real server ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_real_server_never_counts_101_in_any_second():
    """Requests on kept connections; replies after 0 to 20 ms; the server counts by its own clock."""
    chance, arrivals = random.Random(1), []

    async def serve(reader, writer):
        try:
            while await reader.readline():
                arrivals.append(time.monotonic_ns())
                await asyncio.sleep(chance.random() / 50)
                writer.write(b"ok\n")
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    limiter = Limiter(Quota(Rate(100)), SystemClock())
    stop = time.monotonic() + 2.5

    async def work():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        while time.monotonic() < stop:
            async with limiter.permit():
                writer.write(b"go\n")
                assert await reader.readline() == b"ok\n"
        writer.close()
        await writer.wait_closed()

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(work)
    server.close()
    await server.wait_closed()
    assert most_in_a_second(arrivals) <= 100
    # How much of the rate is used is told on virtual time; here the bound must mean something.
    assert len(arrivals) > 100
