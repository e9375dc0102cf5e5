import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.emulator import tags_of
from tagferry.emulator.tencent_people import (
    NUMBERS,
    POOL,
    RULED,
    find_slot,
    plain_tails,
    read_rule,
    ruled_tail,
    write_tail,
)

WORDS = ("ghost", "poison", "null", "tagless", "object", "single", "number", "many", "huge", "code90012-")


def test_most_have_tags_some_have_none_and_few_are_unknown():
    tags = [tags_of(f"user{number:06d}") for number in range(20_000)]
    sizes = Counter(-1 if one is None else len(one) for one in tags)
    assert set(sizes) == {-1, 0, 1, 2, 3, 4, 5, 6}
    assert 20 < sizes[-1] < 60
    assert 2200 < sizes[0] < 2800
    assert min(sizes[count] for count in (1, 2, 3, 4, 5, 6)) > 1000
    assert {tag for one in tags for tag in one or ()} == set(POOL)
    assert all(len(set(one)) == len(one) for one in tags if one)
    assert max(len(tag.encode()) for tag in POOL) == 48


def test_they_follow_from_the_name_and_the_seed():
    names = [f"user{number}" for number in range(100)]
    first, again, other = ([tags_of(name, seed) for name in names] for seed in (1, 1, 2))
    assert first == again
    assert sum(one != two for one, two in zip(first, other, strict=True)) > 70
    assert tags_of("user1", -1) == tags_of("user1", (1 << 32) - 1)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, (1 << 32) - 1))
def test_what_is_written_is_the_truth(account, seed):
    if account[:4] not in RULED:
        tail = plain_tails()[find_slot(account, seed)]
        told = None if tail is None else json.loads('{"To_Account":""' + tail)["Tags"]
        assert told == tags_of(account, seed)


@pytest.mark.parametrize(
    ("account", "rule"),
    [
        ("ghost", ("ghost", 0, None)),
        ("ghost-7", ("ghost", 0, None)),
        ("ghos", None),
        ("Ghost", None),
        ("a ghost", None),
        ("poisonous", ("poison", 0, None)),
        ("code70107-", ("code", 70107, None)),
        ("code91000x2-b", ("code", 91000, 2)),
        ("code91000x-b", None),
        ("code9100-b", None),
        ("code", None),
        ("codex", None),
    ],
)
def test_rules_of_names(account, rule):
    assert read_rule(account) == rule


def test_every_rule_is_known_by_its_first_letters():
    assert {word[:4] for word in WORDS} == RULED
    assert all(read_rule(f"{word}1") for word in WORDS)


@pytest.mark.parametrize("number", range(50))
def test_the_truth_of_ruled_accounts(number):
    def wire(word):
        return json.loads('{"To_Account":""' + ruled_tail(f"{word}{number}", word, 1))

    def true(word):
        return tags_of(f"{word}{number}")

    assert true("ghost") is None
    assert (true("null"), wire("null")["Tags"]) == ([], None)
    assert true("tagless") == []
    assert "Tags" not in wire("tagless")
    assert list(wire("object")["Tags"].values()) == true("object")
    assert [wire("single")["Tags"]] == true("single")
    assert wire("number")["Tags"] == list(NUMBERS) == [int(tag) for tag in true("number")]
    assert (len(true("many")), len(true("huge"))) == (100, 10_000)
    assert wire("many")["Tags"] == true("many")
    assert wire("huge")["Tags"] == true("huge")
    assert true("object")
    assert true("poison")
    assert true("code90012-")


def test_a_tail_by_hand():
    assert write_tail(["a", '黄"金']) == ',"Tags":["a","黄\\"金"]}'
    assert write_tail([]) == ',"Tags":[]}'
