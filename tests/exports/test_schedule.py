"""The delays between two questions about one job."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.exports.schedule import PollSchedule

chances = st.floats(0, 1)


def delays(count, chance):
    schedule, found = PollSchedule(), [None]
    for _ in range(count):
        found.append(schedule.after(found[-1], chance()))
    return found[1:]


@given(st.floats(0.01, 10), st.floats(10, 100), st.lists(chances, min_size=1, max_size=50))
def test_each_delay_lies_between_the_floor_and_three_times_the_one_before_and_the_cap(floor, cap, draws):
    schedule = PollSchedule(floor=floor, cap=cap)
    before, delay = floor, None
    for draw in draws:
        delay = schedule.after(delay, draw)
        assert floor <= delay <= min(cap, max(3 * before, floor)) * (1 + 1e-12)
        before = delay


@pytest.mark.parametrize(
    ("chance", "first"), [(0.0, [1, 1, 1, 1, 1, 1]), (1.0, [3, 9, 27, 30, 30, 30]), (0.5, [2, 3.5, 5.75])]
)
def test_the_delays_are_those_of_decorrelated_jitter(chance, first):
    assert delays(len(first), lambda: chance) == first


@pytest.mark.parametrize(
    ("age", "longest"), [(0, 3), (14, 3), (15, 3), (20, 4), (100, 20), (150, 30), (9000, 30)]
)
def test_no_delay_is_longer_than_a_part_of_the_age(age, longest):
    assert PollSchedule().after(20, 1.0, age) == pytest.approx(longest)
    assert PollSchedule().after(20, 0.0, age) == 1


def test_jobs_that_began_together_drift_apart():
    chance = random.Random(1).random
    polls = [sum(delays(6, chance)) for _ in range(500)]
    assert statistics.stdev(polls) > 5
    assert max(delays(500, chance)) <= 30
