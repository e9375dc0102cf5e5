"""Outcomes as a stream: in order or not, with back-pressure, and nothing left behind however it ends."""

import asyncio
import gc
import itertools
import random
import tracemalloc
from collections import Counter
from contextlib import suppress

import anyio
import msgspec
import pytest

from tagferry.errors import ConfigError, RecordError, RefusedError, UnavailableError
from tagferry.lookups.outcome import AccountFailed, Missing, Tagged, Verdict
from tagferry.lookups.service import LookupService
from tagferry.lookups.stream import stream
from tagferry.services.tencent_answer import AccountFault, TagsAnswer, UserTags
from tagferry.wire.backoff import Backoff
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tests.lookups.world import make_accounts
from tests.virtual import VirtualClock, run_virtual

WORKERS = 8
AT_ONCE = WORKERS + 2
"""Batches that may be asked for beyond those that were taken: one for each worker, one that is handed over,
and one that is being taken."""


def make(*, seconds=1.0, steady=False, broken=None, workers=WORKERS):
    """A service, and its calls: ten accounts, up to so many seconds; `bad…` fails, `ghost…` is unknown."""
    chance, calls = random.Random(7), []

    async def ask(accounts, tally):
        calls.append(list(accounts))
        assert len(set(accounts)) == len(accounts) <= 10
        await asyncio.sleep(seconds * (1 if steady else chance.random()))
        if broken is not None and len(calls) > broken:
            raise RefusedError("no more")
        users = [UserTags(one, (one,)) for one in accounts if not one.startswith(("bad", "ghost"))]
        return TagsAnswer(users, [AccountFault(one, 1, "m") for one in accounts if one.startswith("bad")])

    backoff = Backoff(policy=RetryPolicy(), budget=RetryBudget(), clock=VirtualClock(), chance=chance.random)
    service = LookupService(
        name="tencent-im",
        kind="tencent-tags",
        ask=ask,
        batch=10,
        workers=workers,
        rate=100.0,
        is_spoilt=lambda _: False,
        is_too_large=lambda _: False,
        judge=lambda _: Verdict.FAILED,
        hold=lambda _: None,
        settings={},
        backoff=backoff,
        emit=lambda _: None,
    )
    return service, calls


async def later(accounts, seconds=0.0):
    for account in accounts:
        await asyncio.sleep(seconds)
        yield account


async def drain(outcomes):
    async for _ in outcomes:
        pass


def run(main):
    """Run to the end, after which there is no task left."""

    async def checked():
        result = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return run_virtual(checked)


def collect(accounts, *, ordered, **settings):
    service, calls = make(**settings)

    async def main():
        async with stream(service, accounts, ordered=ordered) as outcomes:
            return [one async for one in outcomes]

    return run(main), calls


# What comes out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", [list, iter, later])
@pytest.mark.parametrize("count", [0, 1, 10, 11, 1000])
def test_every_account_has_one_outcome(ordered, kind, count):
    accounts = make_accounts(count)
    outcomes, calls = collect(kind(accounts), ordered=ordered)
    names = [one.account for one in outcomes]
    assert Counter(names) == Counter(accounts)
    assert (names == accounts) or not ordered
    assert sum(map(len, calls)) == count


def test_without_an_order_what_is_there_first_comes_first():
    accounts = make_accounts(1000)
    outcomes, _ = collect(accounts, ordered=False)
    assert [one.account for one in outcomes] != accounts


@pytest.mark.parametrize("ordered", [True, False])
def test_every_kind_of_outcome_stands_where_its_account_stood(ordered):
    accounts = [f"{kind}{number}" for number in range(50) for kind in ("user", "bad", "ghost")]
    outcomes, _ = collect(accounts, ordered=ordered)
    kinds = {"u": Tagged, "b": AccountFailed, "g": Missing}
    assert all(type(one) is kinds[one.account[0]] for one in outcomes)
    assert Counter(one.account for one in outcomes) == Counter(accounts)


@pytest.mark.parametrize("ordered", [True, False])
def test_repeats_have_an_outcome_each_and_are_asked_for_once_in_a_batch(ordered):
    accounts = [f"user{number % 7}" for number in range(100)]
    outcomes, calls = collect(accounts, ordered=ordered)
    names = [one.account for one in outcomes]
    assert Counter(names) == Counter(accounts)
    assert (names == accounts) or not ordered
    assert sorted(map(len, calls)) == [7] * 10


def test_the_order_is_kept_while_one_call_takes_for_ever_and_then_all_the_rest_comes():
    service, calls = make()
    free = asyncio.Event()

    async def ask(accounts, tally):
        if accounts[0] == "user0000000":
            await free.wait()
        return await service.ask(accounts, tally)

    slow = msgspec.structs.replace(service, ask=ask)
    accounts = make_accounts(10_000)

    async def main():
        async with stream(slow, accounts, ordered=True) as outcomes:
            first = asyncio.create_task(anext(outcomes))
            await asyncio.sleep(1000)
            assert not first.done()
            # The others went on as far as the window lets them, and no further.
            assert len(calls) == 499
            free.set()
            names = [(await first).account, *[one.account async for one in outcomes]]
            assert names == accounts

    run(main)


def test_several_readers_share_the_outcomes_and_none_is_lost():
    service, _ = make()
    accounts = make_accounts(1000)
    names = []

    async def main():
        async with stream(service, accounts, ordered=False) as outcomes:

            async def read(seconds):
                async for one in outcomes:
                    names.append(one.account)
                    await asyncio.sleep(seconds)

            await asyncio.gather(*(read(0.01 * number) for number in range(5)))

    run(main)
    assert sorted(names) == accounts


@pytest.mark.parametrize("seed", range(20))
def test_a_reader_that_loses_its_patience_loses_no_outcome(seed):
    """A time-out may strike at the very moment at which outcomes come."""
    service, _ = make(seconds=0.0)
    accounts = make_accounts(200)
    chance = random.Random(seed)
    names = []

    async def main():
        async with stream(service, accounts, ordered=True) as outcomes:
            while True:
                with suppress(asyncio.CancelledError):
                    reading = asyncio.ensure_future(anext(outcomes, None))
                    for _ in range(chance.randrange(12)):
                        await asyncio.sleep(0)
                    reading.cancel()
                    one = await reading
                    if one is None:
                        return
                    names.append(one.account)

    run(main)
    assert names == accounts


# Back-pressure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
def test_a_slow_reader_slows_the_calls_down(ordered):
    service, calls = make(seconds=0.01, steady=True)
    pulled = []

    def source():
        for number in itertools.count():
            pulled.append(number)
            yield f"user{number}"

    async def main():
        async with stream(service, source(), ordered=ordered) as outcomes:
            for taken in range(200):
                await anext(outcomes)
                await asyncio.sleep(1)
                assert len(calls) <= taken // 10 + AT_ONCE
                assert len(pulled) <= 10 * (taken // 10 + AT_ONCE)

    run(main)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_reader_that_never_comes_costs_a_few_calls(ordered):
    service, calls = make(steady=True)

    async def main():
        async with stream(service, itertools.repeat("user"), ordered=ordered):
            await asyncio.sleep(1000)

    run(main)
    assert len(calls) <= AT_ONCE


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_nothing_is_held_whole_so_that_an_endless_source_works(ordered, waits):
    service, calls = make(seconds=0.01)
    endless = (f"user{number}" for number in itertools.count())

    async def main():
        async with stream(service, later(endless) if waits else endless, ordered=ordered) as outcomes:

            async def read(count):
                for _ in range(count):
                    await anext(outcomes)
                    calls.clear()
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            before = await read(1000)
            assert await read(10_000) - before < 100_000

    tracemalloc.start()
    try:
        run(main)
    finally:
        tracemalloc.stop()


# How it ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failure_reaches_the_iteration_and_stops_the_calls(ordered):
    service, calls = make(broken=20)

    async def main():
        async with stream(service, itertools.repeat("user"), ordered=ordered) as outcomes:
            with pytest.raises(RefusedError, match="no more") as caught:
                await drain(outcomes)
            assert (caught.value.__context__, caught.value.__cause__) == (None, None)
            asked = len(calls)
            await asyncio.sleep(100)
            assert len(calls) == asked
            # It says so to whoever asks again.
            with pytest.raises(RefusedError):
                await anext(outcomes)

    run(main)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_what_a_source_raises_reaches_the_iteration(ordered, waits):
    def broken():
        yield from make_accounts(55)
        raise OSError("disk gone")

    service, _ = make()

    async def main():
        async with stream(service, later(broken()) if waits else broken(), ordered=ordered) as outcomes:
            with pytest.raises(OSError, match="disk gone"):
                await drain(outcomes)

    run(main)


def test_a_source_whose_own_task_was_cancelled_does_not_look_like_its_end():
    async def source():
        for account in make_accounts(55):
            yield account
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting

    service, _ = make()

    async def main():
        async with stream(service, source(), ordered=True) as outcomes:
            with pytest.raises(RuntimeError, match="was cancelled"):
                await drain(outcomes)

    run(main)


@pytest.mark.parametrize(
    ("account", "error"), [(5, ConfigError), (None, ConfigError), ("", RecordError), ("a\tb", RecordError)]
)
def test_an_account_that_cannot_be_asked_for_is_named_by_the_iteration(account, error):
    service, _ = make()

    async def main():
        async with stream(service, [*make_accounts(25), account], ordered=True) as outcomes:
            with pytest.raises(error, match="number 26"):
                await drain(outcomes)

    run(main)


@pytest.mark.parametrize("accounts", ["user", b"user", 5, None])
def test_what_is_no_collection_of_accounts_is_a_type_error(accounts):
    service, calls = make()

    async def main():
        with pytest.raises(TypeError, match="accounts is"):
            async with stream(service, accounts, ordered=False):
                pass

    run(main)
    assert calls == []


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("after", [0, 1, 35])
@pytest.mark.parametrize("waits", [True, False])
def test_a_reader_that_leaves_early_stops_all(ordered, after, waits):
    service, calls = make()
    endless = itertools.cycle(make_accounts(1000))

    async def main():
        async with stream(service, later(endless) if waits else endless, ordered=ordered) as outcomes:
            for _ in range(after):
                await anext(outcomes)
        asked = len(calls)
        await asyncio.sleep(100)
        assert len(calls) == asked
        # What was not taken is not simply the end.
        with pytest.raises(ConfigError, match="closed"):
            await anext(outcomes)

    run(main)


def test_another_reader_is_told_that_the_stream_is_closed_and_is_not_cancelled():
    service, _ = make()

    async def main():
        async with stream(service, later(itertools.cycle(make_accounts(1000))), ordered=True) as outcomes:
            waiting = asyncio.create_task(anext(outcomes))
            await asyncio.sleep(0)
        with pytest.raises(ConfigError, match="closed"):
            await waiting

    run(main)


def test_after_the_end_there_is_no_more_inside_of_the_block_or_outside():
    service, _ = make()

    async def main():
        async with stream(service, ["user"], ordered=True) as outcomes:
            assert len([one async for one in outcomes]) == 1
            assert [one async for one in outcomes] == []
        assert [one async for one in outcomes] == []

    run(main)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("error", [ValueError("mine"), UnavailableError("mine"), asyncio.CancelledError()])
def test_what_a_reader_raises_comes_out_as_it_is(ordered, error):
    service, _ = make()

    async def read():
        async with stream(service, itertools.repeat("user"), ordered=ordered) as outcomes:
            async for _ in outcomes:
                raise error

    with pytest.raises(type(error)) as caught:
        run(read)
    assert caught.value is error


# Cancellation -----------------------------------------------------------------------------------------


class Steps:
    """A coroutine that counts the awaits of another, and throws cancellations into some of them."""

    def __init__(self, coroutine, points):
        self.coroutine = coroutine
        self.points = points
        self.taken = 0

    def __await__(self):
        value, error = None, None
        while True:
            self.taken += 1
            if self.taken in self.points:
                error = asyncio.CancelledError()
            try:
                waited = self.coroutine.throw(error) if error else self.coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            value, error = None, None
            try:
                value = yield waited
            except BaseException as thrown:
                error = thrown


async def read_slowly(service, accounts, *, ordered):
    async with stream(service, accounts, ordered=ordered) as outcomes:
        async for _ in outcomes:
            await asyncio.sleep(0)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("after", [(), (1,), (1, 2)])
def test_a_cancellation_at_any_await_leaves_no_task(ordered, after):
    """Nor do further ones, which meet the cleaning up."""

    async def main(*points):
        service, _ = make(workers=3)
        steps = Steps(read_slowly(service, later(make_accounts(70)), ordered=ordered), points)
        with suppress(asyncio.CancelledError):
            await steps
        return steps.taken

    total = run(main)
    assert total > 50
    for at in range(1, total + 1):
        run(lambda points=(at, *(at + more for more in after)): main(*points))


@pytest.mark.parametrize("ordered", [True, False])
def test_cancelled_tasks_end_at_once_whoever_cancels_and_however_often(ordered):
    async def main():
        service, _ = make()
        for number in range(40):
            task = asyncio.create_task(read_slowly(service, later(make_accounts(500), 0.01), ordered=ordered))
            await asyncio.sleep(number * 0.05)
            for _ in range(1 + number % 3):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            assert task.cancelled()
            with anyio.move_on_after(number * 0.05) as scope:
                await read_slowly(service, itertools.repeat("user"), ordered=ordered)
            assert scope.cancelled_caught
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)
