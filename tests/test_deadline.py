"""The time for a whole: over at its end, never before, and only its own end is its error."""

import asyncio
import math

import anyio
import pytest

from tagferry.deadline import within
from tagferry.errors import ConfigError, DeadlineError
from tests.virtual import run_virtual


async def take(seconds, result="done"):
    await asyncio.sleep(seconds)
    return result


def run(deadline, work):
    return run_virtual(lambda: within(deadline, work, name="tag x", service="s"))


@pytest.mark.parametrize("deadline", [None, 5, 5.0, math.inf])
def test_what_is_done_in_time_is_returned(deadline):
    assert run(deadline, lambda: take(4.9)) == "done"


def test_without_a_deadline_there_is_no_bound():
    assert run(None, lambda: take(1_000_000)) == "done"


def test_what_takes_too_long_is_stopped_and_says_so():
    ended = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(asyncio.get_running_loop().time())

    async def main():
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineError, match=r"tag x was not done within 2\.5 s") as caught:
            await within(2.5, work, name="tag x", service="s")
        assert ended == [began + 2.5]
        return caught.value

    error = run_virtual(main)
    assert error.service == "s"
    assert "longer deadline" in error.hint
    assert isinstance(error, TimeoutError)
    assert error.__context__ is None


@pytest.mark.parametrize("deadline", [0, -1, -math.inf, math.nan, 0.0])
def test_a_deadline_that_is_none_is_refused_before_anything_is_done(deadline):
    begun = []

    async def work():
        begun.append(1)

    with pytest.raises(ConfigError, match="not positive") as caught:
        run(deadline, work)
    assert "None" in caught.value.hint
    assert begun == []


def test_another_time_out_is_not_taken_for_this_one():
    async def work():
        async with asyncio.timeout(1):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError) as caught:
        run(5, work)
    assert not isinstance(caught.value, DeadlineError)


def test_an_error_of_the_work_stays_what_it_is():
    async def work():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(5, work)


def test_a_cancellation_from_outside_stays_one_even_at_the_end_of_the_time():
    async def main():
        task = asyncio.create_task(within(2, lambda: take(60), name="x", service="s"))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        late = asyncio.create_task(within(2, slow_to_stop, name="x", service="s"))
        # The time is over, and the work is still about to end, when someone cancels all of it.
        await asyncio.sleep(2.5)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late

    async def slow_to_stop():
        try:
            await asyncio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(1)

    run_virtual(main)


def test_work_that_ends_in_spite_of_the_deadline_counts():
    """It was cancelled at its very last step: what it has is no less done."""

    async def work():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"

    assert run(1, work) == "done"
