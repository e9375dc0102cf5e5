import pytest

from tagferry.cli.pace import Pace


def test_nothing_is_told_of_the_first_second():
    pace = Pace()
    assert pace.rate(0.0, 0) is None
    pace.note(0.0, 0)
    pace.note(0.7, 10_000)
    assert pace.rate(0.7, 10_000) is None
    assert pace.eta(0.7, 10_000, 20_000) is None


def test_calls_that_come_in_bursts_never_look_like_more_than_is_allowed():
    pace = Pace()
    seen = []
    for tick in range(80):
        # 100 in the first 0.7 s of each second, looked at ten times a second.
        now, count = tick / 10, 10_000 * (tick // 10) + min(10_000, 10_000 * (tick % 10) // 7)
        pace.note(now, count)
        seen.append(pace.rate(now, count))
    assert [rate for rate in seen if rate is not None] == [pytest.approx(10_000)] * 70


def test_the_speed_is_that_of_the_last_ten_seconds_and_falls_when_nothing_comes():
    pace = Pace()
    for second in range(30):
        pace.note(float(second), 5 * second if second < 20 else 100)
    assert pace.rate(29.0, 100) == pytest.approx(10 / 11)
    assert pace.rate(39.0, 100) == pytest.approx(10 / 21)
    assert pace.eta(29.0, 100, 200) == pytest.approx(110)
    assert pace.eta(29.0, 200, 200) is None
