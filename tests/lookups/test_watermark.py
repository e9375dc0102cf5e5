from hypothesis import given
from hypothesis import strategies as st

from tagferry.lookups.watermark import Watermark


def test_numbers_done_in_order_leave_nothing_above():
    marks = Watermark()
    for number in range(5):
        assert number not in marks
        marks.add(number)
        assert number in marks
        assert (marks.low, marks.above) == (number + 1, [])


def test_a_gap_holds_the_mark_until_it_is_filled():
    marks = Watermark()
    for number in (3, 1, 2):
        marks.add(number)
    assert (marks.low, marks.above) == (0, [1, 2, 3])
    assert 0 not in marks
    marks.add(0)
    assert (marks.low, marks.above) == (4, [])


def test_it_goes_on_where_an_earlier_run_was():
    marks = Watermark(5, [7, 9])
    assert [number for number in range(4, 11) if number in marks] == [4, 7, 9]
    marks.add(5)
    assert (marks.low, marks.above) == (6, [7, 9])
    marks.add(6)
    assert (marks.low, marks.above) == (8, [9])


@given(st.permutations(range(30)), st.integers(0, 30))
def test_in_any_order_it_knows_what_is_done(order, until):
    marks = Watermark()
    for number in order[:until]:
        marks.add(number)
    done = set(order[:until])
    assert {number for number in range(40) if number in marks} == done
    assert done == set(range(marks.low)) | set(marks.above)
    assert marks.low not in done
    assert all(number > marks.low for number in marks.above)
