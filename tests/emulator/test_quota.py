import random

from tagferry.emulator.quota import SECOND, Window


def test_a_call_exactly_one_second_later_shares_the_second():
    window = Window(2)
    assert [window.admit(stamp) for stamp in (0, 0, SECOND)] == [True, True, False]
    assert window.admit(SECOND + 1)
    assert (window.arrivals, window.refused, window.max_in_any_second) == (4, 1, 3)


def test_a_refused_call_uses_no_quota():
    window = Window(1)
    assert window.admit(0)
    assert not any(window.admit(stamp) for stamp in range(1, SECOND, SECOND // 50))
    assert window.admit(SECOND + 1)


def test_against_counting_by_hand():
    chance = random.Random(1)
    for _ in range(50):
        limit = chance.randrange(1, 5)
        stamps = sorted(chance.randrange(0, 20) * SECOND // 4 for _ in range(60))
        window = Window(limit)
        admitted = [stamp for stamp in stamps if window.admit(stamp)]
        most = max(sum(0 <= stamp - first <= SECOND for stamp in stamps) for first in stamps)
        assert window.max_in_any_second == most
        assert all(sum(0 <= other - stamp <= SECOND for other in admitted) <= limit for stamp in admitted)
        assert window.refused == len(stamps) - len(admitted)
