"""The rate of calls that come steadily, or in bunches."""

import pytest

from benchmarks.limiter import rate_of
from benchmarks.process import BenchmarkError

MS = 1_000_000


@pytest.mark.parametrize("count", [210, 300, 345, 1090])
def test_a_steady_rate_is_told_whatever_the_end_cuts_off(count):
    assert rate_of([number * 10 * MS for number in range(count)]) == pytest.approx(100)


@pytest.mark.parametrize("count", [210, 300, 345, 1090])
def test_bunches_of_a_hundred_have_the_rate_of_their_period(count):
    times = [number // 100 * 1040 * MS + number % 100 * 7 * MS for number in range(count)]
    assert rate_of(times) == pytest.approx(100 / 1.04)


def test_the_first_hundred_does_not_count():
    times = [0] * 100 + [2000 * MS + number * 20 * MS for number in range(400)]
    assert rate_of(times) == pytest.approx(50)


def test_too_few_calls_have_no_rate():
    with pytest.raises(BenchmarkError, match="200 accepted calls are too few"):
        rate_of(range(200))
