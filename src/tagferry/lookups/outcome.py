"""What a look-up says of an account, and of many."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

__all__ = [
    "AccountError",
    "AccountFailed",
    "Answer",
    "Answers",
    "Fault",
    "FetchReport",
    "Found",
    "Joined",
    "Missing",
    "Outcome",
    "TagResult",
    "Tagged",
    "Verdict",
    "join",
]


class AccountError(msgspec.Struct, frozen=True):
    """Why the service would not answer for an account."""

    code: int | str | None
    message: str


class Tagged(msgspec.Struct, frozen=True, gc=False):
    """An account that the service knows, with its tags; there may be none."""

    account: str
    tags: tuple[str, ...]


class Missing(msgspec.Struct, frozen=True, gc=False):
    """An account that the service does not know, which is an answer."""

    account: str
    tags: None = None


class AccountFailed(msgspec.Struct, frozen=True):
    """An account that the service would not answer for."""

    account: str
    error: AccountError


Outcome = Tagged | Missing | AccountFailed


class TagResult(msgspec.Struct, frozen=True):
    """The answers for some accounts, each of which is in exactly one of the three."""

    tags: Mapping[str, tuple[str, ...]]
    missing: frozenset[str]
    """Accounts that the service does not know."""
    failed: Mapping[str, AccountError]


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a durable fetch ended. Counts are of the whole fetch, however many runs it took."""

    state: Literal["done", "skipped"] = "done"
    """``"skipped"`` when the output was there already; then the counts are 0."""
    accounts: int = 0
    """Accounts in the input, repeats included."""
    distinct: int = 0
    tagged: int = 0
    """Accounts that the service knows, with or without tags."""
    missing: int = 0
    failed: int = 0
    """Accounts in the dead letters."""
    requests: int = 0
    throttled: int = 0
    seconds: float = 0.0
    output: Path | None
    """The file, or None for a stream."""
    dead_letters: Path | None = None
    """The file of what failed, if anything did."""


class Verdict(enum.Enum):
    """What a fault means for its account."""

    MISSING = "missing"
    """The service does not know it."""
    AGAIN = "again"
    """Asking again may help."""
    FAILED = "failed"


class Found(Protocol):
    """An account in an answer, and its tags."""

    @property
    def account(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


class Fault(Protocol):
    """An account that an answer gives a code for."""

    @property
    def account(self) -> str: ...
    @property
    def code(self) -> int: ...
    @property
    def message(self) -> str: ...


class Answer(Protocol):
    """What a service answered to one call: in any order, with or without every account."""

    @property
    def users(self) -> Sequence[Found]: ...
    @property
    def faults(self) -> Sequence[Fault]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


class Answers(msgspec.Struct):
    """Outcomes of accounts in the order in which they were asked for, and how many are not `Tagged`."""

    outcomes: list[Outcome]
    missing: int = 0
    failed: int = 0


class Joined(msgspec.Struct):
    """An answer, joined with what was asked, when not every account is simply there or not."""

    outcomes: dict[str, Outcome]
    again: dict[str, AccountError]
    """Accounts to ask for again, and why."""
    oddities: tuple[str, ...] = ()
    """What was not as it should be, in a few words each."""

    def in_order(self, asked: Sequence[str]) -> Answers:
        """Return the outcomes in the order of what was asked for, when there is one for each."""
        outcomes = [self.outcomes[account] for account in asked]
        missing = sum(isinstance(one, Missing) for one in outcomes)
        failed = sum(isinstance(one, AccountFailed) for one in outcomes)
        return Answers(outcomes, missing, failed)


def join(asked: Sequence[str], answer: Answer, judge: Callable[[int], Verdict]) -> Answers | Joined:
    """Give every account that was asked for its outcome, by its name and never by its place.

    Args:
        asked: Distinct accounts.
        answer: What came.
        judge: Says what the code of a fault means.
    """
    # Nearly every answer of millions ends in the next lines.
    tags = {one.account: one.tags for one in answer.users}
    if len(tags) == len(answer.users) and not (answer.faults or answer.warnings):
        if len(tags) == len(asked):
            # Most of those have every account.
            try:
                return Answers([Tagged(name, tags[name]) for name in asked])
            except KeyError:
                return _join_with_care(asked, answer, judge)
        outcomes: list[Outcome] = [
            Missing(name) if (its := tags.pop(name, None)) is None else Tagged(name, its) for name in asked
        ]
        # Nobody came who was not asked for.
        if not tags:
            return Answers(outcomes, len(asked) - len(answer.users))
    return _join_with_care(asked, answer, judge)


def _join_with_care(asked: Sequence[str], answer: Answer, judge: Callable[[int], Verdict]) -> Joined:
    tags: dict[str, dict[str, None]] = {}
    for one in answer.users:
        # An account that comes twice has the tags of both.
        tags.setdefault(one.account, {}).update(dict.fromkeys(one.tags))
    faults = {fault.account: fault for fault in answer.faults}
    joined = Joined({}, {}, _oddities(asked, answer, len(tags.keys() | faults.keys())))
    for name in asked:
        if name in tags:
            joined.outcomes[name] = Tagged(name, tuple(tags[name]))
        elif name not in faults:
            joined.outcomes[name] = Missing(name)
        else:
            _place(joined, name, faults[name], judge(faults[name].code))
    return joined


def _place(joined: Joined, name: str, fault: Fault, verdict: Verdict) -> None:
    error = AccountError(fault.code, fault.message)
    if verdict is Verdict.AGAIN:
        joined.again[name] = error
    elif verdict is Verdict.MISSING:
        joined.outcomes[name] = Missing(name)
    else:
        joined.outcomes[name] = AccountFailed(name, error)


def _oddities(asked: Sequence[str], answer: Answer, distinct: int) -> tuple[str, ...]:
    entries = [one.account for one in answer.users] + [one.account for one in answer.faults]
    strangers = set(entries) - set(asked)
    found = [*answer.warnings]
    if strangers:
        found.append("answers for accounts that were not asked for")
    if len(entries) > distinct:
        found.append("several answers for one account")
    return tuple(found)
