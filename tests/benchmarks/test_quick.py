import json

import pytest

from benchmarks.figures import Aim, Figure, Pair, Pairing, Table, Usage
from benchmarks.report import as_json, as_markdown, as_text


def usage(wall, cpu=1.0):
    return Usage(wall, cpu, 50_000_000.0)


PAIRING = Pairing(
    "curl", [Pair(usage(1.0), usage(2.0)), Pair(usage(9.0), usage(6.0)), Pair(usage(3.0), usage(3.0))]
)
TABLE = Table(
    "download",
    "a title",
    ("", "wall s"),
    [["tagferry", "1.00"], ["a|b", "22.00"]],
    [Aim("wall", 1.0, 1.0), Aim("CPU", 1.4, 1.3), Aim("smoke", 9.0, 1.0, judged=False)],
    {"runs": [1]},
    ["a note"],
)


def test_a_figure_is_the_median_with_its_spread():
    assert Figure.of([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    assert Figure.of([4.0, 1.0]) == Figure(2.5, 1.0, 4.0)
    assert Figure.of([5.0]).text() == "5.00 (5.00-5.00)"
    assert Figure(2e6, 1e6, 3e6).text(1e6, 0) == "2 (1-3)"
    with pytest.raises(ValueError, match="no values"):
        Figure.of([])


def test_a_ratio_is_taken_pair_by_pair():
    # The ratio of the medians would be 3 / 3; those of the pairs are 0.5, 1.5 and 1.
    assert PAIRING.ratio(lambda of: of.wall) == Figure(1.0, 0.5, 1.5)
    assert PAIRING.ratio(lambda of: of.cpu) == Figure(1.0, 1.0, 1.0)


def test_a_missed_aim_is_called_so():
    assert [aim.verdict for aim in TABLE.aims] == ["met", "MISSED", "not judged"]
    for text in (as_text([TABLE], {}), as_markdown([TABLE], {}, [])):
        assert "aim MISSED: CPU 1.40, at most 1.30" in text
        assert "aim met: wall 1.00, at most 1.00" in text
        assert "note: a note" in text


def test_columns_stand_below_each_other():
    lines = as_text([TABLE], {"python": "3"}).splitlines()
    assert lines[0] == "python: 3"
    header, rule, first, second = lines[4:8]
    assert header == "          wall s"
    assert rule == "--------  ------"
    assert first == "tagferry    1.00"
    assert second == "a|b        22.00"


def test_markdown_is_a_page_that_says_how_it_was_written_and_escapes_bars():
    lines = as_markdown([TABLE], {"python": "3"}, ["download", "--markdown", "a b.md"]).splitlines()
    assert lines[0] == "# Benchmarks"
    assert lines[5].endswith("by hand, by `python -m benchmarks download --markdown 'a b.md'`.")
    assert "- python: 3" in lines
    assert "## download: a title" in lines
    assert "|  | wall s |" in lines
    assert "| a\\|b | 22.00 |" in lines


def test_json_has_every_run():
    found = json.loads(as_json([TABLE], {"python": "3"}))
    assert found["machine"] == {"python": "3"}
    (table,) = found["benchmarks"]
    assert table["raw"] == {"runs": [1]}
    assert table["aims"][1] == {"text": "CPU", "value": 1.4, "at_most": 1.3, "verdict": "MISSED"}
