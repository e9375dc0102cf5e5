"""Faults on order: a queue for each operation, one consumed by each request."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope = Literal["any", "poll", "download", "submit", "get-tag"]
Shape = Literal["bare", "at", "int", "float", "text", "rest"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the grammar: what follows it, which options it has, where it makes sense, what it does."""

    shape: Shape
    scope: Scope
    says: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


WORDS: Mapping[str, Word] = {
    "pass": Word("bare", "any", "no fault: lets a request through"),
    "delay": Word("float", "any", "waits that many seconds before the answer"),
    "close": Word("bare", "any", "closes the connection without an answer"),
    "status": Word("int", "any", "answers with this status", {"retry-after": ""}),
    "html": Word("bare", "any", "200 with an HTML page"),
    "body": Word("rest", "any", "200 with exactly this body"),
    "header": Word("rest", "any", "adds `Name:Value` to the answer, or replaces it"),
    "redirect": Word("text", "any", "302 to this address"),
    "redirect-loop": Word("bare", "any", "302 to the same address, for ever unless repeated `xN`"),
    "drip-head": Word("bare", "any", "sends the head a byte at a time", {"every": "0.05"}),
    "cut": Word("at", "any", "declares all, sends N body bytes, then FIN"),
    "reset": Word("at", "any", "declares all, sends N body bytes, then RST"),
    "stall": Word("at", "any", "pauses after N body bytes", {"for": "3600"}),
    "drip": Word("at", "any", "after N body bytes sends a few at a time", {"bytes": "1", "every": "0.5"}),
    "extra": Word("int", "any", "sends N bytes more than declared"),
    "no-length": Word("bare", "any", "neither length nor chunking: ends with the connection"),
    "chunked": Word("bare", "any", "chunked, without a length"),
    "cut-chunked": Word("at", "any", "chunked, FIN inside a chunk after N body bytes"),
    "bad-chunk": Word("at", "any", "chunked, a size that is no number after N body bytes"),
    "gzip": Word("bare", "any", "Content-Encoding: gzip although nobody asked"),
    "cut-gzip": Word("at", "any", "the same, its first N bytes only, under an honest length"),
    "failed": Word("rest", "poll", "the job failed with this errorMsg"),
    "status-word": Word("text", "poll", "the job has this status"),
    "links": Word("int", "poll", "done with N links"),
    "no-links": Word("bare", "poll", "done without links"),
    "same-dead-link": Word("bare", "poll", "done with the links of before, lapsed or not"),
    "expired": Word("bare", "download", "403 of an object store; the link has lapsed from now on"),
    "ignore-range": Word("bare", "download", "200 with the whole file, whatever range was asked for"),
    "ignore-if-range": Word("bare", "download", "206 although the validator in If-Range is another"),
    "wrong-range": Word("bare", "download", "206 with a range that starts elsewhere"),
    "no-content-range": Word("bare", "download", "206 without Content-Range"),
    "multipart": Word("bare", "download", "206 as multipart/byteranges"),
    "etag": Word("text", "download", "another strong ETag on the same bytes"),
    "weak-etag": Word("bare", "download", "a weak ETag"),
    "no-etag": Word("bare", "download", "no ETag"),
    "other-content": Word("bare", "download", "the file of another computation: other bytes, size and ETag"),
    "gzip-file": Word("bare", "download", "the stored file itself is gzip, with no Content-Encoding"),
    "lost": Word("bare", "submit", "the job is made, and the connection closes without an answer"),
    "code": Word("int", "get-tag", "the whole call fails with this ErrorCode"),
    "short": Word("at", "get-tag", "the first N bytes of the body only, under an honest length"),
    "drop": Word("int", "get-tag", "leaves N accounts out of the answer"),
    "double": Word("int", "get-tag", "tells N accounts twice"),
    "foreign": Word("int", "get-tag", "tells N accounts that nobody asked for"),
    "other-case": Word("bare", "get-tag", "tells the accounts with small and capital letters swapped"),
    "null-tags": Word("bare", "get-tag", "UserTags is null"),
    "hold": Word("float", "get-tag", "holds this answer and those after it, then sends all at once"),
}

_FORMS = {"bare": " alone", "at": "@N", "int": "=N", "float": "=SECONDS", "text": "=TEXT", "rest": "=TEXT"}
_SUFFIX = re.compile(r"(?s)(?P<text>.*?)(?: x(?P<times>[1-9][0-9]*|\*))?")
_HEAD = re.compile(r"(?s)(?P<word>[a-z-]+)(?:(?P<sign>[@=])(?P<value>.*))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One parsed fault; `at` counts bytes of the body that this answer carries."""

    word: str
    at: int = 0
    value: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of one request."""

    faults: tuple[Fault, ...] = ()

    def get(self, word: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.word == word), None)

    def __contains__(self, word: str) -> bool:
        return self.get(word) is not None


def read_plan(text: str) -> tuple[Plan, int | None]:
    """Read one line of the grammar; the second value is how often it strikes, `None` for ever."""
    match = _SUFFIX.fullmatch(text.strip())
    assert match is not None  # the pattern takes any text
    rest, times = match["text"], match["times"]
    faults: list[Fault] = []
    while rest:
        name = re.split(r"[@= ]", rest, maxsplit=1)[0]
        takes_rest = name in WORDS and WORDS[name].shape == "rest"
        one, rest = (rest, "") if takes_rest else _split(rest)
        faults.append(_read_fault(one, takes_rest=takes_rest))
    if not faults:
        raise ValueError("an empty fault; `pass` lets a request through")
    endless = times == "*" or (times is None and faults[0].word == "redirect-loop")
    return Plan(tuple(faults)), None if endless else int(times or 1)


def _split(text: str) -> tuple[str, str]:
    one, _, rest = text.partition(" & ")
    return one.strip(), rest.strip()


def _read_fault(text: str, *, takes_rest: bool) -> Fault:
    head, *extras = [text] if takes_rest else text.split()
    match = _HEAD.fullmatch(head)
    if match is None or match["word"] not in WORDS:
        raise ValueError(f"unknown fault {head!r}; known: {', '.join(sorted(WORDS))}")
    name, shape, value = match["word"], WORDS[match["word"]].shape, match["value"] or ""
    if match["sign"] != {"bare": None, "at": "@"}.get(shape, "="):
        raise ValueError(f"{name} is written {name}{_FORMS[shape]}")
    _check_value(name, shape, value)
    return Fault(name, int(value) if shape == "at" else 0, value, _read_options(name, extras))


def _read_options(name: str, extras: list[str]) -> dict[str, str]:
    options = dict(WORDS[name].options)
    for extra in extras:
        key, sign, value = extra.partition("=")
        if not sign or key not in options:
            known = ", ".join(options) or "none"
            raise ValueError(f"{name} has no option {extra!r}; its options: {known}")
        # Retry-After may be any text, since servers send any text.
        if key != "retry-after":
            _check_number(name, int if key == "bytes" else float, value)
        options[key] = value
    return options


def _check_value(name: str, shape: Shape, value: str) -> None:
    if shape in {"at", "int", "float"}:
        _check_number(name, float if shape == "float" else int, value)
    if shape == "text" and not value:
        raise ValueError(f"{name} needs a text")
    if name == "header" and ":" not in value:
        raise ValueError("header is written header=Name:Value")
    if name == "status" and not 200 <= int(value) <= 599:
        raise ValueError(f"status is from 200 to 599, not {value}")


def _check_number(word: str, kind: type[int | float], value: str) -> None:
    try:
        if kind(value) >= 0:
            return
    except ValueError:
        pass
    raise ValueError(f"{word} needs a number that is not negative, not {value!r}")


@dataclass(slots=True)
class _Order:
    text: str
    plan: Plan
    left: int | None
    taken: int = 0


class FaultQueue:
    """The faults that were ordered and have not struck yet, first come, first served.

    Orders may come from any thread, also while the server works.
    """

    # Each step is one atomic operation on a dict or a deque, so no lock is needed.

    def __init__(self, operations: frozenset[str]) -> None:
        self.operations = operations
        self._orders: dict[str, deque[_Order]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(unused={self.unused()})"

    def add(self, operation: str, fault: str) -> None:
        """Order a fault for the next request of an operation.

        Args:
            operation: As in `growingio-saas.poll`, or for one export only `growingio-saas.poll:5rREn4PL`.
            fault: One line of the grammar, as in `status=503 x3` or `no-etag & cut@65536`; all words of it
                are in the table at the end of the reference.

        Raises:
            ValueError: Nothing of that name exists, or it makes no sense for this operation.

        """
        name = operation.partition(":")[0]
        if name not in self.operations:
            raise ValueError(f"unknown operation {name!r}; known: {', '.join(sorted(self.operations))}")
        plan, times = read_plan(fault)
        for one in plan.faults:
            scope = WORDS[one.word].scope
            if scope not in {"any", name.rpartition(".")[2]}:
                raise ValueError(f"{one.word} is a fault of {scope}, not of {name}")
        self._orders.setdefault(operation, deque()).append(_Order(fault, plan, times))

    def take(self, operation: str, key: str = "") -> Plan:
        """The faults of the request that has just come; those for its export go first."""
        for name in (f"{operation}:{key}", operation):
            orders = self._orders.get(name)
            if not orders:
                continue
            order = orders[0]
            order.taken += 1
            if order.left is not None:
                order.left -= 1
                if order.left == 0:
                    orders.popleft()
            return order.plan
        return Plan()

    def unused(self) -> list[str]:
        """What still waits, as `operation: fault`; one that strikes for ever is used once it struck."""
        return [
            f"{operation}: {order.text}"
            for operation, orders in list(self._orders.items())
            for order in list(orders)
            if order.left is not None or order.taken == 0
        ]

    @property
    def all_used(self) -> bool:
        """Whether each fault struck, as often as it was ordered; a test that breaks something asserts it."""
        return not self.unused()

    def clear(self) -> None:
        """Drop all orders."""
        self._orders.clear()
