"""The ways to wait for many exports, in virtual time."""

import pytest

from benchmarks.poller_task import RATE, WAYS, every, oracle, ours, run

DURATIONS = [5.0, 40.0, 3.0, 90.0, 12.0]


@pytest.mark.parametrize("way", [oracle(hurry=True), oracle(hurry=False), ours, every(5)])
def test_a_way_knows_every_export_after_its_end_and_keeps_the_quota(way):
    found = run(way, DURATIONS, seed=1)
    assert found["late"] > 0
    assert found["all"] > 90
    assert found["each"] > sum(DURATIONS) / len(DURATIONS)
    assert found["polls"] >= 2 * len(DURATIONS)
    assert found["most"] <= RATE


def test_an_oracle_asks_twice_and_is_late_by_the_way_of_a_poll_alone():
    found = run(oracle(hurry=True), [60.0], seed=1)
    assert found["polls"] == 2
    assert 0 < found["late"] < 0.2


def test_an_interval_asks_until_the_job_is_done():
    found = run(every(5), [12.0], seed=1)
    # At 0, 5, 10 and 15 seconds, and a little more for each.
    assert found["polls"] == 4
    assert 3 < found["late"] < 3.7


def test_the_same_draw_is_the_same_run():
    assert run(WAYS["tagferry"], DURATIONS, seed=4) == run(ours, DURATIONS, seed=4)
