import pytest

from tagferry.errors import RefusedError, ThrottledError, UnavailableError
from tagferry.wire.backoff import Backoff
from tagferry.wire.quota import SECOND
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tests.virtual import VirtualClock, run_virtual


def pause(error, failures, *, since=0.0, chance=1.0, taken=0, **policy):
    """Pause once; return the waits that were told, and all sleeps."""
    clock, told = VirtualClock(), []
    budget = RetryBudget(floor=2)

    async def main():
        for _ in range(taken):
            budget.take(clock.now())
        backoff = Backoff(policy=RetryPolicy(**policy), budget=budget, clock=clock, chance=lambda: chance)
        await backoff.pause(error, failures, clock.now() - int(since * SECOND), told.append)

    run_virtual(main)
    return told, clock.slept


def test_a_pause_waits_as_long_as_it_was_told_before_it_began():
    assert pause(UnavailableError("m"), 3) == ([2.0], [2.0])
    assert pause(UnavailableError("m"), 3, chance=0.25) == ([0.5], [0.5])
    assert pause(ThrottledError("m", retry_after=7.0), 1) == ([7.0], [7.0])


@pytest.mark.parametrize(("error", "failures"), [(RefusedError("m"), 1), (UnavailableError("m"), 9)])
def test_when_it_is_time_to_give_up_the_error_itself_is_raised_at_once(error, failures):
    with pytest.raises(type(error)) as caught:
        pause(error, failures)
    assert caught.value is error


def test_a_pause_ends_when_there_is_a_place_in_the_budget():
    told, slept = pause(UnavailableError("m"), 1, taken=2)
    assert told == [0.5]
    assert slept == [0.5, 59.5]


def test_who_would_wait_too_long_for_a_place_gives_up():
    error = UnavailableError("m")
    with pytest.raises(UnavailableError) as caught:
        pause(error, 1, taken=2, since=120.5, patience=180.0)
    assert caught.value is error
    assert pause(error, 1, taken=2, since=119.5, patience=180.0)[1] == [0.5, 59.5]
