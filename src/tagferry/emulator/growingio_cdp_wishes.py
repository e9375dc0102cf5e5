"""What the emulated CDP accepts in a request: nothing but what is documented."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, cast

from tagferry.emulator.growingio_cdp_catalog import LONGEST_PAGE
from tagferry.emulator.growingio_cdp_files import MOST_PROPERTIES, OPTIONS, Wish

if TYPE_CHECKING:
    from tagferry.emulator.wire import Request

_PROPERTY = re.compile(r"[^\s,=\x00-\x1f\ud800-\udfff]+")
_NUMBER = re.compile(r"[0-9]{1,9}")


class BadWishError(Exception):
    """A request that the service does not take."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


def read_wish(request: Request) -> Wish:
    """Read the body of an export job.

    Raises:
        BadWishError: It is not as documented.

    """
    kinds = [value.partition(";")[0].strip().lower() for value in request.values("Content-Type")]
    if kinds != ["application/json"]:
        raise BadWishError(415, "the body must be application/json")
    if request.query:
        raise BadWishError(400, "an export job has no query")
    body = _read_body(request.body)
    properties = _read_properties(body.pop("properties", []))
    words: dict[str, str] = {}
    for name in ("fileFormat", "csvHeaderType"):
        words[name] = body.pop(name, OPTIONS[name][0])
        if words[name] not in OPTIONS[name]:
            raise BadWishError(400, f"{name} is one of {', '.join(OPTIONS[name])}")
    if body:
        raise BadWishError(400, f"unknown: {', '.join(body)}")
    # A header means nothing to JSON Lines.
    csv = words["fileFormat"] == "csv"
    header = words["csvHeaderType"] if csv else "key"
    language = next(iter(request.values("language")), "CH") if csv and header == "name" else "CH"
    return Wish(properties, words["fileFormat"], header, language)


def read_range(query: str) -> tuple[int, int]:
    """Read limit and offset of a list.

    Raises:
        BadWishError: They are not as documented.

    """
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    given = {"limit": f"{LONGEST_PAGE}", "offset": "0", **dict(pairs)}
    if len(given) != 2 or len(pairs) != len(dict(pairs)) or not all(map(_NUMBER.fullmatch, given.values())):
        raise BadWishError(400, "a list takes limit and offset, numbers, once each")
    limit, offset = int(given["limit"]), int(given["offset"])
    if not 1 <= limit <= LONGEST_PAGE:
        raise BadWishError(400, f"limit is from 1 to {LONGEST_PAGE}")
    return limit, offset


def _read_body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_read_object)
    except (ValueError, RecursionError):
        raise BadWishError(400, "the body is no JSON, or has a name twice") from None
    if not isinstance(value, dict):
        raise BadWishError(400, "the body is no object")
    return cast("dict[str, Any]", value)


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _read_properties(value: object) -> tuple[str, ...]:
    found = cast("list[object]", value) if isinstance(value, list) else [value]
    keys = [key for key in found if isinstance(key, str) and _PROPERTY.fullmatch(key)]
    if not isinstance(value, list) or len(keys) != len(found):
        raise BadWishError(400, "properties is a list of keys")
    if len(keys) > MOST_PROPERTIES:
        raise BadWishError(400, f"最大查询{MOST_PROPERTIES}个")
    if len(set(keys)) != len(keys):
        raise BadWishError(400, "a property comes twice")
    return tuple(keys)
