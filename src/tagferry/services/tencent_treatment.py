"""What is done about the error codes of Tencent IM, and about those of no table."""

from __future__ import annotations

from collections.abc import Mapping

from tagferry.errors import (
    AuthError,
    ConfigError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.lookups.outcome import Verdict
from tagferry.services.tencent_codes import CODES, SERVICE, Treatment

__all__ = [
    "HALVE",
    "MISSING_CODES",
    "NO_CODE",
    "NO_ENVELOPE",
    "RETRY_LIMITS",
    "error_of",
    "explain",
    "is_renewable",
    "is_spoilt",
    "is_too_large",
    "judge",
    "judge_account",
    "read_treatments",
]

HALVE = 90018
"""Too many accounts in one call: fewer of them may pass."""
MISSING_CODES = frozenset({70107, 90048})
"""The service does not know the account, which is an answer and no failure."""
NO_ENVELOPE = "no-envelope"
"""Our own code: the reply says neither that it worked nor that it failed."""
NO_CODE = "no-code"
"""Our own code: the reply says that it failed, and gives no reason."""
RETRY_LIMITS: Mapping[int | str | None, int] = {60008: 3, 60004: 2, 60005: 2, NO_ENVELOPE: 1, NO_CODE: 3}
"""The most retries for codes that may also mean something that no retry mends."""

_SILENCE = 60.0
"""Seconds for which the service blocks an app that came with wrong signatures too often."""
_UNKNOWN = "look it up in the service's page of error codes"


def read_treatments(codes: Mapping[int, str]) -> Mapping[int, Treatment]:
    """Return the user's own choice for some codes.

    Args:
        codes: The word of a treatment for each code.

    Raises:
        ConfigError: A word is none.
    """
    known = {one.value: one for one in Treatment}
    for code, chosen in codes.items():
        if chosen not in known:
            msg = f"code {code!r} cannot be treated as {chosen!r}"
            raise ConfigError(msg, service=SERVICE, hint=f"choose one of {', '.join(known)}")
    return {code: known[chosen] for code, chosen in codes.items()}


def judge(code: int, overrides: Mapping[int, Treatment] = {}) -> Treatment:
    """Return what is done about a code.

    Args:
        code: The service's code; one in no table is an error of the request, or of the signature when it is
            near the known ones about signatures.
        overrides: The user's own choice for some codes.
    """
    if chosen := overrides.get(code):
        return chosen
    if known := CODES.get(code):
        return known.treatment
    return Treatment.RENEW if 70001 <= code <= 70099 else Treatment.INPUT


def judge_account(code: int, overrides: Mapping[int, Treatment] = {}) -> Verdict:
    """Return what a code means that stands beside one account of an answer.

    Args:
        code: The service's code.
        overrides: The user's own choice for some codes.
    """
    if code in MISSING_CODES and code not in overrides:
        return Verdict.MISSING
    again = judge(code, overrides) in {Treatment.RETRY, Treatment.THROTTLE}
    return Verdict.AGAIN if again else Verdict.FAILED


def is_spoilt(error: TagferryError, overrides: Mapping[int, Treatment] = {}) -> bool:
    """Tell whether a call may have failed for some of its accounts only."""
    if isinstance(error.code, int):
        return judge(error.code, overrides) is Treatment.ACCOUNT
    # Tags in a shape that nobody documented, or too many of them, are the fault of one account as well.
    return isinstance(error, ProtocolError) and error.code is None


def is_too_large(error: TagferryError) -> bool:
    """Tell whether a call failed for the number of its accounts."""
    return error.code == HALVE


def is_renewable(error: AuthError, overrides: Mapping[int, Treatment] = {}) -> bool:
    """Tell whether a new signature may help against an error."""
    return isinstance(error.code, int) and judge(error.code, overrides) is Treatment.RENEW


def explain(code: int) -> str:
    """Return the meaning of a code in our own words."""
    return known.meaning if (known := CODES.get(code)) else "a code that is in no table of the service"


def error_of(code: int, info: str = "", overrides: Mapping[int, Treatment] = {}) -> TagferryError:
    """Return the error that a code stands for when a whole call failed with it.

    Args:
        code: The service's code, not 0.
        info: What the service says about it, safe to print.
        overrides: The user's own choice for some codes.
    """
    known = CODES.get(code)
    message = f"{SERVICE} answered {code} to a look-up of tags: {explain(code)}{info and f' ({info})'}"
    hint = known.hint if known else _UNKNOWN
    match judge(code, overrides):
        case Treatment.RETRY:
            return UnavailableError(message, service=SERVICE, code=code, hint=hint)
        case Treatment.THROTTLE:
            return ThrottledError(message, service=SERVICE, code=code, hint=hint)
        case Treatment.RENEW:
            # These two also stand for a check that broke down, and pass a moment later.
            return AuthError(message, service=SERVICE, code=code, hint=hint, retryable=code in {60004, 60005})
        case Treatment.LOCKOUT:
            return AuthError(message, service=SERVICE, code=code, hint=hint, retry_after=_SILENCE)
        case Treatment.CONFIG if known and known.credential:
            return AuthError(message, service=SERVICE, code=code, hint=hint)
        case _:
            return RefusedError(message, service=SERVICE, code=code, hint=hint)
