"""What is known of a fetch while it goes on."""

import pytest

from tagferry import errors, events
from tagferry.cli.tally import FetchTally

OF = {"kind": "tencent-tags", "output": "tags.jsonl"}
BROKEN = errors.UnavailableError("the body broke off\n")


def planned(accounts=1000, distinct=1000, left=1000, seconds=0.1):
    calls = -(-left // 100)
    return events.FetchPlanned(
        **OF, accounts=accounts, distinct=distinct, left=left, calls=calls, seconds=seconds
    )


def fetching(tagged, missing=0, failed=0, throttled=0):
    counts = {"tagged": tagged, "missing": missing, "failed": failed, "throttled": throttled}
    return events.Fetching(**OF, distinct=1000, requests=tagged // 100, **counts)


def retrying(delay, error=BROKEN):
    return events.Retrying(operation="tencent-tags", failures=1, delay=delay, error=error)


def throttled(wait=None):
    return events.Throttled(operation="tencent-tags", wait=wait)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (planned(), "1,000 accounts: 10 calls, at least 1 s"),
        (planned(1, 1, 1), "1 account: 1 call, at least 1 s"),
        (planned(1001), "1,000 accounts (1 repeat dropped): 10 calls, at least 1 s"),
        (
            planned(20_000, 10_000, 9_000, 90),
            "10,000 accounts (10,000 repeats dropped), 9,000 of them left: 90 calls, at least 1:30",
        ),
    ],
)
def test_a_plan_says_what_it_will_cost(plan, words):
    assert FetchTally().take(plan, 0.0) == words


def test_before_there_is_a_plan():
    tally = FetchTally()
    assert tally.sum_up(5.0) == "reading the accounts"
    assert tally.rate(5.0) is None
    assert tally.eta(5.0) is None
    assert tally.counts(1.5) == {"seconds": 1.5}


def test_an_input_without_accounts():
    tally = FetchTally()
    tally.take(planned(0, 0, 0), 0.0)
    assert tally.sum_up(1.0) == "no accounts to ask for"


def test_the_rate_is_that_of_the_last_seconds_and_tells_what_is_left():
    tally = FetchTally()
    tally.take(planned(), 0.0)
    assert tally.rate(0.0) is None
    assert tally.sum_up(1.0) == "0 of 1,000 accounts · 0%"
    for second in range(1, 6):
        tally.take(fetching(20 * second), float(second))
    assert (tally.done, tally.rate(5.0), tally.eta(5.0)) == (100, 20, 45)
    tally.take(fetching(120), 30.0)
    tally.take(fetching(220, 5, 1), 31.0)
    # What came before the window is no part of it.
    assert tally.rate(31.0) == pytest.approx((226 - 100) / 26)
    tally.take(fetching(994, 5, 1), 35.0)
    assert tally.eta(35.0) is None
    assert tally.sum_up(35.0).endswith("100% · 5 missing · 1 failed")


def test_a_run_that_goes_on_begins_where_the_other_ended():
    tally = FetchTally()
    tally.take(planned(left=400), 0.0)
    assert tally.progress(1.0) == "600 of 1,000 accounts"
    tally.take(fetching(700), 2.0)
    assert tally.progress(2.0) == "700 of 1,000 accounts · 50/s"
    # At the very end nothing but a checkpoint is told.
    tally.take(events.Checkpointed(**OF, accounts=750), 2.0)
    assert tally.done == 750


def test_a_checkpoint_before_any_count():
    tally = FetchTally()
    tally.take(planned(), 0.0)
    tally.take(events.Checkpointed(**OF, accounts=10), 1.0)
    assert tally.done == 10


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (retrying(0.04), "trying again at once: the body broke off\\n"),
        (retrying(0.25), "trying again in 0.2 s: the body broke off\\n"),
        (retrying(75.0), "trying again in 1:15: the body broke off\\n"),
        (retrying(1.0, errors.ThrottledError("too fast")), None),
        (throttled(), "the service says that it is asked too often: slower for a while"),
        (
            throttled(60.0),
            "the service says that it is asked too often: slower for a while, and silent for 1:00",
        ),
        (events.OddAnswer(kind="x", what="\x1b[31m"), "an answer was not as documented: \\x1b[31m"),
        (events.BatchesHalved(kind="x", size=1), "calls have at most 1 account from now on"),
        (events.LinkRenewed(kind="x", id="y"), None),
    ],
)
def test_news(event, words):
    assert FetchTally().take(event, 0.0) == words


def test_troubles_are_counted():
    tally = FetchTally()
    tally.take(planned(), 0.0)
    assert (tally.troubles(), tally.troubles(zeros=True)) == ("", "0 missing · 0 failed · 0 throttled")
    tally.take(throttled(), 1.0)
    tally.take(retrying(1.0, errors.ThrottledError("too fast")), 1.0)
    assert tally.troubles() == "1 throttled"
    tally.take(retrying(1.0), 2.0)
    tally.take(fetching(100, 2, 3, 4), 3.0)
    assert tally.troubles() == "2 missing · 3 failed · 4 throttled · 1 retried"
    assert tally.counts(3.0) == {
        "seconds": 3.0,
        "accounts": 1000,
        "distinct": 1000,
        "tagged": 100,
        "missing": 2,
        "failed": 3,
        "requests": 1,
        "throttled": 4,
    }
