"""The fast way says what the parser says, or nothing."""

import datetime as dt
import decimal
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagferry.rows.dialect import BACKSLASH, RFC4180
from tagferry.rows.mapping import bind, bind_cells
from tagferry.rows.options import ReadOptions
from tagferry.rows.parser import Parser
from tagferry.rows.transcript import Transcript
from tests.rows.oracle import feed


class Two(msgspec.Struct):
    a: str
    b: str | None


class Other(msgspec.Struct):
    b: int | None
    a: str = ""


class One(msgspec.Struct):
    b: float | None


CELLS = ["", "", "a", "1", "-0", "1.5", "null", '"a"', '"1"', '"null"', '"a,b"', '""', '"\n"', '","', '"[1]"']
CELLS += [
    '" x"',
    '"x "',
    ' "a"',
    '"a" ',
    "],[",
    '"],["',
    '"é"',
    '"a\tb"',
    "\\",
    '"\\""',
    '"a""b"',
    '"a"b',
    "[]",
]
LINES = st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3).map(",".join), max_size=5)
HOSTILE = st.text(alphabet='a1,,""\n\n []\\\té', max_size=40)
TEXTS = (LINES.map("\n".join) | HOSTILE).map(lambda text: text + "\n")


def both(binding, dialect, text):
    """Return what the fast way says, and what the parser says of all records but blank lines."""
    rows, done, lines = Parser(dialect, binding).parse(text)
    fast = Parser(dialect, binding).transcribe(text.encode())
    return fast, rows if (done, lines) == (len(text), text.count("\n")) else None


@pytest.mark.parametrize("dialect", [RFC4180, BACKSLASH])
@pytest.mark.parametrize("wanted", [None, Two, Other, One])
@given(text=TEXTS)
@settings(max_examples=400)
@example(text='"a","\n"\n"b"],["c"\n')
@example(text='"a" ,"b"\n')
@example(text='"a",",,"\n')
@example(text='"a",,\n')
@example(text='null,"b"\n')
@example(text='"a",null\n"b",\n')
@example(text='"a\n,","b"\n')
@example(text="\n\n")
def test_the_fast_way_says_what_the_parser_says(dialect, wanted, text):
    fast, slow = both(bind(wanted, ["a", "b"]), dialect, text)
    assert fast is None or fast == slow


@given(text=TEXTS.map(lambda text: text.replace(",", "")))
@settings(max_examples=300)
def test_files_of_one_column_too(text):
    fast, slow = both(bind_cells(["a"]), RFC4180, text)
    assert fast is None or fast == slow


KINDS = [int, float, bool, int | None, float | None, bool | None, int | str, Any, bytes]
KINDS += [dt.date, dt.datetime, decimal.Decimal, uuid.UUID, Literal["1", "a"], Literal[1, 2]]
KINDS += [
    Annotated[int, msgspec.Meta(gt=3)],
    Annotated[str, msgspec.Meta(max_length=2)],
    msgspec.Raw,
    msgspec.Raw | None,
]
VALUES = [
    "7",
    "7.0",
    "1e2",
    "07",
    "+7",
    " 7",
    "7 ",
    "-0",
    "1_0",
    "٧",
    "",
    "null",
    "Null",
    "true",
    "TRUE",
    "0",
    "1",
]
VALUES += [
    "nan",
    "inf",
    "1.5",
    "1E5",
    ".5",
    "5.",
    "9" * 30,
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "0x1",
    "abc",
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_texts_become_values_of_all_types_alike(kind):
    wanted = msgspec.defstruct("Wanted", [("a", kind)])
    for value in VALUES:
        for form in (f'"{value}"\n', f"{value}\n"):
            fast, slow = both(bind(wanted, ["a"]), RFC4180, form)
            assert fast is None or str(fast) == str(slow)


@pytest.mark.parametrize(
    "text",
    [
        '"a","b,c"\n"d","e"\n',
        "a,b\nc,d\n",
        ",b\nc,\n",
        '"a",\n,"b"\n"",""\n',
        '"a","b"\r\n"c","d"\r\n',
        '"渠道 1","[a] b"\n',
    ],
)
def test_ordinary_texts_go_the_fast_way(text):
    fast, slow = both(bind(None, ["a", "b"]), BACKSLASH, text)
    assert fast is not None
    assert fast == slow


def test_of_many_columns_some_are_picked():
    class Wide(msgspec.Struct):
        c: int
        a: str

    class Single(msgspec.Struct):
        b: str

    text = b'"x","y","1"\n"z","","2"\n'
    assert Parser(RFC4180, bind(Wide, "abc")).transcribe(text) == [Wide(1, "x"), Wide(2, "z")]
    assert Parser(RFC4180, bind(Single, "abc")).transcribe(text) == [Single("y"), Single("")]


def test_two_fields_of_one_column_have_each_their_type():
    class Twice(msgspec.Struct):
        id_a: str
        ids_a: int

    rows, error, _ = feed(ReadOptions(Twice, dialect="cdp"), [b'd_a\n"7"\n'], file=Path("x.csv"))
    assert (rows, error) == ([Twice("7", 7)], None)


def test_what_the_users_type_refuses_is_looked_at_by_the_parser():
    class Checked(msgspec.Struct):
        a: str

        def __post_init__(self):
            if self.a == "x":
                raise ValueError("no x here")

    assert Parser(RFC4180, bind(Checked, "a")).transcribe(b"y\nx\n") is None
    rows, error, _ = feed(ReadOptions(Checked, dialect="cdp"), [b"a\n", b"y\nx\n"])
    assert (rows, str(error)) == ([Checked("y")], "x.csv, line 3: no x here")


def test_the_separator_is_a_comma():
    binding = bind(None, ["a", "b"])
    tabs = msgspec.structs.replace(RFC4180, delimiter="\t")
    assert Parser(tabs, binding).transcribe(b"a\tb\n") is None


def test_where_it_was_in_vain_it_is_tried_less_and_less():
    transcript = Transcript([str])
    tried = []
    for number in range(200):
        # What it can read, it reads unless it is not tried.
        if transcript.read(b'"a\\""\n') is None and not transcript._skipping - transcript._skipped:
            tried.append(number)
    assert tried == [0, 2, 6, 14, 30, 62, 126, 191]
    for _ in range(64):
        transcript.read(b'"a"\n')
    assert transcript.read(b'"a"\n') == [("a",)]
    assert transcript.read(b'"b"\n') == [("b",)]
