import asyncio
import itertools
import random

import msgspec
import pytest

from tagferry.errors import (
    AuthError,
    ConfigError,
    DiskError,
    ProtocolError,
    RefusedError,
    SubmitUnknownError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.events import Retrying, Throttled
from tagferry.wire.backoff import Backoff
from tagferry.wire.call import Caller
from tagferry.wire.credential import Credential
from tagferry.wire.failure import NOT_SENT
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Head, Reply, Request
from tagferry.wire.quota import SECOND, Quota, Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tagferry.wire.status import refusal
from tests.standing import assert_no_secret
from tests.virtual import UNIX_START, VirtualClock, run_virtual

REQUEST = Request(operation="growingio-tag", method="GET", url="http://api/x?q=1", headers={"X-Own": "1"})


class Script:
    """A transport that answers with what it is told, the last one for ever; a service that takes `rtt`."""

    def __init__(self, *answers, rtt=0.05):
        self.answers = list(answers)
        self.rtt = rtt
        self.sent = []  # (moment, headers)

    async def send(self, request):
        assert request.url == REQUEST.url
        headers = dict(request.headers)
        self.sent.append((VirtualClock().now(), headers))
        answer = self.answers[min(len(self.sent), len(self.answers)) - 1]
        await asyncio.sleep(self.rtt)
        if callable(answer):
            answer = answer(headers)
        if isinstance(answer, Exception):
            raise answer
        status, *more = answer if isinstance(answer, tuple) else (answer,)
        return Reply(Head(status, more[0] if more else {}), b"body")


class Provider:
    def __init__(self):
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0.1)
        return f"token{self.asked}"


class Bench:
    """A caller and everything around it."""

    def __init__(self, *answers, token="token", chance=lambda: 1.0, rate="100/s", rtt=0.05, **policy):
        self.transport = Script(*answers, rtt=rtt)
        self.clock = VirtualClock()
        self.quota = Quota(Rate.parse(rate))
        self.events = []
        self.budget = RetryBudget()
        self.caller = Caller(
            transport=self.transport,
            limiter=Limiter(self.quota, self.clock),
            credential=Credential(token, name="the token", hint="hint"),
            sign=lambda request, token: request.with_headers({"Authorization": token}),
            backoff=Backoff(
                policy=RetryPolicy(**policy), budget=self.budget, clock=self.clock, chance=chance
            ),
            emit=self.events.append,
        )

    def read(self, reply):
        if reply.head.status != 200:
            raise refusal(reply.head, "it said no", service="s", now=self.clock.unix())
        return reply.body

    async def call(self, **settings):
        return await self.caller.call(REQUEST, self.read, **settings)


def run(bench, main=None):
    return run_virtual(main or bench.call)


def test_a_call_that_works_is_sent_once_with_its_headers_and_its_credential():
    bench = Bench(200)
    assert run(bench) == b"body"
    assert [headers for _, headers in bench.transport.sent] == [{"X-Own": "1", "Authorization": "token"}]
    assert bench.events == []
    assert bench.quota.out == 0


@pytest.mark.parametrize("failure", [UnavailableError("gone"), 500, 502, 503, 429, 408])
def test_what_may_pass_is_tried_again(failure):
    bench = Bench(failure, failure, 200)
    assert run(bench) == b"body"
    assert len(bench.transport.sent) == 3


@pytest.mark.parametrize("failure", [RefusedError("no"), 400, 403, 404, 301])
def test_what_will_stay_is_not_tried_again(failure):
    bench = Bench(failure, 200)
    with pytest.raises(TagferryError):
        run(bench)
    assert len(bench.transport.sent) == 1


def test_the_last_error_is_raised_when_no_retry_is_left_and_it_is_the_only_one_in_sight():
    first, last = UnavailableError("first"), UnavailableError("last")
    bench = Bench(first, first, first, last, retries=3)
    with pytest.raises(UnavailableError, match="last") as caught:
        run(bench)
    assert len(bench.transport.sent) == 4
    assert caught.value.__context__ is None
    assert [(event.failures, event.error) for event in bench.events] == [(1, first), (2, first), (3, first)]


def test_the_waits_are_full_jitter_under_a_bound_that_doubles():
    bench = Bench(500, chance=lambda: 1.0, retries=8)
    with pytest.raises(UnavailableError):
        run(bench)
    assert bench.clock.slept == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert [event.delay for event in bench.events] == bench.clock.slept
    chance = random.Random(1)
    jittered = Bench(500, chance=chance.random, retries=8)
    with pytest.raises(UnavailableError):
        run(jittered)
    assert all(0 <= wait < bound for wait, bound in zip(jittered.clock.slept, bench.clock.slept, strict=True))
    assert jittered.clock.slept != bench.clock.slept


DATE = "Mon, 21 Sep 2026 14:13:30 GMT"  # ten seconds after UNIX_START


@pytest.mark.parametrize("status", [429, 503, 500])
@pytest.mark.parametrize(
    ("after", "waits"),
    [("7", 7.0), (DATE, 10.0), ("junk", 0.0), ("-1", 0.0), ("0", 0.0), ("999999999999", 300.0), ("1e9", 0.0)],
)
def test_the_wait_that_the_service_asks_for_is_kept_and_never_more_than_five_minutes(status, after, waits):
    assert int(UNIX_START) == 1_790_000_000
    bench = Bench((status, {"retry-after": after}), 200, chance=lambda: 0.0, rtt=0)
    run(bench)
    (first, _), (second, _) = bench.transport.sent
    assert waits <= (second - first) / SECOND <= waits + 0.1


def test_a_throttled_call_slows_everyone_under_the_same_quota():
    bench = Bench((429, {"retry-after": "5"}), 200)
    other = Bench(200)
    other.caller = Caller(
        transport=other.transport,
        limiter=bench.caller.limiter,
        credential=other.caller.credential,
        sign=other.caller.sign,
        backoff=other.caller.backoff,
        emit=other.events.append,
    )

    async def main():
        first = asyncio.create_task(bench.call())
        await asyncio.sleep(0.1)
        start = VirtualClock().now()
        await other.call()
        assert VirtualClock().now() - start >= 4.9 * SECOND
        await first

    run(bench, main)
    assert bench.quota.pace < 1.0
    assert [event for event in bench.events if isinstance(event, Throttled)] == [
        Throttled(operation="growingio-tag", wait=5.0)
    ]
    assert [type(event) for event in bench.events] == [Throttled, Retrying]


def test_a_call_that_is_not_throttled_lets_the_pace_recover():
    bench = Bench(429, 200)

    async def main():
        await bench.call()
        slowed = bench.quota.pace
        await asyncio.sleep(15)
        await bench.call()
        assert slowed < bench.quota.pace == 1.0

    run(bench, main)


def test_every_send_takes_a_token_of_its_own_so_that_retries_keep_the_rate():
    bench = Bench(500, 500, 500, 200, rate="1/s", chance=lambda: 0.0, rtt=0.2)
    run(bench)
    moments = [moment for moment, _ in bench.transport.sent]
    assert len(moments) == 4
    assert all(later - earlier > 1.2 * SECOND for earlier, later in itertools.pairwise(moments))


def test_a_send_without_an_answer_keeps_its_token_longer():
    bench = Bench(UnavailableError("cut"), 200, rate="1/s", chance=lambda: 0.0)
    run(bench)
    (first, _), (second, _) = bench.transport.sent
    assert second - first > 5 * SECOND


# Credentials ------------------------------------------------------------------------------------------


def accept(token):
    return lambda headers: (200,) if headers["Authorization"] == token else (401,)


def test_a_fixed_token_that_is_refused_ends_the_call_at_once():
    bench = Bench(401)
    with pytest.raises(AuthError):
        run(bench)
    assert len(bench.transport.sent) == 1
    assert bench.events == []


def test_a_refused_token_of_a_provider_is_renewed_once_and_the_call_goes_on():
    provider = Provider()
    bench = Bench(accept("token2"), token=provider)
    assert run(bench) == b"body"
    assert provider.asked == 2
    assert [headers["Authorization"] for _, headers in bench.transport.sent] == ["token1", "token2"]


def test_a_new_token_that_is_refused_too_ends_the_call():
    provider = Provider()
    bench = Bench(401, token=provider)
    with pytest.raises(AuthError):
        run(bench)
    assert provider.asked == 2
    assert len(bench.transport.sent) == 2


def test_fifty_calls_whose_token_is_refused_at_once_ask_for_one_new_token():
    provider = Provider()
    bench = Bench(accept("token2"), token=provider)

    async def main():
        assert await asyncio.gather(*(bench.call() for _ in range(50))) == [b"body"] * 50

    run(bench, main)
    assert provider.asked == 2
    used = [headers["Authorization"] for _, headers in bench.transport.sent]
    assert used.count("token2") == 50
    # One every 7 ms, until the first refusal came after 50 ms and the new token after 100 ms more.
    assert used.count("token1") <= 150 // 7 + 2
    assert used == sorted(used)


def test_a_provider_that_fails_fails_the_call():
    async def provider():
        raise OSError("vault is sealed")

    bench = Bench(200, token=provider)
    with pytest.raises(AuthError, match="OSError in its provider") as caught:
        run(bench)
    assert isinstance(caught.value.__cause__, OSError)
    assert bench.transport.sent == []


def test_no_token_is_in_sight_of_an_error_even_with_the_locals_of_its_traceback(canary):
    for answer in (401, 404, 500, UnavailableError("cut")):
        bench = Bench(answer, token=canary, retries=1)
        with pytest.raises(TagferryError) as caught:
            run(bench)
        assert bench.transport.sent[0][1]["Authorization"] == canary
        assert_no_secret(canary, caught.value, bench.events)


# The budget -------------------------------------------------------------------------------------------


def test_when_everything_fails_the_retries_of_any_minute_are_a_tenth_of_the_calls_and_a_little():
    bench = Bench(500, chance=random.Random(1).random, rtt=0.01)
    calls = []

    async def main():
        async def one():
            calls.append(VirtualClock().now())
            with pytest.raises(UnavailableError):
                await bench.call()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(300):
                tasks.create_task(one())
                await asyncio.sleep(0.5)

    run(bench, main)
    sends = [moment for moment, _ in bench.transport.sent]
    for start in range(sends[0], sends[-1], SECOND):
        first = sum(start <= moment < start + 60 * SECOND for moment in calls)
        sent = sum(start <= moment < start + 60 * SECOND for moment in sends)
        assert sent <= 1.1 * first + 10 + 2  # what is in the limiter on either side of the minute


def test_a_busy_program_has_more_retries_to_spend():
    bench = Bench(*[200] * 400, *[500] * 30, 200, chance=lambda: 0.0)

    async def main():
        for _ in range(400):
            await bench.call()
        start = bench.clock.now()
        await asyncio.gather(*(bench.call() for _ in range(30)))
        assert bench.clock.now() - start < 5 * SECOND

    run(bench, main)


def test_a_call_that_waits_for_the_budget_goes_on_when_there_is_room_and_gives_up_in_the_end():
    bench = Bench(500, 200)

    async def main():
        while bench.budget.take(bench.clock.now()):
            pass
        start = bench.clock.now()
        assert await bench.call() == b"body"
        assert 59 * SECOND < bench.clock.now() - start < 62 * SECOND

    run(bench, main)
    impatient = Bench(500, 200, patience=30.0)

    async def other():
        while impatient.budget.take(impatient.clock.now()):
            pass
        with pytest.raises(UnavailableError):
            await impatient.call()

    run(impatient, other)
    assert len(impatient.transport.sent) == 1


def test_an_urgent_call_goes_before_the_others():
    bench = Bench(200, rate="2/s", rtt=0.01)
    order = []

    async def main():
        async def one(name, urgent):
            await bench.call(urgent=urgent)
            order.append(name)

        async with asyncio.TaskGroup() as tasks:
            for number in range(6):
                tasks.create_task(one(number, False))
            await asyncio.sleep(0.1)
            tasks.create_task(one("urgent", True))

    run(bench, main)
    assert order.index("urgent") <= 2


def test_a_cancelled_call_strands_nobody():
    bench = Bench(200, rate="2/s")

    async def main():
        tasks = [asyncio.create_task(bench.call()) for _ in range(10)]
        await asyncio.sleep(0.02)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [b"body"] * 5

    run(bench, main)
    assert bench.quota.out == 0


def test_throttled_errors_of_the_body_count_as_throttling_too():
    """A service may say "too fast" inside of a 200."""
    bench = Bench(200)
    answers = iter([ThrottledError("60007", retry_after=2.0), None])

    async def main():
        def read(reply):
            if error := next(answers):
                raise error
            return "fine"

        assert await bench.caller.call(REQUEST, read) == "fine"

    run(bench, main)
    assert [event.wait for event in bench.events if isinstance(event, Throttled)] == [2.0]


# A service that hears nobody for a while --------------------------------------------------------------


class LockedBench(Bench):
    """A service whose answers say with status 423 that it hears nobody for a minute."""

    def read(self, reply):
        if reply.head.status == 423:
            raise AuthError("too many tries", code=70050, retry_after=60.0)
        return super().read(reply)


def moments(bench):
    start = bench.transport.sent[0][0]
    return [round((moment - start) / SECOND, 1) for moment, _ in bench.transport.sent]


def test_after_a_lockout_nothing_is_sent_for_its_time_then_one_call_alone_and_then_all():
    bench = LockedBench(*[423] * 10, 200, rtt=0.5)

    async def main():
        calls = [asyncio.create_task(bench.call()) for _ in range(10)]
        await asyncio.sleep(30)
        calls += [asyncio.create_task(bench.call()) for _ in range(5)]
        assert await asyncio.gather(*calls) == [b"body"] * 15

    run(bench, main)
    sent = moments(bench)
    assert all(moment < 0.5 for moment in sent[:10])
    probe, rest = sent[10], sent[11:]
    assert 60.5 <= probe < 61
    assert len(rest) == 14
    assert min(rest) >= probe + 0.5
    assert [event.wait for event in bench.events if isinstance(event, Throttled)] == [60.0] * 10


def test_a_second_lockout_in_the_one_call_that_goes_after_the_first_is_final():
    bench = LockedBench(*[423] * 5, rtt=0.5)

    async def main():
        calls = [asyncio.create_task(bench.call()) for _ in range(4)]
        with pytest.raises(AuthError) as caught:
            await asyncio.gather(*calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert caught.value.code == 70050

    run(bench, main)
    assert len(bench.transport.sent) == 5


def test_the_call_after_a_lockout_carries_a_new_token():
    provider = Provider()
    bench = LockedBench(423, 200, token=provider)
    assert run(bench) == b"body"
    assert [headers["Authorization"] for _, headers in bench.transport.sent] == ["token1", "token2"]


def test_when_the_call_after_a_lockout_breaks_another_one_goes_alone():
    bench = LockedBench(423, 423, UnavailableError("gone"), 200, rtt=0.5)

    async def main():
        assert await asyncio.gather(bench.call(), bench.call()) == [b"body"] * 2

    run(bench, main)
    sent = moments(bench)
    assert sent[2] >= 60.5
    assert sent[3] >= sent[2] + 0.5
    assert sent[4] >= sent[3] + 0.5


def test_only_refusals_that_another_token_may_help_against_ask_for_one():
    provider = Provider()
    bench = Bench(401, 200, token=provider)
    bench.caller = msgspec.structs.replace(bench.caller, renewable=lambda error: error.code != 401)
    with pytest.raises(AuthError):
        run(bench)
    assert provider.asked == 1


def test_a_retry_goes_only_when_the_budget_has_a_place_at_the_moment_it_is_sent():
    """Many retries wait for their turn in the limiter while there is still room: not all may go."""
    bench = Bench(500, chance=lambda: 0.0, rate="100/s", rtt=0.01)

    async def main():
        await asyncio.gather(*(bench.call() for _ in range(40)), return_exceptions=True)

    run(bench, main)
    sent = [moment for moment, _ in bench.transport.sent]
    retries = sent[40:]
    for end in retries:
        assert sum(end - 60 * SECOND < moment <= end for moment in retries) <= 10


# A request that must not arrive twice -----------------------------------------------------------------


class Intent:
    """Notes when it was declared and withdrawn, and how much was sent by then."""

    def __init__(self, bench, fails=None):
        self.bench = bench
        self.fails = fails
        self.notes = []
        self.moments = []

    async def declare(self):
        await self._note("declared")
        if self.fails:
            raise self.fails

    async def withdraw(self):
        await self._note("withdrawn")

    async def _note(self, word):
        await asyncio.sleep(0.01)
        self.notes.append((word, len(self.bench.transport.sent)))
        self.moments.append(VirtualClock().now())


def lost(failure):
    return SubmitUnknownError(f"nobody knows: {failure.message}")


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("reset by the peer"),
        UnavailableError("time-out"),
        UnavailableError("gateway", code=502),
        ProtocolError("8 MB and more"),
    ],
)
def test_a_request_that_may_have_arrived_is_not_sent_again(failure):
    bench = Bench(failure, 200)
    intent = Intent(bench)
    with pytest.raises(SubmitUnknownError, match=f"nobody knows: {failure.message}") as caught:
        run(bench, lambda: bench.call(lost=lost, intent=intent))
    assert len(bench.transport.sent) == 1
    assert bench.events == []
    assert caught.value.__context__ is None
    assert intent.notes == [("declared", 0)]


@pytest.mark.parametrize("code", sorted(NOT_SENT))
def test_a_request_of_which_no_byte_left_is_sent_again_when_that_may_help(code):
    bench = Bench(UnavailableError("refused", code=code), 200)
    assert run(bench, lambda: bench.call(lost=lost)) == b"body"
    assert len(bench.transport.sent) == 2
    untrusted = Bench(RefusedError("no trusted connection", code=code), 200)
    with pytest.raises(RefusedError):
        run(untrusted, lambda: untrusted.call(lost=lost))
    assert len(untrusted.transport.sent) == 1


def test_a_client_that_is_closed_meanwhile_has_sent_nothing():
    bench = Bench(ConfigError("the client is not open"))
    intent = Intent(bench)
    with pytest.raises(ConfigError, match="not open"):
        run(bench, lambda: bench.call(lost=lost, intent=intent))
    assert [word for word, _ in intent.notes] == ["declared", "withdrawn"]


def test_an_answer_that_tells_nothing_is_neither_asked_for_again_nor_struck_out():
    bench = Bench(200)
    intent = Intent(bench)

    def read(_):
        raise SubmitUnknownError("no id in it")

    with pytest.raises(SubmitUnknownError):
        run(bench, lambda: bench.caller.call(REQUEST, read, lost=lost, intent=intent))
    assert len(bench.transport.sent) == 1
    assert intent.notes == [("declared", 0)]


def test_an_intent_is_declared_before_each_try_and_struck_out_before_each_wait():
    """Whoever is killed while a retry waits, or for the turn of the first try, has nothing in the air."""
    provider = Provider()
    answers = [UnavailableError("refused", code="connect"), (429, {"retry-after": "20"}), 401, 200]
    bench = Bench(*answers, token=provider, chance=lambda: 1.0)
    intent = Intent(bench)
    assert run(bench, lambda: bench.call(lost=lost, intent=intent)) == b"body"
    declared, withdrawn = "declared", "withdrawn"
    assert intent.notes == [
        (declared, 0),
        (withdrawn, 1),
        (declared, 1),
        (withdrawn, 2),
        (declared, 2),
        (withdrawn, 3),
        (declared, 3),
    ]
    sent = [moment for moment, _ in bench.transport.sent]
    for number, moment in enumerate(sent):
        # Right before it; and the answer, after 50 ms, is the end of it.
        assert moment == intent.moments[2 * number]
    for number in range(3):
        assert intent.moments[2 * number + 1] - sent[number] == pytest.approx(0.06 * SECOND)
    assert sent[2] - sent[1] > 20 * SECOND
    # The new token was provided, in 100 ms, after the refusal and with nothing in the air.
    assert sent[3] - intent.moments[5] > 0.1 * SECOND


def test_an_intent_is_not_declared_before_the_request_has_its_turn():
    bench = Bench(200, rate="1/5s", rtt=0.01)
    first, second = Intent(bench), Intent(bench)

    async def main():
        await asyncio.gather(bench.call(intent=first), bench.call(intent=second))

    run(bench, main)
    assert second.moments[0] - first.moments[0] > 5 * SECOND
    assert second.moments[0] == bench.transport.sent[1][0]


def test_an_intent_that_cannot_be_written_down_costs_nothing():
    bench = Bench(200, rate="1/60s")

    async def main():
        with pytest.raises(DiskError):
            await bench.call(intent=Intent(bench, fails=DiskError("disk full")))
        assert bench.transport.sent == []
        start = VirtualClock().now()
        await bench.call()
        assert VirtualClock().now() - start < SECOND

    run(bench, main)
    assert bench.quota.out == 0


def test_a_call_that_is_stopped_in_the_air_is_not_struck_out():
    bench = Bench(200, rtt=10)
    intent = Intent(bench)

    async def main():
        task = asyncio.create_task(bench.call(lost=lost, intent=intent))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(bench, main)
    assert intent.notes == [("declared", 0)]
