import copy
import heapq
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tagferry.errors import ConfigError
from tagferry.wire.quota import GUARD, QUARANTINE, SECOND, Permit, Quota, Rate

START = 10**9 * SECOND


def most_in_any(arrivals, period):
    """The oracle: for every arrival, count those from it to one period later, both ends included."""
    return max((sum(first <= other <= first + period for other in arrivals) for first in arrivals), default=0)


# Rates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "calls", "seconds"),
    [
        ("2/s", 2, 1),
        ("100/s", 100, 1),
        (" 79/s ", 79, 1),
        ("5/15s", 5, 15),
        ("1/9999s", 1, 9999),
        ("1/1s", 1, 1),
    ],
)
def test_a_rate_is_calls_in_a_time(text, calls, seconds):
    assert Rate.parse(text) == Rate(calls, seconds * SECOND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "0/s",
        "100/0s",
        "-1/s",
        "1.5/s",
        "100/m",
        "100 / s",
        "/s",
        "100/s/s",
        "1e3/s",
        "٣/s",
        "1/99999s",
        "1000000/s",
        "01/s",
        None,
        5,
    ],
)
def test_what_is_no_rate_is_refused_with_examples(text):
    with pytest.raises(ConfigError, match="CALLS/s") as caught:
        Rate.parse(text)
    assert "100/s" in str(caught.value)


@given(st.integers(1, 999_999), st.integers(1, 9_999))
def test_a_rate_reads_back_what_it_writes(calls, seconds):
    rate = Rate(calls, seconds * SECOND)
    assert Rate.parse(str(rate)) == rate


# Single steps -----------------------------------------------------------------------------------------


def test_a_fresh_quota_lets_the_first_call_go_at_once():
    assert Quota(Rate(2)).ready_at(0) == 0


def test_sends_are_spaced_so_that_a_start_is_no_burst():
    quota = Quota(Rate(100))
    quota.take(START)
    assert quota.ready_at(START) == START + 7_000_000


def test_a_token_comes_back_a_period_and_a_guard_after_the_response():
    quota = Quota(Rate(1))
    permit = quota.take(START)
    assert quota.ready_at(START + 5 * SECOND) is None
    quota.give_back(permit, START + 5 * SECOND, answered=True)
    free = START + 6 * SECOND + GUARD
    assert quota.ready_at(START + 5 * SECOND) == free
    assert quota.ready_at(free) == free


def test_a_token_without_a_response_is_kept_four_seconds_longer():
    quota = Quota(Rate(1))
    quota.give_back(quota.take(START), START, answered=False)
    assert quota.ready_at(START) == START + SECOND + GUARD + QUARANTINE


def test_a_token_that_comes_back_late_does_not_hold_up_one_that_came_earlier():
    quota = Quota(Rate(2))
    first, second = quota.take(START), quota.take(START + SECOND)
    quota.give_back(first, START + SECOND, answered=False)
    quota.give_back(second, START + SECOND, answered=True)
    assert quota.ready_at(START + SECOND) == START + 2 * SECOND + GUARD


def test_a_token_is_given_back_once():
    quota = Quota(Rate(2))
    permit = quota.take(START)
    quota.give_back(permit, START, answered=True)
    quota.give_back(permit, START, answered=True)
    assert quota.out == 0
    assert quota.ready_at(START) == START + quota_spacing(2)


def test_a_call_that_is_not_sent_after_all_leaves_the_next_one_at_its_distance_from_the_last():
    quota = Quota(Rate(10))
    unsent = quota.take(START)
    at = quota.ready_at(START)
    quota.void(quota.take(at))
    assert quota.ready_at(START) == at, "its place is free again"
    quota.take(at)
    after = quota.ready_at(at)
    # The first one waited for something before it would have been sent, and others went meanwhile.
    quota.void(unsent)
    assert quota.ready_at(at) == after > at
    assert quota.out == 1


def quota_spacing(calls):
    return int(0.7 * SECOND / calls)


def test_a_send_that_is_a_little_late_does_not_move_the_ones_after_it():
    quota = Quota(Rate(100))
    quota.take(START)
    quota.take(START + 7_000_000 + 5_000_000)
    assert quota.ready_at(START + 12_000_000) == START + 2 * 7_000_000


def test_a_pause_is_not_made_up_for_by_a_burst():
    quota = Quota(Rate(100))
    quota.take(START)
    later = START + 30 * SECOND
    quota.take(later)
    second = quota.ready_at(later)
    quota.take(second)
    assert later + 7_000_000 <= quota.ready_at(second) <= later + 2 * 7_000_000
    assert second >= later


def pull(quota, now, count):
    """Send as many as go at once, all of which are answered in 20 ms; return when they were sent."""
    sent = []
    for _ in range(count):
        now = quota.ready_at(now)
        quota.give_back(quota.take(now), now + 20_000_000, answered=True)
        sent.append(now)
    return sent


def test_what_a_stall_held_up_is_sent_without_delay_but_a_start_is_spaced():
    quota = Quota(Rate(100))
    first = pull(quota, START, 100)
    assert first[-1] - first[0] == 99 * 7_000_000
    # A stall: for 1.3 s nothing is sent, and then all tokens are there.
    second = pull(quota, first[-1] + 1_300_000_000, 100)
    assert second[-1] - second[0] <= 99 * 1_000_000
    third = pull(quota, second[-1], 100)
    assert third[0] == second[0] + SECOND + 20_000_000 + GUARD, "a bunch is no start"
    assert third[-1] - third[0] <= 99 * 1_000_000
    after_a_pause = pull(quota, third[-1] + 3 * SECOND + 1, 100)
    assert after_a_pause[-1] - after_a_pause[0] >= 98 * 7_000_000


@pytest.mark.parametrize(
    ("rate", "other", "kept"),
    [
        ("100/s", "79/s", "79/s"),
        ("79/s", "100/s", "79/s"),
        ("1/s", "5/15s", "5/15s"),
        ("5/15s", "1/s", "5/15s"),
        ("2/s", "100/50s", "2/s"),
        ("100/50s", "2/s", "2/s"),
    ],
)
def test_the_lower_rate_wins_and_of_two_equal_ones_the_one_with_fewer_calls_at_once(rate, other, kept):
    quota = Quota(Rate.parse(rate))
    quota.lower(Rate.parse(other))
    assert str(quota.rate) == kept


def test_after_a_lower_rate_only_that_many_tokens_are_out():
    quota, now = Quota(Rate(4)), START
    permits = []
    for _ in range(4):
        now = quota.ready_at(now)
        permits.append(quota.take(now))
    quota.lower(Rate(2))
    for permit in permits[:2]:
        quota.give_back(permit, now, answered=True)
    assert quota.ready_at(now + 10 * SECOND) is None
    quota.give_back(permits[2], now + 10 * SECOND, answered=True)
    assert quota.ready_at(now + 10 * SECOND) == now + 11 * SECOND + GUARD


# Throttling -------------------------------------------------------------------------------------------


def test_a_throttled_quota_halves_its_pace_at_most_once_a_period():
    quota = Quota(Rate(100))
    for _ in range(50):
        quota.slow_down(START)
    assert quota.pace == 0.5
    quota.slow_down(START + SECOND - 1)
    assert quota.pace == 0.5
    quota.slow_down(START + SECOND)
    assert quota.pace == 0.25


@pytest.mark.parametrize(
    ("happens", "after"),
    [
        (lambda quota: None, 0),
        (lambda quota: quota.give_back(quota.take(START), START, answered=True), SECOND + GUARD),
        (
            lambda quota: quota.give_back(quota.take(START), START, answered=False),
            SECOND + GUARD + QUARANTINE,
        ),
        (lambda quota: quota.void(quota.take(START)), 0),
        (lambda quota: quota.hold(START + 7 * SECOND), 7 * SECOND),
        (lambda quota: quota.slow_down(START), 15 * SECOND),
        (lambda quota: quota.slow_down(START, 60.0), 60 * SECOND),
    ],
    ids=["nothing", "answered", "lost", "void", "held", "slowed", "told to wait"],
)
def test_a_quota_has_rested_when_a_new_one_would_do_the_same(happens, after):
    quota = Quota(Rate(2))
    happens(quota)
    assert after == 0 or not quota.is_rested(START + after - 1)
    assert quota.is_rested(START + after)


def test_a_quota_that_waits_for_one_call_to_tell_that_a_lockout_is_over_does_not_rest():
    quota = Quota(Rate(2))
    refused = quota.take(START)
    quota.silence(refused, START, 60.0)
    quota.give_back(refused, START, answered=True)
    assert not quota.is_rested(START + 3600 * SECOND)
    probe = quota.take(START + 3600 * SECOND)
    quota.recover(START + 3600 * SECOND, probe)
    quota.give_back(probe, START + 3600 * SECOND, answered=True)
    assert quota.is_rested(START + 3602 * SECOND)


def test_a_quota_with_a_call_on_the_wire_does_not_rest():
    quota = Quota(Rate(2))
    quota.take(START)
    assert not quota.is_rested(START + 3600 * SECOND)


def test_the_pace_has_a_floor():
    quota = Quota(Rate(100))
    for second in range(20):
        quota.slow_down(START + second * SECOND)
    assert quota.pace == 1 / 16


def test_a_slower_pace_spaces_the_sends():
    quota = Quota(Rate(100))
    quota.slow_down(START)
    quota.take(START)
    assert quota.ready_at(START) == START + 2 * 10_000_000


def test_nothing_goes_before_the_wait_that_the_service_asked_for_is_over():
    quota = Quota(Rate(100))
    quota.slow_down(START, 7.0)
    quota.slow_down(START, 3.0)
    quota.slow_down(START, None)
    assert quota.ready_at(START) == START + 7 * SECOND
    assert quota.ready_at(START + 8 * SECOND) == START + 8 * SECOND


def test_the_pace_grows_back_evenly_with_time_and_stops_at_full():
    quota = Quota(Rate(100))
    quota.recover(START)
    assert quota.pace == 1.0
    quota.slow_down(START)
    quota.recover(START + 3 * SECOND)
    assert quota.pace == pytest.approx(0.5 + 3 / 15)
    quota.recover(START + 3 * SECOND)
    assert quota.pace == pytest.approx(0.5 + 3 / 15)
    quota.recover(START + 30 * SECOND)
    assert quota.pace == 1.0


@pytest.mark.parametrize("calls", [2, 100])
def test_an_outage_is_recovered_from_within_thirty_seconds_at_any_rate(calls):
    quota, now = Quota(Rate(calls)), START
    for second in range(10):
        quota.slow_down(now := START + second * SECOND)
    until = now + 15 * SECOND
    while now < until:
        at = quota.ready_at(now)
        now = max(now, at)
        permit = quota.take(now)
        quota.give_back(permit, now, answered=True)
        quota.recover(now)
    assert quota.pace >= 0.93


# The promise ------------------------------------------------------------------------------------------

NEAR = [
    1,
    GUARD,
    SECOND // 100,
    SECOND - GUARD - 1,
    SECOND - GUARD,
    SECOND - 1,
    SECOND,
    SECOND + 1,
    SECOND + GUARD,
]
TIMES = st.one_of(st.sampled_from([0, *NEAR]), st.integers(0, 3 * SECOND))


class Promise(RuleBasedStateMachine):
    """A client that does all it is allowed to, and a network that does its worst."""

    @initialize(calls=st.integers(1, 5), start=st.sampled_from([0, 1, START]))
    def begin(self, calls, start):
        self.now = start
        self.quota = Quota(Rate(calls))
        self.out = {}  # permit: when it was sent
        self.spans = []  # [sent, response] of every call; its arrival is anywhere in between
        self.lowered = start
        self.history = []  # spans, whatever the rate was
        self.earlier = set()  # permits that were out when the rate was lowered
        self.not_before = 0
        self.last_sent = None
        self.pauses = []

    @rule()
    def take_when_ready(self):
        at = self.quota.ready_at(self.now)
        if at is None:
            assert self.out
            return
        assert at >= self.now
        self.now = at
        self.send()

    @precondition(lambda self: self.quota.ready_at(self.now) == self.now)
    @rule()
    def take_now(self):
        self.send()

    def send(self):
        assert self.quota.ready_at(self.now) == self.now
        assert self.now >= self.not_before
        permit = self.quota.take(self.now)
        assert isinstance(permit, Permit)
        span = [self.now, None]
        self.out[permit] = span
        self.spans.append(span)
        self.history.append(span)
        self.last_sent = self.now

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 100), delay=TIMES)
    def respond(self, which, delay):
        self.now += delay
        permit = list(self.out)[which % len(self.out)]
        self.out.pop(permit)[1] = self.now
        self.quota.give_back(permit, self.now, answered=True)
        self.quota.give_back(permit, self.now + SECOND, answered=False)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 100), delay=TIMES, late=st.sampled_from([0, 1, QUARANTINE - 1, QUARANTINE]))
    def time_out(self, which, delay, late):
        # The connection was closed, yet the request may arrive until the quarantine is over.
        self.now += delay
        permit = list(self.out)[which % len(self.out)]
        self.out.pop(permit)[1] = self.now + late
        self.quota.give_back(permit, self.now, answered=False)

    @rule(wait=st.one_of(st.none(), st.sampled_from([0.0, 0.5, 2.0])))
    def slow_down(self, wait):
        before = self.quota.pace
        self.quota.slow_down(self.now, wait)
        assert self.quota.pace in {before, before / 2, 1 / 16}
        if wait:
            self.not_before = max(self.not_before, self.now + int(wait * SECOND))

    @rule()
    def recover(self):
        before = self.quota.pace
        self.quota.recover(self.now)
        assert before <= self.quota.pace <= 1.0

    @rule(time=TIMES)
    def advance(self, time):
        self.now += time

    @rule(calls=st.integers(1, 5), period=st.sampled_from([SECOND, 2 * SECOND]))
    def lower(self, calls, period):
        before = self.quota.rate
        self.quota.lower(Rate(calls, period))
        after = self.quota.rate
        assert after.calls / after.period <= min(before.calls / before.period, calls / period) * (1 + 1e-9)
        if after != before:
            self.lowered = self.now
            # What was sent under a higher rate, be it in this very instant, cannot be undone.
            self.spans = []
            self.earlier = set(self.out)

    @invariant()
    def tokens_are_conserved(self):
        assert self.quota.out == len(self.out)
        assert self.quota.out <= 5

    @invariant()
    def nobody_starves(self):
        at = self.quota.ready_at(self.now)
        rate = self.quota.rate
        if len(self.out) < rate.calls:
            # Whatever happened, the wait ends by itself; when nothing was sent for long, at once.
            bound = max(self.now, self.not_before) + 2 * SECOND + GUARD + QUARANTINE + 16 * rate.period
            assert at is not None
            assert at <= bound
            # Asked of a copy: a quota's time never goes back.
            assert copy.deepcopy(self.quota).ready_at(bound) == bound
        pace = self.quota.pace
        spacing = int((0.7 if pace == 1.0 else 1 / pace) * rate.period / rate.calls)
        held = [s for s in self.history if s[1] is None or s[1] + 2 * SECOND + GUARD + QUARANTINE >= self.now]
        if len(held) < rate.calls and self.lowered <= self.now - 10 * SECOND and not self.out:
            slots = [self.now, self.not_before] + (
                [self.last_sent + spacing] if self.last_sent is not None else []
            )
            assert at <= max(slots)

    @invariant()
    def the_server_never_sees_more_than_the_rate(self):
        """The worst arrivals: of calls+1 neighbours, the first as late, the last as early as possible."""
        rate = self.quota.rate
        spans = [(sent, response) for sent, response in self.spans if response is not None]
        # For any window there must be no way to have more than `calls` arrivals in it. It is enough to look
        # at windows that begin at a response (the latest arrival of a call) or at a sending.
        for start in {response for _, response in spans} | {sent for sent, _ in spans}:
            end = start + rate.period
            possible = sum(sent <= end and response >= start for sent, response in spans)
            possible += sum(span[0] <= end for permit, span in self.out.items() if permit not in self.earlier)
            assert possible <= rate.calls, f"{possible} calls in the {rate} from {start}"


Promise.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestPromise = Promise.TestCase


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_two_calls_of_one_token_are_more_than_a_period_apart(data):
    """One token; every gap as small as it is allowed to be, responses that take anything."""
    quota, now, spans = Quota(Rate(1)), START, []
    for _ in range(10):
        now = quota.ready_at(now)
        permit, sent = quota.take(now), now
        now += data.draw(TIMES)
        quota.give_back(permit, now, answered=True)
        spans.append((sent, now))
    for (_, late), (early, _) in itertools.pairwise(spans):
        assert early - late > SECOND
        # The oracle agrees, and counts a gap of exactly a second as one second.
        assert most_in_any([late, early], SECOND) == 1
        assert most_in_any([late, late + SECOND], SECOND) == 2
        assert most_in_any([late, late + SECOND + 1], SECOND) == 1


def simulate(calls, seconds, forward, back, *, stalls=None, seed=1):
    """Run a client that always has work against a network that may stall every so many seconds.

    Return arrivals and round trips.
    """
    chance = random.Random(seed)
    quota, now, number = Quota(Rate(calls)), START, itertools.count()
    events, arrivals, trips = [], [], []  # events: responses (time, n, permit, sent)

    def through(moment, delay):
        moment += delay
        if stalls is not None and (left := -(moment - START) % int(stalls * SECOND)) < 300 * MS:
            # The route stands still and lets everything go at once.
            moment += left
        return moment

    end = START + seconds * SECOND
    while now < end:
        at = quota.ready_at(now)
        if events and (at is None or events[0][0] <= at):
            now, _, permit, sent = heapq.heappop(events)
            quota.give_back(permit, now, answered=True)
            trips.append(now - sent)
            continue
        now = at
        permit = quota.take(now)
        arrival = through(now, forward(chance))
        response = through(arrival, back(chance))
        arrivals.append(arrival)
        heapq.heappush(events, (response, next(number), permit, now))
    return sorted(arrivals), trips


def in_any_second(arrivals):
    """As `most_in_any`, for many arrivals in order."""
    most = first = 0
    for last, arrival in enumerate(arrivals):
        while arrival - arrivals[first] > SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most


MS = 1_000_000
NETWORKS = {
    "even": (lambda _: 10 * MS, lambda _: 10 * MS, None),
    "jitter and reordering": (lambda c: c.randrange(10 * MS), lambda c: c.randrange(1, 10 * MS), None),
    "rare stalls": (lambda c: 10 * MS + c.randrange(10 * MS), lambda c: 10 * MS, 20.0),
    "stalls": (lambda c: 10 * MS + c.randrange(20 * MS), lambda c: 10 * MS + c.randrange(20 * MS), 3.3),
    "very uneven": (lambda c: c.choice([0, 200 * MS]), lambda c: c.choice([1, 200 * MS]), None),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_strict_server_never_counts_101_and_the_quota_is_used(network):
    forward, back, stalls = NETWORKS[network]
    arrivals, trips = simulate(100, 60, forward, back, stalls=stalls)
    assert in_any_second(arrivals) <= 100
    mean = sum(trips) / len(trips) / SECOND
    rate = len(arrivals) / 60
    assert rate >= 0.98 * 100 / (1 + mean)


def test_the_oracle_counts_what_even_pacing_does_under_jitter():
    """A check of the measure: the same count refuses a client that only spaces its sends."""
    chance = random.Random(1)
    sends = range(START, START + 20 * SECOND, SECOND // 100)
    assert in_any_second(sorted(send + chance.randrange(10 * MS) for send in sends)) > 100


@pytest.mark.parametrize("calls", [1, 2, 10])
def test_both_counts_of_arrivals_agree(calls):
    arrivals, _ = simulate(calls, 10, lambda c: c.randrange(30 * MS), lambda c: c.randrange(1, 30 * MS))
    assert in_any_second(arrivals) == most_in_any(arrivals, SECOND) <= calls
