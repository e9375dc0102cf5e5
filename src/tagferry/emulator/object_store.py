"""The download host: signed links, ranges and validators, as an object store has them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import time
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tagferry.emulator.audience import Body, Source, Text
from tagferry.emulator.damage import compress_body, replace_reply
from tagferry.emulator.wire import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tagferry.emulator.faults import Plan
    from tagferry.emulator.wire import Request

LAST_MODIFIED = "Thu, 26 Dec 2019 07:08:29 GMT"
SECRET_HEADERS = ("Authorization", "Cookie", "X-Client-Id", "Proxy-Authorization")
# Hours of renewals; a link older than that is unknown rather than lapsed.
LINKS_KEPT = 100_000
_RANGE = re.compile(r"bytes=(?:(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+))")


@dataclass(frozen=True, slots=True)
class Opener:
    """The file behind a link: the export it is of, and how to open a version of it."""

    key: str
    open: Callable[[int], Source]
    content_type: str = "text/csv;charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Link:
    """One signed link; `ends` is on the monotonic clock."""

    operation: str
    target: str = field(repr=False)
    ends: float
    file: Opener

    @property
    def key(self) -> str:
        return self.file.key

    @property
    def lapsed(self) -> bool:
        return time.monotonic() >= self.ends


def store_error(status: int, code: str, message: str) -> Reply:
    """An error as an object store words it: XML, whatever was asked for."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0A49CE4060975EAC</RequestId></Error>"
    )
    return Reply(status=status, headers=(("Content-Type", "application/xml"),), body=Text(body.encode()))


class ObjectStore:
    """The links that were handed out, and the answers to those who follow them.

    Attributes:
        url: The origin that the links are on, once it is known.
        links: By decoded path.

    """

    def __init__(self, seed: int, *, md5_header: bool) -> None:
        self.url = ""
        self.links: dict[str, Link] = {}
        self._key = b"link-key-%d" % seed
        self._md5_header = md5_header

    def sign(self, path: str, life: float, operation: str, file: Opener) -> Link:
        """Make a link of one path.

        Its signature always holds a slash, a plus and an equals sign, so that a client that rewrites
        percent-encoding is found out by the first link it follows.
        """
        expires = int((time.time() + life) * 1000)
        tries = 0
        while True:
            digest = hmac.digest(self._key, f"{path}|{expires}|{tries}".encode(), hashlib.sha256)
            signature = base64.b64encode(digest).decode()
            if "/" in signature and "+" in signature:
                break
            tries += 1
        target = f"{path}?sign={urllib.parse.quote(signature, safe='')}&expires={expires}"
        link = Link(operation, target, time.monotonic() + life, file)
        if len(self.links) >= LINKS_KEPT:
            del self.links[next(iter(self.links))]
        self.links[urllib.parse.unquote(path)] = link
        return link

    def find(self, request: Request) -> Link | None:
        """The link of a path; a store decodes paths, so other spellings of one are found as well."""
        return self.links.get(urllib.parse.unquote(request.path))

    def expire(self) -> None:
        """Let every link lapse now."""
        for link in self.links.values():
            link.ends = 0.0

    def refuse(self, request: Request, link: Link | None) -> tuple[Reply | None, str | None]:
        """Why a request gets no file, and what a client of ours must never do."""
        sent = [name for name in SECRET_HEADERS if request.values(name)]
        if sent:
            names = ", ".join(sent)
            text = f"{names} sent to the download host"
            return store_error(400, "InvalidRequest", f"{names} must not be sent here"), text
        if link is None:
            return store_error(404, "NoSuchKey", "The specified key does not exist."), None
        if request.method != "GET":
            return store_error(405, "MethodNotAllowed", "Only GET is allowed here."), None
        if request.target != link.target:
            message = "The signature is not, byte for byte, the one of the link that was handed out."
            return store_error(403, "SignatureDoesNotMatch", message), "a link was not sent byte for byte"
        if link.lapsed:
            return store_error(403, "AccessDenied", "Request has expired"), None
        return None, None

    async def answer(self, request: Request, link: Link, plan: Plan) -> Reply:
        """The file of a good link, or the part of it that was asked for."""
        if "expired" in plan:
            link.ends = 0.0
            return store_error(403, "AccessDenied", "Request has expired")
        between = replace_reply(plan, request)
        if between is not None:
            return between
        source = link.file.open(1 if "other-content" in plan else 0)
        body: Body = compress_body(source) if "gzip-file" in plan else source
        etag = _choose_etag(source, plan)
        kind = "application/gzip" if "gzip-file" in plan else link.file.content_type
        headers = [("Content-Type", kind), ("Last-Modified", LAST_MODIFIED), ("Accept-Ranges", "bytes")]
        headers += link.file.headers
        if etag:
            headers.append(("ETag", etag))
        if self._md5_header and body is source:
            # Hashing gigabytes on the loop would hold up everyone else.
            headers.append(("x-amz-meta-md5-hash", await asyncio.to_thread(lambda: source.md5)))
        whole = Reply(status=200, headers=tuple(headers), body=body)
        asked = _read_range(request, body.size, etag, ignore_if_range="ignore-if-range" in plan)
        if asked is None or not {"ignore-range", "gzip", "cut-gzip"}.isdisjoint(f.word for f in plan.faults):
            return whole
        if asked[0] >= asked[1]:
            reply = store_error(416, "InvalidRange", "The requested range is not satisfiable")
            return replace(reply, headers=(*reply.headers, ("Content-Range", f"bytes */{body.size}")))
        return _cut_range(whole, *asked, plan)


def _choose_etag(source: Source, plan: Plan) -> str:
    changed = plan.get("etag")
    etag = f'"{changed.value}"' if changed else source.etag
    if "gzip-file" in plan:
        etag = f'{etag[:-1]}-gz"'
    if "no-etag" in plan:
        return ""
    return f"W/{etag}" if "weak-etag" in plan else etag


def _read_range(request: Request, size: int, etag: str, *, ignore_if_range: bool) -> tuple[int, int] | None:
    """The range to send, start and stop; an empty one cannot be satisfied; `None` is the whole file."""
    values = request.values("Range")
    conditions = request.values("If-Range")
    # A weak validator never matches, and nothing but an ETag proves the bytes are the same.
    strong = etag.startswith('"')
    if conditions and not ignore_if_range and not (strong and conditions == [etag]):
        return None
    match = _RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    if match["suffix"]:
        return max(0, size - int(match["suffix"])), size if int(match["suffix"]) else 0
    start = int(match["first"])
    if match["last"] and int(match["last"]) < start:
        return None
    return start, min(size, int(match["last"]) + 1) if match["last"] else size


@dataclass(frozen=True, slots=True)
class _Slice:
    """A window of a body, between a text before and one after it."""

    body: Body
    start: int
    stop: int
    before: bytes = b""
    after: bytes = b""

    @property
    def size(self) -> int:
        return len(self.before) + self.stop - self.start + len(self.after)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        shift = self.start - len(self.before)
        yield from Text(self.before).read(start, stop)
        yield from self.body.read(max(start + shift, self.start), min(stop + shift, self.stop))
        turn = len(self.before) + self.stop - self.start
        yield from Text(self.after).read(max(0, start - turn), max(0, stop - turn))


def _cut_range(whole: Reply, start: int, stop: int, plan: Plan) -> Reply:
    size = whole.body.size
    if "wrong-range" in plan:
        start = start - 1 if start else min(1, stop - 1)
    extent = f"bytes {start}-{stop - 1}/{size}"
    reply = replace(whole, status=206, body=_Slice(whole.body, start, stop))
    if "multipart" in plan:
        before = f"--3d6b6a416f9b5\r\nContent-Type: text/csv\r\nContent-Range: {extent}\r\n\r\n".encode()
        body = _Slice(whole.body, start, stop, before, b"\r\n--3d6b6a416f9b5--\r\n")
        kind = "multipart/byteranges; boundary=3d6b6a416f9b5"
        return replace(reply, body=body, headers=reply.with_header("Content-Type", kind))
    if "no-content-range" in plan:
        return reply
    return replace(reply, headers=reply.with_header("Content-Range", extent))
