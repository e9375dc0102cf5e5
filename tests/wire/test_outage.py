"""A service that is dead for ten minutes, in virtual time: how hard it is asked, and how soon all is well."""

import asyncio
import contextlib
import contextvars
import random
from bisect import bisect_left
from collections import Counter

import pytest

from tagferry.errors import TagferryError, UnavailableError
from tagferry.wire.backoff import Backoff
from tagferry.wire.call import Caller
from tagferry.wire.credential import Credential
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Head, Reply, Request
from tagferry.wire.quota import GUARD, SECOND, Quota, Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tagferry.wire.status import refusal
from tests.virtual import VirtualClock, run_virtual

RTT = 0.02
DEAD = 600
MINUTE = 60 * SECOND
FLOOR = 10
"""Retries that the budget allows in any minute, however few calls there are."""
fresh = contextvars.ContextVar("fresh", default=True)
"""Whether a caller has not been heard in its present call."""
CASES = [(30, "2/s"), (200, "100/s")]


class Mortal:
    """A transport whose service can be dead; keeps the moments of all requests, and of those it answered."""

    def __init__(self, death):
        self.death = death
        self.dead = False
        self.sent = []
        self.first = []
        self.served = []

    async def send(self, request):
        self.sent.append(VirtualClock().now())
        if fresh.get():
            fresh.set(False)
            self.first.append(self.sent[-1])
        dead = self.dead
        await asyncio.sleep(RTT)
        if dead and self.death == "connection":
            raise UnavailableError("connection refused")
        if dead:
            return Reply(Head(503, {}), b"")
        self.served.append(VirtualClock().now())
        return Reply(Head(200, {}), b"")


class Crowd:
    """Callers that ask for ever, whatever they hear."""

    def __init__(self, rate, death):
        self.transport = Mortal(death)
        self.clock = VirtualClock()
        self.rate = Rate.parse(rate)
        self.begun = []
        self.caller = Caller(
            transport=self.transport,
            limiter=Limiter(Quota(self.rate), self.clock),
            credential=Credential("token", name="the token", hint="hint"),
            sign=lambda request, token: request.with_headers({"Authorization": token}),
            backoff=Backoff(
                policy=RetryPolicy(),
                budget=RetryBudget(floor=FLOOR),
                clock=self.clock,
                chance=random.Random(20261122).random,
            ),
            emit=lambda event: None,
        )

    @property
    def allowed(self):
        """Calls in a second when a token is away for the period, its guard and the round trip."""
        return self.rate.calls / ((self.rate.period + GUARD) / SECOND + RTT)

    def read(self, reply):
        if reply.head.status != 200:
            raise refusal(reply.head, "it said no", service="s", now=self.clock.unix())
        return reply.body

    async def loop(self):
        request = Request(operation="poll", method="GET", url="http://api/x")
        while True:
            self.begun.append(self.clock.now())
            fresh.set(True)
            with contextlib.suppress(TagferryError):
                await self.caller.call(request, self.read)

    async def live(self, callers, *phases):
        """Let so many callers ask through phases of (seconds, whether the service is dead)."""
        tasks = [asyncio.create_task(self.loop()) for _ in range(callers)]
        for seconds, dead in phases:
            self.transport.dead = dead
            await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def count(moments, start, length):
    """How many of sorted moments lie in a time that begins at `start`."""
    return bisect_left(moments, start + length) - bisect_left(moments, start)


@pytest.mark.parametrize("death", ["connection", "503"])
@pytest.mark.parametrize(("callers", "rate"), CASES)
def test_a_dead_service_hears_a_tenth_more_than_the_first_tries_in_any_minute_up_to_a_retry(
    callers, rate, death
):
    crowd = Crowd(rate, death)
    run_virtual(lambda: crowd.live(callers, (DEAD, True)))
    sent, first = crowd.transport.sent, crowd.transport.first
    assert not crowd.transport.served
    assert len(sent) > 60
    retries = sorted((Counter(sent) - Counter(first)).elements())
    assert retries
    for end in retries:
        begin = end - MINUTE + 1
        fresh = count(first, begin, MINUTE)
        assert count(retries, begin, MINUTE) <= max(FLOOR, 0.1 * fresh), (end - crowd.begun[0]) / SECOND


@pytest.mark.parametrize("death", ["connection", "503"])
@pytest.mark.parametrize(
    ("callers", "rate", "dead"), [(300, "2/s", 600), (200, "100/s", 600), (200, "100/s", 612)]
)
def test_thirty_seconds_after_its_return_a_service_is_asked_at_the_full_rate(callers, rate, dead, death):
    crowd = Crowd(rate, death)
    run_virtual(lambda: crowd.live(callers, (dead, True), (60, False)))
    served, back = crowd.transport.served, crowd.begun[0] + dead * SECOND
    for after in range(30, 51):
        assert count(served, back + after * SECOND, 10 * SECOND) >= 0.95 * 10 * crowd.allowed
