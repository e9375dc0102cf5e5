"""The quota as a strict service counts it, in virtual time: whatever the network does, none too many."""

import asyncio
import itertools
import random

import pytest

from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, DEMO_SECRET_KEY
from tagferry.errors import AuthError, TagferryError
from tagferry.events import Retrying, Throttled
from tests.lookups.simulated import Network, steady
from tests.lookups.world import GET_TAG, make_accounts, truth_of
from tests.virtual import SECOND, VirtualClock, run_virtual


def jitter(chance):
    return chance.uniform(0, 0.1), chance.uniform(0, 0.1)


def reorder(chance):
    """Most are fast, and some are overtaken by dozens."""
    return (0.5 if chance.random() < 0.1 else 0.005), 0.005


def one_way(chance):
    return chance.uniform(0, 0.3), 0.0


def dying(chance):
    there = chance.uniform(0, 0.05)
    return there, None if chance.random() < 0.02 else 0.02


def route(chance):
    """A route that changes: all of a second is slow on its way there, and fast in the next."""
    slow = VirtualClock().now() // SECOND % 2
    return (0.3 if slow else 0.002), 0.002


def holding(every):
    """A network that holds everything back for 300 ms from time to time, and lets it go at once."""

    def trip(chance):
        since = (VirtualClock().now() / SECOND + every / 2) % every
        return max(chance.uniform(0.01, 0.02), 0.3 - since), 0.01

    return trip


def moments(network):
    """When requests arrived, in seconds after the first."""
    return [(moment - network.arrived[0]) / SECOND for moment in network.arrived]


async def pull(client, seconds):
    """Ask for as much as goes, for some seconds."""
    start = VirtualClock().now()
    async with client, client.stream_tags(f"user{n}" for n in itertools.count()) as outcomes:
        async for _ in outcomes:
            if VirtualClock().now() - start > seconds * SECOND:
                break


TRIPS = {
    "steady": steady(),
    "near": steady(0.0005, 0.0005),
    "far": steady(0.2, 0.2),
    "jitter": jitter,
    "reorder": reorder,
    "one way": one_way,
    "route": route,
    "hold": holding(20),
    "hold 1": holding(1),
    "hold 2": holding(2),
    "hold 3.3": holding(3.3),
}


@pytest.mark.parametrize("trip", TRIPS.values(), ids=TRIPS)
def test_never_one_too_many_and_nearly_all_that_is_possible(monkeypatch, trip):
    network = Network(trip)
    run_virtual(lambda: pull(network.client(monkeypatch, batch=2), 22))
    assert 95 <= network.facts["max_in_any_second"] <= 100
    assert network.facts["refused"] == 0
    assert network.rate >= 0.98 * network.allowed


def test_never_one_too_many_while_connections_die(monkeypatch):
    network = Network(dying)
    run_virtual(lambda: pull(network.client(monkeypatch, batch=2), 22))
    assert network.lost["answers"] > 20
    assert network.facts["calls"] > 1000
    assert network.facts["max_in_any_second"] <= 100
    assert network.facts["refused"] == 0


@pytest.mark.parametrize("trip", [jitter, dying], ids=["jitter", "dying"])
def test_never_one_too_many_in_storms_of_cancellations(monkeypatch, trip):
    network = Network(trip)
    chance = random.Random(5)

    async def main():
        client = network.client(monkeypatch, batch=4)
        async with client:

            async def one(number):
                await asyncio.sleep(chance.uniform(0, 15))
                await client.get_tags(make_accounts(6, number * 6))

            tasks = [asyncio.create_task(one(number)) for number in range(500)]
            for _ in range(15):
                await asyncio.sleep(1)
                for task in chance.sample(tasks, 40):
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
            assert 100 < cancelled < 450
            # Nobody who was not cancelled is stranded.
            assert all(result is None for result in results if not isinstance(result, asyncio.CancelledError))

    run_virtual(main, limit=120)
    assert network.facts["max_in_any_second"] <= 100
    assert network.facts["refused"] == 0


def test_the_quiet_rate_stays_below_the_alarm(monkeypatch):
    network = Network(jitter)
    run_virtual(lambda: pull(network.client(monkeypatch, batch=2, rate="79/s"), 10))
    assert 60 < network.facts["max_in_any_second"] <= 79


def test_so_many_accounts_take_as_long_as_the_quota_says(monkeypatch):
    network = Network(steady(0.01, 0.01), track=False)
    accounts = make_accounts(100_000)

    async def main():
        start = VirtualClock().now()
        client = network.client(monkeypatch)
        async with client, client.stream_tags(accounts) as outcomes:
            assert len([one async for one in outcomes]) == len(accounts)
        return (VirtualClock().now() - start) / SECOND

    # Without the round trip it were 10,000 in a second.
    assert run_virtual(main) <= 10 * 1.02 / 0.98
    assert network.facts["calls"] == 1000


def test_two_applications_of_one_process_run_each_at_their_full_rate(monkeypatch):
    other = 20000001
    apps = {DEMO_SDKAPPID: (DEMO_SECRET_KEY, [DEMO_IDENTIFIER]), other: ("other-key", ["root"])}
    network = Network(jitter, applications=apps)

    async def main():
        first = network.client(monkeypatch, batch=2)
        second = network.client(
            monkeypatch, batch=2, sdkappid=other, identifier="root", secret_key="other-key"
        )
        await asyncio.gather(pull(first, 12), pull(second, 12))

    run_virtual(main)
    for facts in network.service.statistics():
        assert facts["max_in_any_second"] <= 100
        assert facts["refused"] == 0
    assert network.rate >= 2 * 0.98 * network.allowed


# Too fast all the same, because others use the quota too ----------------------------------------------


THROTTLES = ["code=60007", "code=60011", "code=60018", "code=60019", "status=429", "status=503 retry-after=2"]


@pytest.mark.parametrize("fault", THROTTLES)
def test_a_service_that_throttles_slows_everyone_and_is_asked_at_full_rate_again_in_the_end(
    monkeypatch, fault
):
    network = Network()
    accounts = make_accounts(3000)

    async def main():
        network.faults.add(GET_TAG, "pass x500")
        network.faults.add(GET_TAG, f"{fault} x5")
        client = network.client(monkeypatch, batch=1)
        async with client, client.stream_tags(accounts, ordered=True) as outcomes:
            return {one.account: one.tags async for one in outcomes}

    assert run_virtual(main) == truth_of(accounts)
    assert network.faults.all_used
    assert (network.facts["calls"], network.facts["refused"]) == (3005, 0)
    assert len(network.of(Throttled)) == 5
    times = moments(network)
    speeds = [sum(second < moment <= second + 1 for moment in times) for second in range(int(times[-1]))]
    full = network.allowed
    assert max(speeds[1:5]) >= 0.95 * full
    assert min(speeds[5:9]) <= 0.65 * full
    assert min(speeds[21:]) >= 0.95 * full
    if "retry-after" in fault:
        assert min(speeds[5:9]) == 0


def test_a_stranger_in_the_quota_costs_refusals_and_no_account(monkeypatch):
    """Another program takes half of the calls: ours slows down until both get through."""
    network = Network(quota_per_second=50)
    accounts = make_accounts(2000)

    async def main():
        client = network.client(monkeypatch, batch=2)
        async with client, client.stream_tags(accounts) as outcomes:
            return {one.account: one.tags async for one in outcomes}

    assert run_virtual(main) == truth_of(accounts)
    assert network.facts["refused"] > 0
    assert network.facts["asked_again"] == 0
    assert network.facts["refused"] < 0.2 * network.facts["calls"]


# What a service may get over --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["code=91000", "code=60008", "code=70169", "status=502", "close", "html"])
def test_failures_that_pass_are_tried_again_within_a_tenth_of_the_calls(monkeypatch, fault):
    network = Network()
    accounts = make_accounts(1000)

    async def main():
        for _ in range(40):
            network.faults.add(GET_TAG, "pass x11")
            network.faults.add(GET_TAG, fault)
        client = network.client(monkeypatch, batch=2)
        async with client, client.stream_tags(accounts) as outcomes:
            return {one.account: one.tags async for one in outcomes}

    assert run_virtual(main) == truth_of(accounts)
    assert network.facts["calls"] == 540
    assert len(network.of(Retrying)) == 40
    assert network.facts["max_in_any_second"] <= 100


@pytest.mark.parametrize(
    ("fault", "tries"), [("code=91000", 9), ("code=60008", 4), ("status=502", 9), ("code=60004", 4)]
)
def test_a_failure_that_stays_is_raised_after_its_retries(monkeypatch, fault, tries):
    network = Network()
    network.faults.add(GET_TAG, f"{fault} x*")

    async def main():
        client = network.client(monkeypatch)
        async with client:
            await client.get_tags(["user"])

    with pytest.raises(TagferryError):
        run_virtual(main)
    assert len(network.arrived) == tries


# The minute in which the service hears nobody ---------------------------------------------------------


def test_after_a_lockout_nothing_is_sent_for_a_minute_then_one_call_and_then_all(monkeypatch):
    network = Network(steady(0.3, 0.3))
    accounts = make_accounts(400)
    network.faults.add(GET_TAG, "pass x10")
    network.faults.add(GET_TAG, "code=70050")

    async def main():
        client = network.client(monkeypatch, batch=2)
        async with client, client.stream_tags(accounts) as outcomes:
            return {one.account: one.tags async for one in outcomes}

    assert run_virtual(main) == truth_of(accounts)
    times = moments(network)
    refused = times[10] + 0.3
    before = [moment for moment in times if moment < refused + 0.3]
    probe, *after = times[len(before) :]
    # What was under way when the refusal came has arrived; after it nothing did.
    assert len(before) < 100
    assert refused + 60 <= probe <= refused + 61
    assert min(after) >= probe + 0.3
    assert len(times) == 201


def test_a_second_lockout_is_fatal_and_the_last_word(monkeypatch):
    network = Network(steady(0.1, 0.1))
    network.faults.add(GET_TAG, "code=70050 x*")

    async def main():
        client = network.client(monkeypatch)
        async with client:
            with pytest.raises(AuthError) as caught:
                await client.get_tags(make_accounts(20_000))
            assert caught.value.code == 70050
            sent = len(network.sent)
            await asyncio.sleep(1000)
            assert len(network.sent) == sent

    run_virtual(main)
    times = moments(network)
    assert times[-1] >= 60
    assert [moment for moment in times if moment > 0.3] == [times[-1]]
