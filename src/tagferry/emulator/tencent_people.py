"""The made-up accounts of the emulated Tencent IM.

An account's tags follow from its text and the seed, so that nothing is stored and any number of accounts can
be asked for: mostly one to six tags, for one account in eight an empty list, and one in 512 is unknown.
Tests can aim at a shape of answer by an account's name, which decides by what it begins with:

| name | what the service does |
|---|---|
| `ghost…` | does not know it; the setting `unknown` says how that looks |
| `poison…` | fails the whole call, with the setting `poison_code` |
| `code<NNNNN>-…` | puts it into the ErrorList with that code, as in `code91000-a` |
| `code<NNNNN>x<K>-…` | the same the first K times that it is asked, then answers, as in `code70169x2-a` |
| `null…` | Tags is null |
| `tagless…` | the entry has no Tags |
| `object…` | Tags is an object, its values the tags |
| `single…` | Tags is one string |
| `number…` | the tags are numbers |
| `many…` | 100 tags, as many as an account may have |
| `huge…` | 10,000 tags |

All but the ghosts have tags in truth, which `tags_of` tells; those of `null…` and `tagless…` are none.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Whatever may break a reader: other scripts, what JSON escapes, and 48 bytes, about the longest allowed.
POOL = (
    "vip",
    "beta",
    "黄金会员",
    "月卡",
    "高价值",
    "沉睡用户",
    "a",
    "b",
    "c",
    "新客,7日",
    'say "hi"',
    "back\\slash",
    "rocket 🚀",
    "a/b",
    "line\u2028separator",
    "tab\tinside",
    "0",
    "null",
    "ligne française",
    "一二三四五六七八九十一二三四五六",
    "iOS",
    "Android",
    "华东",
    "NULL",
)
NUMBERS = (7, 42, 1000)
SLOTS = 4096
UNKNOWN_SLOTS = 8
EMPTY_SLOTS = 512
# The first letters of all ruled names: one look into a set spares plain accounts a regular expression.
RULED = frozenset({"ghos", "pois", "code", "null", "tagl", "obje", "sing", "numb", "many", "huge"})
_RULE = re.compile(
    r"(?P<word>ghost|poison|null|tagless|object|single|number|many|huge"
    r"|code(?P<code>[0-9]{5})(?:x(?P<times>[0-9]{1,9}))?-)"
)


class Rule(NamedTuple):
    """What an account's name asks for; `times` is `None` for ever."""

    word: str
    code: int = 0
    times: int | None = None


def read_rule(account: str) -> Rule | None:
    """The rule of an account's name, if it has one."""
    match = _RULE.match(account) if account[:4] in RULED else None
    if match is None:
        return None
    if match["code"] is None:
        return Rule(match["word"])
    return Rule("code", int(match["code"]), None if match["times"] is None else int(match["times"]))


def tags_of(account: str, seed: int = 1) -> list[str] | None:
    """The true tags of an account, in order; `None` for one that the service does not know."""
    rule = read_rule(account)
    tags = _lists()[find_slot(account, seed & 0xFFFFFFFF)]
    match rule.word if rule else "":
        case "":
            return None if tags is None else list(tags)
        case "ghost":
            return None
        case "null" | "tagless":
            return []
        case "single":
            return list((tags or POOL)[:1])
        case "number":
            return [str(number) for number in NUMBERS]
        case "many":
            return [f"标签{number:03d}" for number in range(100)]
        case "huge":
            return [f"tag{number:05d}" for number in range(10_000)]
        case _:
            # Never unknown and never without tags, so that the shape shows.
            return list(tags or POOL[:2])


def find_slot(account: str, seed: int) -> int:
    """Which of the made-up lists an account has; the seed is below 2**32."""
    # The product spreads a checksum's likeness to its neighbours' over the bits that are taken.
    return zlib.crc32(account.encode(), seed) * 2654435761 >> 20 & 4095


@functools.cache
def plain_tails() -> tuple[str | None, ...]:
    """For each slot what follows the account in an entry of the answer; `None` for unknown ones."""
    return tuple(None if tags is None else write_tail(tags) for tags in _lists())


def ruled_tail(account: str, word: str, seed: int) -> str:
    """What follows the account in its entry, in the shape that its rule wants."""
    tags = tags_of(account, seed) or []
    match word:
        case "null":
            return ',"Tags":null}'
        case "tagless":
            return "}"
        case "object":
            pairs = (f'"{number}":{_quote(tag)}' for number, tag in enumerate(tags))
            return f',"Tags":{{{",".join(pairs)}}}}}'
        case "single":
            return f',"Tags":{_quote(tags[0])}}}'
        case "number":
            return f',"Tags":[{",".join(tags)}]}}'
        case _:
            return write_tail(tags)


def write_tail(tags: Sequence[str]) -> str:
    """What follows the account in an entry of the answer."""
    return f',"Tags":[{",".join(map(_quote, tags))}]}}'


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@functools.cache
def _lists() -> tuple[tuple[str, ...] | None, ...]:
    noise = hashlib.shake_256(b"people").digest(SLOTS * 7)
    return tuple(_make_list(slot, noise[slot * 7 : slot * 7 + 7]) for slot in range(SLOTS))


def _make_list(slot: int, noise: bytes) -> tuple[str, ...] | None:
    if slot < UNKNOWN_SLOTS:
        return None
    if slot < UNKNOWN_SLOTS + EMPTY_SLOTS:
        return ()
    return tuple(dict.fromkeys(POOL[number % len(POOL)] for number in noise[: 1 + noise[6] % 6]))
