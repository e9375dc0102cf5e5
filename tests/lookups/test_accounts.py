"""What counts as an account, and what is said of what does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagferry.errors import ConfigError, RecordError
from tagferry.lookups.accounts import (
    LONGEST,
    check_account,
    check_accounts,
    check_accounts_argument,
    check_texts,
    clean_lines,
)

REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
SOUND = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufeff"))
SOUND_LINES = st.lists(st.one_of(SOUND, SOUND.map(lambda text: f" {text}\t"), st.just("")))


@pytest.mark.parametrize(
    ("block", "accounts"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a", [b"a"], id="no-end"),
        pytest.param(b"a\nb\n", [b"a", b"b"], id="lf"),
        pytest.param(b"a\r\nb\r\n", [b"a", b"b"], id="crlf"),
        pytest.param(b"a\r\nb\nc\r", [b"a", b"b", b"c"], id="mixed-ends"),
        pytest.param(b"\na\n", [b"a"], id="blank-first"),
        pytest.param(b"a\n\n\r\n \n\t\nb\n\n", [b"a", b"b"], id="blanks"),
        pytest.param(b" a", [b"a"], id="space-before"),
        pytest.param(b"a ", [b"a"], id="space-behind"),
        pytest.param(b"x\n a\nb \n\tc\t \r\n", [b"x", b"a", b"b", b"c"], id="spaces"),
        pytest.param(b"a b\n", [b"a b"], id="space-inside"),
        pytest.param(b"@RBT#1\n-_.\n", [b"@RBT#1", b"-_."], id="signs"),
        pytest.param("用户一\né\n".encode(), ["用户一".encode(), "é".encode()], id="non-ascii"),
        pytest.param(
            "a\u2028b\n\xa0\n".encode(), ["a\u2028b".encode(), b"\xc2\xa0"], id="wide-space-is-data"
        ),
        pytest.param(b"x" * LONGEST, [b"x" * LONGEST], id="longest"),
        pytest.param(b"x" * LONGEST + b"  \r\n", [b"x" * LONGEST], id="longest-and-blanks"),
        pytest.param(b" " * LONGEST * 2 + b"\na\n", [b"a"], id="long-blank"),
    ],
)
def test_lines_are_cleaned(block, accounts):
    assert clean_lines(block, 1) == accounts


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        pytest.param(b"abc\xff", r"is not UTF-8: 'abc\xff'", "as UTF-8", id="not-utf-8"),
        pytest.param("é".encode("latin-1"), r"is not UTF-8: '\xe9'", "as UTF-8", id="latin-1"),
        pytest.param(b"\xed\xa0\x80", r"is not UTF-8: '\xed\xa0\x80'", "as UTF-8", id="surrogate"),
        pytest.param(b"a\x07b", r"a control character (\x07): 'a\x07b'", "remove it", id="bell"),
        pytest.param(b"a\tb", r"a control character (\t): 'a\tb'", "remove it", id="tab-inside"),
        pytest.param(b"a\rb", r"a control character (\r): 'a\rb'", "with LF", id="cr-inside"),
        pytest.param(b"a\x00", r"a control character (\x00): 'a\x00'", "as UTF-8", id="nul"),
        pytest.param(b"a\x7f", r"a control character (\x7f)", "remove it", id="del"),
        pytest.param("a\x85b".encode(), r"a control character (\x85): 'a\x85b'", "remove it", id="c1"),
        pytest.param("\ufeffa".encode(), r"a byte order mark (\ufeff): '\ufeffa'", "seam", id="mark"),
        pytest.param(b"x" * (LONGEST + 1), "has 1025 bytes: '" + "x" * 40 + "…'", "at most 1024", id="long"),
        pytest.param(b"x" * 5000, "has 5000 bytes", "one account a line", id="longer"),
        pytest.param("用".encode() * 400, "has 1200 bytes: '" + "用" * 40 + "…'", "1024", id="long-wide"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["lf", "crlf", "no-end"])
def test_a_bad_line_is_named_by_its_number_and_shown(line, message, hint, end):
    block = b"good\n\n  \r\ngood too\r\n" + line + end
    with pytest.raises(RecordError) as caught:
        clean_lines(block, 11)
    assert str(caught.value).startswith("line 15 ")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.message.isprintable()


def test_the_first_of_several_bad_lines_is_named():
    with pytest.raises(RecordError, match=r"^line 2 "):
        clean_lines(b"ok\nb\x01\n\xff\n", 1)


@given(SOUND_LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_equal_those_cleaned_one_by_one(lines, end, ended):
    block = end.join(lines) + (end if ended else "")
    expected = [line.strip(" \t\r").encode() for line in block.split("\n")]
    assert clean_lines(block.encode(), 1) == [line for line in expected if line]


@given(st.binary(max_size=50), st.integers(1, 10**9))
@example(b"a\n\xff", 7)
@example(b"\xc2\x85", 1)
def test_any_bytes_are_either_accounts_or_a_bad_line(block, first):
    """An oracle that looks at each line alone finds the same, and the same first bad line."""
    expected, bad = [], None
    for number, raw in enumerate(block.split(b"\n"), first):
        line = raw.strip(b" \t\r")
        try:
            wrong = REFUSED.search(line.decode())
        except UnicodeDecodeError:
            wrong = True
        if wrong:
            bad = number
            break
        if line:
            expected.append(line)
    if bad is None:
        assert clean_lines(block, first) == expected
    else:
        with pytest.raises(RecordError, match=f"^line {bad} "):
            clean_lines(block, first)


@given(st.lists(st.integers(0, 2 * LONGEST), max_size=20))
@example([LONGEST + 1, 1])
@example([510, LONGEST + 1])
@example([3, LONGEST, LONGEST])
def test_a_long_line_is_found_wherever_it_stands(sizes):
    block = b"".join(b"x" * size + b"\n" for size in sizes)
    long = [number for number, size in enumerate(sizes, 1) if size > LONGEST]
    if long:
        with pytest.raises(RecordError, match=f"^line {long[0]} has {sizes[long[0] - 1]} bytes"):
            clean_lines(block, 1)
    else:
        assert [len(account) for account in clean_lines(block, 1)] == [size for size in sizes if size]


@pytest.mark.parametrize("account", ["a", " a ", "\xa0", "用户", "a b", "\u2028", "x" * LONGEST])
def test_an_account_of_a_caller_is_taken_as_it_is(account):
    assert check_account(account, 1) == account.encode()
    assert check_accounts([account], 1) == [account.encode()]


@pytest.mark.parametrize(
    ("account", "message"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("a\n", r"a control character (\n): 'a\n'"),
        ("a\tb", r"(\t)"),
        ("\x85", r"(\x85)"),
        ("\ufeffa", "a byte order mark"),
        ("a\ud800", r"half a character (\ud800): 'a\ud800'"),
        ("x" * (LONGEST + 1), "has 1025 bytes"),
        ("é" * LONGEST, "has 2048 bytes"),
    ],
)
def test_an_account_that_cannot_be_one_is_named_by_its_position(account, message):
    for check in (
        lambda: check_account(account, 8),
        lambda: check_accounts(["a", "b", account, ""], 6),
        lambda: check_texts(["a", "b", account, ""], iter([1, 4, 8, 9]), "account number"),
    ):
        with pytest.raises(RecordError) as caught:
            check()
        assert caught.value.message.startswith("account number 8 ")
        assert message in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    ("account", "name"), [(7, "int"), (None, "NoneType"), (b"a", "bytes"), (1.5, "float")]
)
def test_an_account_that_is_no_text_is_the_callers_mistake(account, name):
    for check in (lambda: check_account(account, 3), lambda: check_accounts(["a", account], 2)):
        with pytest.raises(ConfigError) as caught:
            check()
        assert caught.value.message == f"account number 3 is of type {name}"
        assert "str()" in caught.value.hint


def test_a_bad_text_before_one_that_is_none_is_named_first():
    with pytest.raises(RecordError, match=r"^account number 1 "):
        check_accounts(["", 7], 1)


@given(st.lists(SOUND.filter(lambda text: text.strip(" ")), max_size=30))
def test_many_accounts_are_each_taken_as_one(accounts):
    assert check_accounts(accounts, 1) == [check_account(account, 1) for account in accounts]


def test_a_subclass_of_str_is_a_text():
    class Name(str):
        __slots__ = ()

    assert check_accounts([Name("a")], 1) == [b"a"]


@pytest.mark.parametrize(
    ("accounts", "name"), [("abc", "str"), (b"abc", "bytes"), (bytearray(b"a"), "bytearray")]
)
def test_a_single_text_is_no_collection_of_accounts(accounts, name):
    with pytest.raises(TypeError, match=rf"one {name}; .*\[account\]"):
        check_accounts_argument(accounts)


@pytest.mark.parametrize("accounts", [None, 5, object()])
def test_what_cannot_be_iterated_over_is_refused(accounts):
    with pytest.raises(TypeError, match="iterable"):
        check_accounts_argument(accounts)


async def _stream():
    yield "a"


@pytest.mark.parametrize(
    "accounts", [[], ("a",), {"a": 1}, iter("a"), _stream()], ids=lambda one: type(one).__name__
)
def test_any_iterable_is_a_collection_of_accounts(accounts):
    check_accounts_argument(accounts)
