"""Outcomes as lines, read back by parsers of the standard library."""

import csv
import io
import json
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError
from tagferry.lookups.format import Chunk, find_format, render
from tagferry.lookups.outcome import AccountError, AccountFailed, Answers, Missing, Tagged

JSONL = find_format(PurePath("x.jsonl"))
CSV = find_format(PurePath("x.csv"))
MIXED = Answers(
    [
        Tagged("a", ("x", "y")),
        AccountFailed("b", AccountError(90012, "not registered")),
        Missing("c"),
        Tagged("d", ()),
        AccountFailed("e", AccountError(None, "no reason given")),
    ],
    missing=1,
    failed=2,
)
DEAD = b"""{"account":"b","code":90012,"message":"not registered"}
{"account":"e","code":null,"message":"no reason given"}
"""


def test_json_lines_as_they_are_documented():
    assert render(MIXED, JSONL) == Chunk(
        b'{"account":"a","tags":["x","y"]}\n{"account":"c","tags":null}\n{"account":"d","tags":[]}\n',
        DEAD,
        tagged=2,
        missing=1,
        failed=2,
    )
    assert JSONL.head == b""


def test_csv_tells_no_tags_from_an_unknown_account():
    chunk = render(MIXED, CSV)
    assert chunk.answers == b'a,"[""x"",""y""]"\nc,\nd,[]\n'
    assert chunk.dead == DEAD
    assert CSV.head == b"account,tags\n"


@pytest.mark.parametrize("form", [JSONL, CSV])
def test_nothing_makes_no_lines(form):
    assert render(Answers([]), form) == Chunk(b"", b"", 0, 0, 0)
    failed = Answers([AccountFailed("a", AccountError(1, "m"))], failed=1)
    assert render(failed, form).answers == b""


@pytest.mark.parametrize(
    ("name", "form"), [("a.jsonl", JSONL), ("A.JSONL", JSONL), ("a.b.csv", CSV), ("a.Csv", CSV)]
)
def test_the_ending_of_the_name_chooses(name, form):
    assert find_format(PurePath("somewhere", name)) is form


@pytest.mark.parametrize(
    ("name", "says"), [("a.json", "ends in .json"), ("tags", "has no ending"), (".csv", "ending")]
)
def test_another_ending_is_refused_with_those_there_are(name, says):
    with pytest.raises(ConfigError, match=says) as caught:
        find_format(PurePath(name))
    assert ".jsonl, .csv or .parquet" in str(caught.value)


# Whatever an account may be (`tagferry.lookups.accounts`), and any tag that a service can send.
ACCOUNTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
TAGS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3).map(tuple)
OUTCOMES = st.one_of(
    st.builds(Tagged, ACCOUNTS, TAGS),
    st.builds(Missing, ACCOUNTS),
    st.builds(
        AccountFailed,
        ACCOUNTS,
        st.builds(AccountError, st.one_of(st.none(), st.integers(0, 99999)), st.text()),
    ),
)


@given(st.lists(OUTCOMES))
def test_every_account_is_on_one_line_that_other_parsers_read(outcomes):
    missing = sum(isinstance(one, Missing) for one in outcomes)
    failed = sum(isinstance(one, AccountFailed) for one in outcomes)
    answered = [
        (one.account, None if one.tags is None else list(one.tags))
        for one in outcomes
        if not isinstance(one, AccountFailed)
    ]
    for form in (JSONL, CSV):
        chunk = render(Answers(list(outcomes), missing, failed), form)
        assert (chunk.tagged, chunk.missing, chunk.failed) == (len(answered) - missing, missing, failed)
        assert chunk.tagged + chunk.missing + chunk.failed == len(outcomes)
        dead = [json.loads(line) for line in chunk.dead.split(b"\n")[:-1]]
        assert dead == [
            {"account": one.account, "code": one.error.code, "message": one.error.message}
            for one in outcomes
            if isinstance(one, AccountFailed)
        ]
        assert _read(form, chunk.answers) == answered


def _read(form, lines):
    if form is JSONL:
        rows = [json.loads(line) for line in lines.split(b"\n")[:-1]]
        return [(row["account"], row["tags"]) for row in rows]
    rows = csv.reader(io.StringIO(lines.decode(), newline=""), strict=True)
    return [(account, json.loads(tags) if tags else None) for account, tags in rows]
