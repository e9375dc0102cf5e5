"""The things that GrowingIO lists, and how its lists are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, cast

import msgspec

from tagferry.errors import ProtocolError, RefusedError
from tagferry.services.growingio_refusal import read_refusal
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply

__all__ = ["Listed", "Listing", "Page"]

_MOST = 1_000_000
"""A list that goes on after so many has no end."""


def _never(_: Reply) -> bool:
    return False


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a list."""

    kind: str
    """What it is, such as ``"growingio-cdp-tag"``; where it can be exported, the kind of that export."""
    id: str
    key: str
    """What names it in an export; the id where the service has no keys."""
    name: str
    type: str | None = None
    """The service's word for how it came about or whose it is; of variables, ``"login"`` or ``"visitor"``."""
    value_type: str | None = None
    """The type of its values, such as ``"STRING"`` or ``"STRING[]"``."""
    count: int | None = None
    """How many users it has."""
    updated: str | None = None
    """When it was computed or changed, ISO 8601: a date, or a time in UTC."""
    state: str | None = None
    """How its latest computation ended, such as ``"FINISH"``."""
    description: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A part of a list, or all of it."""

    items: tuple[Listed, ...]
    next: int | None = None
    """The offset of the next page, if there is one."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One sort of list."""

    service: str
    operation: str
    """What it is a list of, such as ``"growingio-cdp-tags"``."""
    kind: str
    """The kind of its items."""
    key: Literal["id", "key"]
    """The field that names an item in an export."""
    hints: Mapping[int, str]
    """The next step for some HTTP statuses."""
    denies: Callable[[Reply], bool] = _never
    """Whether a reply is the service's answer about what is unknown to it or may not be seen."""

    def read_all(self, reply: Reply, now: float) -> Page:
        """Read a list that comes whole.

        Raises:
            TagferryError: The reply is a refusal, or not what the service promises.
        """
        return Page(self._items(self._decode(reply, now)))

    def read_page(self, reply: Reply, offset: int, now: float) -> Page:
        """Read the page at an offset.

        Raises:
            TagferryError: The reply is a refusal, or not what the service promises.
        """
        found = self._decode(reply, now)
        if not isinstance(found, dict):
            raise self._wrong(f"it is {_kind(found)} in place of a page")
        page = cast("dict[str, object]", found)
        items = self._items(page.get("values"))
        return Page(items, self._next(page, offset, len(items)))

    def _decode(self, reply: Reply, now: float) -> object:
        status = reply.head.status
        if self.denies(reply):
            msg = f"{self.service} refused {self.operation}: unknown, or not for this token"
            raise RefusedError(msg, service=self.service, code=status, hint=self.hints.get(status))
        if not 200 <= status < 300:
            raise read_refusal(reply, self.operation, service=self.service, now=now, hints=self.hints)
        try:
            return msgspec.json.decode(reply.body.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = excerpt(reply.body) or "nothing"
        # A portal or a firewall may answer in the service's place for a while.
        raise self._wrong(f"it is no JSON but {found}", retryable=True)

    def _next(self, page: Mapping[str, object], offset: int, count: int) -> int | None:
        """Return the next offset; counted, since a page may be shorter than what was asked for."""
        more = page.get("hasNextPage")
        if not isinstance(more, bool):
            raise self._wrong("it does not tell whether there is another page")
        given, total = _number(page.get("offset")), _number(page.get("totalCount"))
        if given is not None and given != offset:
            raise self._wrong(f"it is the page at {given} in place of {offset}")
        after = offset + count
        if not more or (not count and total is not None and after >= total):
            return None
        if not count or after >= _MOST:
            raise self._wrong(f"it promises more after {after} and gives nothing, or has no end")
        return after

    def _items(self, found: object) -> tuple[Listed, ...]:
        if not isinstance(found, list):
            raise self._wrong(f"it is {_kind(found)} in place of an array")
        return tuple(map(self._item, cast("list[object]", found)))

    def _item(self, found: object) -> Listed:
        if not isinstance(found, dict):
            raise self._wrong(f"it has {_kind(found)} in place of an object")
        fields = cast("dict[str, object]", found)
        id_, key = _text(fields.get("id")), _text(fields.get(self.key))
        if id_ is None or key is None:
            raise self._wrong(f"it has an item without {'id' if id_ is None else self.key}")
        found = fields.get("detector")
        detector = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        words = map(_text, map(fields.get, ("type", "userType", "createdBy")))
        return Listed(
            kind=self.kind,
            id=id_,
            key=key,
            name=_text(fields.get("name")) or key,
            type=next(filter(None, words), None),
            value_type=_value_type(fields.get("valueType")),
            count=_number(fields.get("userNum")),
            updated=_time(detector.get("detectedAt")) or _time(fields.get("updatedAt")),
            state=_text(detector.get("stage")),
            description=_text(fields.get("description")),
        )

    def _wrong(self, what: str, *, retryable: bool = False) -> ProtocolError:
        msg = f"{self.service} answered {self.operation} with something else than documented: {what}"
        hint = "check the base URL; if it is right, this version of the service is not supported"
        return ProtocolError(msg, service=self.service, code="list", hint=hint, retryable=retryable)


def _kind(value: object) -> str:
    return type(value).__name__


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    number = _number(value)
    return None if number is None else f"{number}"


def _number(value: object) -> int | None:
    """Read a whole number; the CDP writes them as floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if -(2**63) <= value < 2**63 and value == int(value) else None


def _value_type(value: object) -> str | None:
    if not isinstance(value, dict):
        return _text(value)
    fields = cast("dict[str, object]", value)
    word = _text(fields.get("type"))
    return f"{word}[]" if word and fields.get("isArray") is True else word


def _time(value: object) -> str | None:
    """Return a time as it was written, or ms since 1970 as ISO 8601."""
    number = _number(value)
    if number is None:
        return value if isinstance(value, str) and value else None
    try:
        return datetime.fromtimestamp(number / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None
