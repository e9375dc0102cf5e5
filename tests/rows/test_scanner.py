import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagferry.rows.dialect import BACKSLASH, RFC4180, Dialect
from tagferry.rows.lines import count_lines
from tagferry.rows.scanner import Scanner
from tests.rows import oracle

HOSTILE = st.text(alphabet='a,"\\\n\r\t é\x00', max_size=24)


def scan(text, dialect, *, final=True):
    """Return the cells of the records before the first bad one, and whether there is a bad one."""
    scanner, found, at = Scanner(dialect), [], 0
    while at < len(text):
        record = scanner.record(text, at, final=final)
        if record is None or record.problem is not None:
            return found, True
        found.append(record.cells)
        assert record.end > at
        at = record.end
    return found, False


@pytest.mark.parametrize("dialect", [RFC4180, BACKSLASH, Dialect("\t", "\\"), Dialect("\t")])
@given(text=HOSTILE)
@settings(max_examples=400)
@example(text="a\\\r\nb\n")
@example(text="a\\\rb\r")
@example(text='"a\\')
@example(text="x,\\")
@example(text='"a"\\,b\n')
@example(text='"a""')
@example(text='a\n""')
def test_it_takes_what_the_standard_library_takes_and_refuses_what_that_refuses(dialect, text):
    found, bad = scan(text, dialect)
    expected, refused = oracle.records(text, dialect) if text else ([], False)
    assert [[cell or "" for cell in cells] for cells in found] == expected
    assert bad == refused


def test_an_empty_cell_without_quotes_is_a_null():
    assert scan(',"",a\n', RFC4180) == ([[None, "", "a"]], False)
    assert scan('""\n\n', RFC4180) == ([[""], []], False)


def test_a_record_whose_end_may_come_is_not_given():
    scanner = Scanner(BACKSLASH)
    for text in ('"a', '"a""', "a\\", "a", 'x,"a\nb', "a,", '"a"', "a,\\"):
        assert scanner.record(text, 0, final=False) is None, text
    assert scanner.record("a\n", 0, final=False) is not None


def test_behind_a_malformed_record_the_next_line_is_read():
    record = Scanner(RFC4180).record('"a"b,"c\nd,e\n', 0, final=True)
    assert record is not None
    assert record.problem == "a quoted cell goes on behind its closing quote"
    assert record.value == '"a"'
    assert record.end == 8


def test_a_record_with_bytes_that_are_not_utf8_is_bad():
    text = b"a,\xff\n".decode(errors="surrogateescape")
    record = Scanner(RFC4180).record(text, 0, final=True)
    assert record is not None
    assert record.problem == "the record is not UTF-8"


def test_a_long_quoted_cell_takes_no_recursion_and_no_time():
    cell = 'a""' * 500_000 + "\\x" * 500_000
    record = Scanner(BACKSLASH).record(f'"{cell}",b\n', 0, final=False)
    assert record is not None
    assert record.cells == ['a"' * 500_000 + "x" * 500_000, "b"]


@given(text=HOSTILE)
def test_lines_are_those_of_the_standard_library(text):
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    assert count_lines(text, 0, len(text)) == lines
