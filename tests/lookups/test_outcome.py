"""Answers joined with what was asked for: by account, never by place, and each account once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.lookups.outcome import (
    AccountError,
    AccountFailed,
    Answers,
    Joined,
    Missing,
    Tagged,
    TagResult,
    Verdict,
    join,
)

VERDICTS = {1: Verdict.MISSING, 2: Verdict.AGAIN, 3: Verdict.FAILED}
STRANGERS = "answers for accounts that were not asked for"
SEVERAL = "several answers for one account"


class User(msgspec.Struct):
    account: str
    tags: tuple[str, ...]


class Fault(msgspec.Struct):
    account: str
    code: int
    message: str = "because"


class Answer(msgspec.Struct):
    users: list[User]
    faults: list[Fault] = []
    warnings: tuple[str, ...] = ()


def users(*names):
    return [User(name, (f"tag of {name}",)) for name in names]


def tagged(name):
    return Tagged(name, (f"tag of {name}",))


def ask(asked, *answer):
    return join(list(asked), Answer(*answer), VERDICTS.__getitem__)


def test_outcomes_come_in_the_order_of_the_question_whatever_the_order_of_the_answer():
    assert ask("abc", users("c", "a", "b")) == Answers([tagged("a"), tagged("b"), tagged("c")])


def test_an_account_without_tags_is_tagged_with_none_and_one_that_is_not_there_is_missing():
    assert ask("abc", [User("b", ()), *users("a")]) == Answers(
        [tagged("a"), Tagged("b", ()), Missing("c")], missing=1
    )


def test_nobody_answered_for_is_missing_one_and_all():
    assert ask("ab", []) == Answers([Missing("a"), Missing("b")], missing=2)


@pytest.mark.parametrize(
    ("asked", "came", "found", "odd"),
    [
        # As many as were asked for, and yet not those.
        ("ab", "ax", "a", STRANGERS),
        ("ab", "AB", "", STRANGERS),
        ("ab", "abx", "ab", STRANGERS),
        ("abc", "axy", "a", STRANGERS),
        ("ab", "xyz", "", STRANGERS),
        ("ab", "aba", "ab", SEVERAL),
        # As many answers as accounts, one of them twice.
        ("ab", "aa", "a", SEVERAL),
    ],
)
def test_what_is_not_as_it_should_be_gets_no_account_a_foreign_place(asked, came, found, odd):
    joined = ask(asked, users(*came))
    assert isinstance(joined, Joined)
    assert joined.outcomes == {name: tagged(name) if name in found else Missing(name) for name in asked}
    assert joined.again == {}
    assert joined.oddities == (odd,)
    answers = joined.in_order(list(asked))
    assert answers.missing == len(asked) - len(found)
    assert answers.failed == 0


def test_an_account_that_comes_twice_has_the_tags_of_both_each_once_in_the_order_of_their_coming():
    joined = ask("a", [User("a", ("x", "y")), User("a", ("y", "z", "x"))])
    assert isinstance(joined, Joined)
    assert joined.outcomes == {"a": Tagged("a", ("x", "y", "z"))}


def test_a_code_beside_an_account_means_what_the_service_says_it_means():
    joined = ask("abcd", users("d"), [Fault("a", 1), Fault("b", 2), Fault("c", 3, "not you")])
    assert isinstance(joined, Joined)
    assert joined.outcomes == {
        "a": Missing("a"),
        "c": AccountFailed("c", AccountError(3, "not you")),
        "d": tagged("d"),
    }
    assert joined.again == {"b": AccountError(2, "because")}
    assert joined.oddities == ()


def test_tags_count_more_than_a_code_for_the_same_account_and_that_is_told():
    joined = ask("a", users("a"), [Fault("a", 3)])
    assert isinstance(joined, Joined)
    assert joined.outcomes == {"a": tagged("a")}
    assert joined.oddities == (SEVERAL,)


def test_warnings_of_the_reader_are_handed_on_before_our_own():
    joined = ask("a", users("a", "b", "b"), [], ("tags were numbers",))
    assert isinstance(joined, Joined)
    assert joined.oddities == ("tags were numbers", STRANGERS, SEVERAL)


NAMES = st.sampled_from([*"abcdef", *"ABCDEF"])
ANSWERS = st.builds(
    Answer,
    st.lists(st.builds(User, NAMES, st.lists(st.sampled_from("xyz")).map(tuple))),
    st.lists(st.builds(Fault, NAMES, st.sampled_from([1, 2, 3]))),
    st.lists(st.just("odd"), max_size=1).map(tuple),
)


@given(asked=st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), answer=ANSWERS)
def test_whatever_comes_every_account_has_one_outcome_or_is_asked_again_and_the_totals_reconcile(
    asked, answer
):
    joined = join(asked, answer, VERDICTS.__getitem__)
    if isinstance(joined, Joined):
        assert joined.outcomes.keys() | joined.again.keys() == set(asked)
        assert not joined.outcomes.keys() & joined.again.keys()
        for name, error in joined.again.items():
            joined.outcomes[name] = AccountFailed(name, error)
        joined = joined.in_order(asked)
    assert [one.account for one in joined.outcomes] == asked
    told = {one.account for one in answer.users}
    faulted = {fault.account for fault in answer.faults}
    kinds = {Tagged: told, AccountFailed: faulted, Missing: set("abcdef")}
    assert all(one.account in kinds[type(one)] for one in joined.outcomes)
    assert joined.missing == sum(isinstance(one, Missing) for one in joined.outcomes)
    assert joined.failed == sum(isinstance(one, AccountFailed) for one in joined.outcomes)
    for one in joined.outcomes:
        if isinstance(one, Tagged):
            assert set(one.tags) == {
                tag for user in answer.users if user.account == one.account for tag in user.tags
            }
        else:
            assert one.account not in told


def test_outcomes_are_values():
    assert Missing("a").tags is None
    assert hash(Tagged("a", ("x",))) == hash(Tagged("a", ("x",)))
    with pytest.raises(AttributeError):
        Tagged("a", ()).account = "b"
    result = TagResult({"a": ("x",)}, frozenset({"b"}), {"c": AccountError(90012, "no")})
    assert result == TagResult({"a": ("x",)}, frozenset({"b"}), {"c": AccountError(90012, "no")})
