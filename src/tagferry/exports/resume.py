"""Whether the bytes on disk and the body that is offered belong together."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import msgspec

from tagferry.errors import IntegrityError, LinkExpiredError, ProtocolError, TagferryError
from tagferry.wire.message import Head
from tagferry.wire.status import refusal

__all__ = ["LAPSED", "Partial", "Plan", "Store", "Verdict", "ask_for_rest", "plan_body"]

LAPSED = frozenset({400, 401, 403, 404, 410})
"""What object stores answer to a signed link that has lapsed."""
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.IGNORECASE | re.ASCII)
_CODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
_PAGES = {
    "text/html",
    "application/xhtml+xml",
    "application/xml",
    "text/xml",
    "application/json",
    "application/problem+json",
}
_JSON = "application/json"


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """The manners of the place that files come from."""

    service: str
    lapsed: frozenset[int] = LAPSED
    """Statuses that say that a link has lapsed."""
    json: bool = False
    """Whether the files are JSON, so that this content type is no error page."""
    hints: Mapping[int, str] = {}
    """What to do about other statuses."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What is on disk of one part."""

    received: int = 0
    """Verified bytes on disk."""
    validator: str | None = None
    """The strong ETag of the body that they come from."""
    total: int | None = None
    """The length of that body."""
    gzipped: bool = False
    """Whether it came with a gzip coding."""


class Verdict(enum.Enum):
    """What to do with a body."""

    APPEND = "append"
    """Write it behind the bytes on disk."""
    RESTART = "restart"
    """It is the whole: drop the bytes on disk and write it."""
    COMPLETE = "complete"
    """All bytes are on disk already."""
    AGAIN = "again"
    """It fits nothing: drop the bytes on disk and ask for the whole."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a body, and the facts to keep of it."""

    verdict: Verdict
    validator: str | None = None
    total: int | None = None
    md5: str | None = None
    """The hex MD5 of the whole, where the store gives one."""
    gzipped: bool = False
    """The server coded the file with gzip, although the plain file was asked for. It is kept as it came, and
    its end has to be proved: a cut gzip stream looks whole to a client that only counts bytes."""


def ask_for_rest(partial: Partial) -> Mapping[str, str]:
    """Return the request headers that ask for what is missing, but only of the same body.

    Without a strong validator the bytes on disk cannot be trusted to fit, so the whole is asked for.
    """
    # A coding would hide a cut body, and ranges of it would not be ranges of the file.
    headers = {"Accept-Encoding": "identity"}
    if partial.received and partial.validator:
        headers["Range"] = f"bytes={partial.received}-"
        headers["If-Range"] = partial.validator
    return headers


def plan_body(partial: Partial, head: Head, *, store: Store, now: float) -> Plan:
    """Judge the reply to a request with the headers of `ask_for_rest`.

    Args:
        partial: What is on disk.
        head: Status and headers of the reply.
        store: Where the download comes from.
        now: Unix time in seconds.

    Raises:
        LinkExpiredError: The link has lapsed; ask the service for a fresh one.
        ProtocolError: The body is no file.
        IntegrityError: The reply contradicts itself, or a cut of its body would not show.
        TagferryError: What other statuses stand for.
    """
    if head.status == 200:
        return _plan_whole(head, store)
    if head.status == 206:
        return _plan_rest(partial, head, store)
    if head.status == 416:
        return _plan_unsatisfiable(partial, head)
    raise _refusal(head, store, now)


def _plan_whole(head: Head, store: Store) -> Plan:
    gzipped = _check_is_file(head, store)
    length = _length(head, store.service)
    return Plan(
        verdict=Verdict.RESTART, validator=_strong(head), total=length, md5=_md5(head), gzipped=gzipped
    )


def _plan_rest(partial: Partial, head: Head, store: Store) -> Plan:
    gzipped, service = _check_is_file(head, store), store.service
    match = _CONTENT_RANGE.fullmatch(head.headers.get("content-range", ""))
    validator = _strong(head)
    fits = (
        # Without both in the request nobody asked for a range; without a validator in the reply, a server
        # that knows nothing of If-Range could send the rest of another file.
        partial.received > 0
        and validator is not None
        and validator == partial.validator
        and match is not None
        and match[1] is not None
        and match[3] != "*"
        and int(match[1]) == partial.received
        and int(match[2]) == int(match[3]) - 1
        and partial.total in {None, int(match[3])}
        and gzipped == partial.gzipped
    )
    if match is None or not fits:
        return Plan(verdict=Verdict.AGAIN)
    total = int(match[3])
    length = _length(head, service)
    if length is not None and length != total - partial.received:
        offered = head.headers["content-range"]
        msg = f"a download of {service} contradicts itself: Content-Length {length} and {offered}"
        raise IntegrityError(msg, service=service, retryable=True)
    return Plan(
        verdict=Verdict.APPEND,
        validator=partial.validator,
        total=total,
        md5=_md5(head),
        gzipped=gzipped,
    )


def _plan_unsatisfiable(partial: Partial, head: Head) -> Plan:
    match = _CONTENT_RANGE.fullmatch(head.headers.get("content-range", ""))
    whole = match is not None and match[1] is None and match[3] == str(partial.received)
    same = partial.validator is not None and _strong(head) in {None, partial.validator}
    if whole and same and partial.received == partial.total:
        return Plan(
            verdict=Verdict.COMPLETE,
            validator=partial.validator,
            total=partial.total,
            md5=_md5(head),
            gzipped=partial.gzipped,
        )
    return Plan(verdict=Verdict.AGAIN)


def _refusal(head: Head, store: Store, now: float) -> TagferryError:
    service = store.service
    message = f"a download of {service} was answered with {head.status}"
    if head.status in store.lapsed:
        return LinkExpiredError(message, service=service, code=head.status)
    error = refusal(head, message, service=service, now=now)
    error.hint = store.hints.get(head.status, error.hint)
    return error


def _check_is_file(head: Head, store: Store) -> bool:
    """Refuse what cannot be a file; tell whether it is coded with gzip."""
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    service = store.service
    if kind in _PAGES and not (store.json and kind == _JSON):
        # A portal or an error page with status 200 must never lie on disk as data; it often goes away.
        msg = f"a download of {service} gave a page ({kind}) in place of a file"
        raise ProtocolError(msg, service=service, code="page", retryable=True)
    coding = head.headers.get("content-encoding", "").strip().lower()
    if coding not in _CODINGS:
        msg = f"a download of {service} came with Content-Encoding {coding[:40]!r}, which was not asked for"
        raise ProtocolError(msg, service=service, code="content-encoding")
    return _CODINGS[coding]


def _length(head: Head, service: str) -> int | None:
    text = head.headers.get("content-length")
    chunked = "transfer-encoding" in head.headers
    if text is None and not chunked:
        msg = f"a download of {service} came without a length and without an end mark: a cut would not show"
        raise IntegrityError(msg, service=service, code="no-length", retryable=True)
    if text is None or chunked:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise IntegrityError(f"a download of {service} has a bad Content-Length", service=service)
    return int(text)


def _strong(head: Head) -> str | None:
    etag = head.headers.get("etag", "").strip()
    return etag if len(etag) > 2 and etag.startswith('"') and etag.endswith('"') and etag.isascii() else None


def _md5(head: Head) -> str | None:
    text = head.headers.get("x-amz-meta-md5-hash", "").strip().lower()
    return text if re.fullmatch(r"[0-9a-f]{32}", text) else None
