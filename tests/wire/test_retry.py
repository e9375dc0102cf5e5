import math
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import RefusedError, ThrottledError, UnavailableError
from tagferry.wire.retry import MAX_RETRY_AFTER, RetryBudget, RetryPolicy, read_retry_after

NOW = 1_577_344_409.0  # Thu, 26 Dec 2019 07:13:29 GMT
MINUTE = 60_000_000_000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (" ", None),
        ("0", None),
        ("-1", None),
        ("+5", None),
        ("1", 1.0),
        (" 17 ", 17.0),
        ("300", 300.0),
        ("301", MAX_RETRY_AFTER),
        ("1e9", None),
        ("1.5", None),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("٣", None),
        ("²", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 26 Dec 2019 07:14:29 GMT", 60.0),
        ("Thu, 26 Dec 2019 07:14:29 -0000", 60.0),
        ("Thu, 26 Dec 2019 15:14:29 +0800", 60.0),
        ("Thursday, 26-Dec-19 07:14:29 GMT", 60.0),
        ("Thu, 26 Dec 2019 07:13:29 GMT", None),
        ("Thu, 26 Dec 1999 07:13:29 GMT", None),
        ("Fri, 26 Dec 2098 07:13:29 GMT", MAX_RETRY_AFTER),
        ("Thu, 26 Dec 99999999 07:14:29 GMT", None),
        ("Thu, 26 Dec 2019 07:14:29 +99999999", None),
        ("Thu, 32 Dec 2019 07:14:29 GMT", None),
        (",,,", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_five_minutes(value, seconds):
    assert read_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=60), st.floats(-1e12, 1e12))
def test_any_retry_after_is_a_sane_wait_or_none(value, now):
    seconds = read_retry_after(value, now=now)
    assert seconds is None or 0 < seconds <= MAX_RETRY_AFTER


@given(st.integers(1, 299))
def test_every_date_that_lies_ahead_is_kept_to_the_second(ahead):
    date = format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=ahead), usegmt=True)
    assert read_retry_after(date, now=NOW) == ahead


def broken(retry_after=None):
    return UnavailableError("m", retry_after=retry_after)


@pytest.mark.parametrize(
    ("failures", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 16.0), (7, 30.0), (8, 30.0)]
)
def test_the_longest_delay_doubles_up_to_the_cap(failures, bound):
    policy = RetryPolicy()
    assert policy.delay(broken(), failures, 1.0) == bound
    assert policy.delay(broken(), failures, 0.5) == bound / 2
    assert policy.delay(broken(), failures, 0.0) == 0.0


def test_after_the_last_retry_comes_none():
    policy = RetryPolicy(retries=3)
    assert policy.delay(broken(), 3, 0.5) is not None
    assert policy.delay(broken(), 4, 0.5) is None
    assert RetryPolicy(retries=0).delay(broken(), 1, 0.5) is None


def test_some_codes_are_tried_again_less_often():
    policy = RetryPolicy(limits={60008: 3, "odd": 1})
    few, once = UnavailableError("m", code=60008), UnavailableError("m", code="odd")
    assert [policy.delay(few, failures, 1.0) is not None for failures in (3, 4)] == [True, False]
    assert [policy.delay(once, failures, 1.0) is not None for failures in (1, 2)] == [True, False]
    assert RetryPolicy(retries=2, limits={60008: 3}).delay(few, 3, 1.0) is None


def test_an_error_that_will_stay_is_not_tried_again():
    assert RetryPolicy().delay(RefusedError("m"), 1, 0.5) is None
    assert RetryPolicy().delay(RefusedError("m", retryable=True), 1, 0.5) is not None


def test_the_wait_that_the_server_asks_for_is_the_least():
    policy = RetryPolicy()
    assert policy.delay(ThrottledError("m", retry_after=7.0), 1, 0.0) == 7.0
    assert policy.delay(broken(3.0), 6, 1.0) == 16.0


@given(st.integers(1, 10**6), st.floats(0, 1), st.one_of(st.none(), st.floats(0, MAX_RETRY_AFTER)))
def test_every_delay_is_between_what_the_server_asks_and_the_caps(failures, chance, asked):
    policy = RetryPolicy(retries=10**6)
    delay = policy.delay(broken(asked), failures, chance)
    assert delay is not None
    assert (asked or 0.0) <= delay <= max(policy.cap, asked or 0.0)
    assert math.isfinite(delay)


def test_full_jitter_is_even_between_nothing_and_the_bound():
    chance, policy = random.Random(1), RetryPolicy()
    delays = [policy.delay(broken(), 4, chance.random()) or 0.0 for _ in range(10_000)]
    counts = [sum(low / 2 <= delay < (low + 1) / 2 for delay in delays) for low in range(8)]
    assert sum(counts) == 10_000
    assert sum((count - 1250) ** 2 / 1250 for count in counts) < 24.3  # chi-square, 7 degrees, 0.1 %


def test_the_budget_lets_ten_retries_a_minute_go_however_few_calls_there_are():
    budget = RetryBudget()
    assert [budget.take(0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.wait(1) == MINUTE - 1
    assert budget.wait(MINUTE - 1) == 1
    assert not budget.take(MINUTE - 1)
    assert budget.wait(MINUTE) == 0
    assert budget.take(MINUTE)


def test_to_look_for_a_place_takes_none():
    budget = RetryBudget(floor=1)
    assert [budget.wait(0) for _ in range(5)] == [0] * 5
    assert budget.take(0)


def test_the_budget_is_a_tenth_of_the_calls_of_the_last_minute():
    budget = RetryBudget()
    for moment in range(1000):
        budget.note_call(moment)
    assert [budget.take(1000) for _ in range(101)] == [True] * 100 + [False]
    assert budget.wait(1000) == MINUTE
    # The calls are a minute old, and with them goes what they allowed; the retries are younger.
    assert budget.wait(MINUTE + 998) > 0


def test_a_budget_of_nothing_still_says_how_long_to_wait():
    assert RetryBudget(share=0.0, floor=0).wait(5) > 0


@given(st.lists(st.tuples(st.integers(0, 2 * MINUTE), st.booleans()), max_size=200))
def test_never_more_retries_in_any_minute_than_the_budget(steps):
    budget, now, calls, retries = RetryBudget(share=0.5, floor=2), 0, [], []
    for wait, is_call in steps:
        now += wait // 50
        if is_call:
            budget.note_call(now)
            calls.append(now)
        elif budget.take(now):
            retries.append(now)
            recent = [t for t in retries if t > now - MINUTE]
            assert len(recent) <= max(2, len([t for t in calls if t > now - MINUTE]) // 2)
        else:
            assert 0 < budget.wait(now) <= MINUTE
