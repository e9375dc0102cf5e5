"""What each code of the service means; the table here was written from the documents, by hand."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import (
    AuthError,
    ConfigError,
    ProtocolError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from tagferry.lookups.outcome import Verdict
from tagferry.services.tencent_codes import CODES, SERVICE, Treatment
from tagferry.services.tencent_treatment import (
    HALVE,
    MISSING_CODES,
    RETRY_LIMITS,
    error_of,
    explain,
    is_renewable,
    is_spoilt,
    judge,
    judge_account,
    read_treatments,
)

# R try again, T throttled, A new signature, L locked out, C configuration, I input, P one account.
# In capitals after a colon: what the error is when it is not the rule of its class.
TABLE = """
90001 I    90009 C:AUTH    90018 I    91000 R

90003 P    90010 I    90012 P    90020 I    90034 I
90022 I    90024 T    90026 I    90039 I    90040 I    90047 I
90028 I    90029 I    90032 I    90033 I    90035 P    90045 C    90048 P
90049 I    90050 I    90051 I    90052 I    90053 I    90056 I    90057 T
90992 R    90994 R    90995 R    93000 I

60002 I    60003 I    60004 A:AGAIN    60005 A:AGAIN    60006 C    60007 T    60008 R    60009 C
60010 C:AUTH    60011 T    60012 C    60013 R    60014 R    60015 P    60016 C    60017 C    60018 T
60019 T    60020 C    60021 C    60025 A    60026 C    60027 C    60028 C
80001 I    80002 I    80003 I    80004 I    80005 C

70001 A    70002 C:AUTH    70003 A    70005 A    70009 C:AUTH    70013 C:AUTH    70014 C:AUTH    70016 C:AUTH
70020 C    70032 A    70050 L    70051 C:AUTH    70052 A    70107 P    70114 C    70169 R    70202 R
70206 I    70346 A    70398 I    70399 I    70402 I    70403 C:AUTH    70500 R    71000 I    72000 C
72002 C    72010 T
"""
UNKNOWN = (
    "60022 I    60023 I    60024 I    99999 I    60999 I    40006 I    10006 I    1 I    -1 I    70000 I"
)
UNKNOWN += "    70004 A    70099 A    70100 I    79999 I"
TREATMENTS = {
    "R": Treatment.RETRY,
    "T": Treatment.THROTTLE,
    "A": Treatment.RENEW,
    "L": Treatment.LOCKOUT,
    "C": Treatment.CONFIG,
    "I": Treatment.INPUT,
    "P": Treatment.ACCOUNT,
}
ERRORS = {
    "R": UnavailableError,
    "T": ThrottledError,
    "A": AuthError,
    "L": AuthError,
    "C": RefusedError,
    "I": RefusedError,
    "P": RefusedError,
}


def rows(text):
    words = text.split()
    return [(int(code), kind[0], kind[2:]) for code, kind in zip(words[::2], words[1::2], strict=True)]


def test_the_two_tables_have_the_same_codes():
    codes = [code for code, _, _ in rows(TABLE)]
    assert len(codes) == len(set(codes)) == 90
    assert set(codes) == set(CODES)
    assert not {code for code, _, _ in rows(UNKNOWN)} & set(CODES)


@pytest.mark.parametrize(("code", "letter", "special"), rows(TABLE) + rows(UNKNOWN))
def test_a_code_is_treated_as_documented(code, letter, special):
    assert judge(code) is TREATMENTS[letter]
    error = error_of(code, "what the service says")
    assert type(error) is (AuthError if special == "AUTH" else ERRORS[letter])
    assert error.retryable is (letter in "RT" or special == "AGAIN")
    assert (error.code, error.service) == (code, SERVICE)
    assert error.retry_after == (60.0 if letter == "L" else None)
    assert error.message == (
        f"tencent-im answered {code} to a look-up of tags: {explain(code)} (what the service says)"
    )
    if letter != "R":
        assert error.hint


@pytest.mark.parametrize(("code", "letter", "special"), rows(TABLE) + rows(UNKNOWN))
def test_only_a_code_of_class_a_asks_for_a_new_signature(code, letter, special):
    assert is_renewable(AuthError("refused", code=code)) is (letter == "A")


@pytest.mark.parametrize("code", sorted(CODES))
def test_texts_are_phrases_without_a_full_stop(code):
    for text in (CODES[code].meaning, CODES[code].hint or "x"):
        assert text == text.strip()
        assert text.isascii()
        assert text[-1] not in ".;,:"
    assert "(" not in error_of(code).message


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (60007, "lower the rate"),
        (60010, "administrator"),
        (60021, "list of allowed addresses"),
        (60026, "check the region"),
        (60028, "wait a day"),
        (70009, "secret key"),
        (70016, "old scheme"),
        (70020, "check the region"),
        (80005, "the plan and the bill"),
        (90009, "administrator"),
        (90045, "Push to all users"),
        (61234, "page of error codes"),
    ],
)
def test_a_hint_says_what_the_user_can_do(code, says):
    assert says in error_of(code).hint


def test_a_code_in_no_table_says_so():
    assert "a code that is in no table of the service" in error_of(61234).message


def test_a_signature_error_without_a_code_of_the_service_is_not_renewable():
    assert not is_renewable(AuthError("refused"))
    assert not is_renewable(AuthError("refused", code="401"))
    assert not is_renewable(AuthError("refused", code=401))


# Per account ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "letter", "special"), [*rows(TABLE), *rows(UNKNOWN), (0, "I", "")])
def test_a_code_beside_an_account_is_an_answer_a_retry_or_a_failure(code, letter, special):
    expected = Verdict.AGAIN if letter in "RT" else Verdict.FAILED
    assert judge_account(code) is (Verdict.MISSING if code in {70107, 90048} else expected)


def test_the_codes_with_a_role_of_their_own():
    assert {70107, 90048} == MISSING_CODES
    assert HALVE == 90018
    assert RETRY_LIMITS == {60008: 3, 60004: 2, 60005: 2, "no-envelope": 1, "no-code": 3}


# The user's own choice --------------------------------------------------------------------------------


@given(code=st.integers(1, 10**6) | st.sampled_from(sorted(CODES)), chosen=st.sampled_from(Treatment))
def test_the_users_choice_goes_before_the_tables(code, chosen):
    overrides = {code: chosen}
    assert judge(code, overrides) is chosen
    assert judge(code + 1, overrides) is judge(code + 1)
    assert is_renewable(AuthError("refused", code=code), overrides) is (chosen is Treatment.RENEW)
    error = error_of(code, "", overrides)
    again = chosen in {Treatment.RETRY, Treatment.THROTTLE}
    assert error.retryable is (again or (chosen is Treatment.RENEW and code in {60004, 60005}))
    assert isinstance(error, AuthError) or chosen not in {Treatment.RENEW, Treatment.LOCKOUT}
    assert judge_account(code, overrides) is (Verdict.AGAIN if again else Verdict.FAILED)


def test_the_users_choice_is_read_by_its_words():
    assert read_treatments({1: "retry", 2: "account"}) == {1: Treatment.RETRY, 2: Treatment.ACCOUNT}
    with pytest.raises(ConfigError, match="choose one of retry, throttle"):
        read_treatments({1: "again"})


def test_a_call_is_spoilt_by_an_account_or_by_what_cannot_be_read():
    assert is_spoilt(RefusedError("x", code=90012))
    assert not is_spoilt(RefusedError("x", code=90012), {90012: Treatment.INPUT})
    assert not is_spoilt(RefusedError("x", code=90010))
    assert is_spoilt(ProtocolError("x"))
    assert not is_spoilt(ProtocolError("x", code="no-envelope"))
    assert not is_spoilt(RefusedError("x"))


def test_errors_travel_between_processes():
    for code in CODES:
        error = error_of(code, "x")
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
