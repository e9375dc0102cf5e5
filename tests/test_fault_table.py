"""The table of faults names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "faults.md"


def test_every_test_of_the_table_exists():
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TABLE.read_text(encoding="utf-8"))
    assert len(named) > 80
    for file, name in named:
        text = (TESTS / file.removeprefix("tests/")).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{file} has no {name}"


def test_every_fault_that_was_taken_on_has_a_row():
    rows = re.findall(r"^\| ([\d, ]+) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    numbers = {int(number) for row in rows for number in row.split(",")}
    assert numbers == {*range(1, 91)}
