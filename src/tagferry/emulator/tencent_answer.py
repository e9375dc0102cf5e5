"""How the emulated Tencent IM answers for a list of accounts: JSON by hand, and what faults do to it."""

from __future__ import annotations

import functools
import json
import operator
import random
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, cast

from tagferry.emulator import tencent_codes as codes
from tagferry.emulator.tencent_people import (
    RULED,
    find_slot,
    plain_tails,
    read_rule,
    ruled_tail,
    tags_of,
    write_tail,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tagferry.emulator.faults import Plan
    from tagferry.emulator.tencent_people import Rule
    from tagferry.emulator.tencent_settings import TencentSettings, Unknown

MOST_ACCOUNTS = 100
_VARIANTS = 8
_START = '{"To_Account":'


class FailureError(Exception):
    """The whole call fails with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def read_accounts(body: bytes) -> list[str]:
    """The accounts that a body asks for.

    Raises:
        FailureError: It is not what the service wants.

    """
    if not body:
        raise FailureError(codes.EMPTY_BODY)
    try:
        document: Any = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise FailureError(codes.BAD_JSON) from None
    if not isinstance(document, dict):
        raise FailureError(codes.BAD_FORMAT)
    if "To_Account" not in document:
        raise FailureError(codes.NO_ACCOUNTS)
    members = cast("dict[str, Any]", document)
    if not isinstance(members.get("To_Account"), list):
        raise FailureError(codes.NO_ARRAY)
    accounts: list[Any] = members["To_Account"]
    return _check_accounts(accounts)


def _check_accounts(accounts: list[Any]) -> list[str]:
    if not accounts:
        raise FailureError(codes.EMPTY_ARRAY)
    # The gateway looks at the elements, the service behind it counts them.
    if set(map(type, accounts)) != {str}:
        raise FailureError(codes.NOT_A_STRING)
    if len(accounts) > MOST_ACCOUNTS:
        raise FailureError(codes.TOO_MANY)
    if "" in accounts:
        raise FailureError(codes.BAD_ACCOUNT)
    try:
        "".join(accounts).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can escape and no text can hold.
        raise FailureError(codes.BAD_JSON) from None
    return accounts


class Answerer:
    """Makes answers, and remembers how often accounts failed that are to fail so many times."""

    def __init__(self, settings: TencentSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed & 0xFFFFFFFF
        self._left: dict[str, int] = {}

    def answer(self, accounts: Sequence[str], plan: Plan, *, unknown: Unknown) -> tuple[bytes, set[str]]:
        """The body of an answer, and the accounts that are to be asked again because of an error.

        Raises:
            FailureError: One of the accounts fails the whole call.

        """
        seed, tails, people = self._seed, plain_tails(), self._settings.people
        rows: list[str] = []
        errors: list[str] = []
        failed: set[str] = set()
        for account in accounts:
            if account in people:
                rows.append(encode_basestring(account) + write_tail(people[account]))
                continue
            rule = read_rule(account) if account[:4] in RULED else None
            tail = tails[find_slot(account, seed)] if rule is None else self._rule(account, rule, failed)
            if tail is not None:
                rows.append(encode_basestring(account) + tail)
            elif account in failed:
                errors.append(_write_error(account, rule.code if rule else 0))
            else:
                _show_unknown(account, unknown, rows, errors)
        rows = _spoil(rows, plan)
        if self._settings.reorder:
            rows = _shuffle(rows, sum(map(len, accounts)))
        return _write(None if "null-tags" in plan else rows, errors), failed

    def _rule(self, account: str, rule: Rule, failed: set[str]) -> str | None:
        if rule.word == "poison":
            raise FailureError(self._settings.poison_code)
        if rule.word == "ghost":
            return None
        if rule.word != "code":
            return ruled_tail(account, rule.word, self._seed)
        if rule.times is not None:
            left = self._left.setdefault(account, rule.times)
            if left == 0:
                return write_tail(tags_of(account, self._seed) or [])
            self._left[account] = left - 1
        failed.add(account)
        return None


def _show_unknown(account: str, unknown: Unknown, rows: list[str], errors: list[str]) -> None:
    match unknown:
        case "absent":
            pass
        case "empty":
            rows.append(f'{encode_basestring(account)},"Tags":[]}}')
        case "null":
            rows.append(f'{encode_basestring(account)},"Tags":null}}')
        case "errorlist":
            errors.append(_write_error(account, codes.NOT_IMPORTED))
        case _:
            raise FailureError(codes.BAD_ACCOUNT)


def _write_error(account: str, code: int) -> str:
    return f'{{"ErrorCode":{code},"To_Account":{encode_basestring(account)}}}'


def _write(rows: list[str] | None, errors: list[str]) -> bytes:
    tags = "null" if rows is None else f"[{','.join([_START + row for row in rows])}]"
    # Only when there is something in it: earlier editions do not know this member.
    more = f',"ErrorList":[{",".join(errors)}]' if errors else ""
    return f'{{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":{tags}{more}}}'.encode()


def _spoil(rows: list[str], plan: Plan) -> list[str]:
    for fault in plan.faults:
        match fault.word:
            case "drop":
                rows = rows[int(fault.value) :]
            case "double":
                rows = rows + rows[: int(fault.value)]
            case "foreign":
                extra = range(int(fault.value))
                rows = rows + [f'"foreign-{number}"{write_tail(("vip",))}' for number in extra]
            case "other-case":
                rows = [_swap_case(row) for row in rows]
            case _:
                continue
    return rows


def _swap_case(row: str) -> str:
    account, end = json.JSONDecoder().raw_decode(row)
    return encode_basestring(account.swapcase()) + row[end:]


def _shuffle(rows: list[str], chance: int) -> list[str]:
    return list(_order(len(rows), chance % _VARIANTS)(rows)) if len(rows) > 1 else rows


@functools.lru_cache(maxsize=4096)
def _order(count: int, variant: int) -> Callable[[list[str]], tuple[str, ...]]:
    places = list(range(count))
    random.Random(f"{count}|{variant}").shuffle(places)  # noqa: S311 - nothing depends on its secrecy
    return operator.itemgetter(*places)
