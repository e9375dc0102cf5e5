"""HTTP/1.1 by hand, so that every byte of a request is seen and every byte of an answer can be spoilt."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import http
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tagferry.emulator.audience import Body, Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tagferry.emulator.arrivals import Arrival

HEAD_LIMIT = 1 << 16
BODY_LIMIT = 1 << 22
JSON = ("Content-Type", "application/json;charset=utf-8")


class BadRequestError(Exception):
    """A request that no HTTP server would read."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Request:
    """A request exactly as it stood on the wire; `nanoseconds` is when its last header byte was read."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    nanoseconds: int
    keep_alive: bool

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def values(self, name: str) -> list[str]:
        """The values of every header of this name, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True, slots=True)
class Slow:
    """After `at` body bytes: one pause, then `step` bytes `every` so many seconds (0: as fast as it goes)."""

    at: int
    pause: float = 0.0
    step: int = 0
    every: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, and everything that goes wrong while it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = field(default_factory=lambda: Text(b""))
    framing: Literal["length", "chunked", "close"] = "length"
    delay: float = 0.0
    head_gap: float = 0.0
    slow: Slow | None = None
    cut: int | None = None
    ending: Literal["whole", "fin", "rst", "inside-chunk", "bad-chunk"] = "whole"
    extra: int = 0
    silent: bool = False

    def with_header(self, name: str, value: str | None) -> tuple[tuple[str, str], ...]:
        """These headers with one replaced, added, or taken away (`None`)."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return kept if value is None else (*kept, (name, value))


def name_status(status: int) -> str:
    """The reason phrase of a status, for any number."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def json_reply(status: int, body: str) -> Reply:
    return Reply(status=status, headers=(JSON,), body=Text(body.encode()))


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or nothing when the peer has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise BadRequestError(431, "the head is too long") from None
    nanoseconds = time.monotonic_ns()
    first, _, rest = head[:-4].decode("latin-1").partition("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(400, "no HTTP/1 request line")
    headers, wishes = _read_headers(rest)
    keep_alive = wishes.get("connection", "") != "close" and words[2] != "HTTP/1.0"
    body = await _read_body(reader, wishes)
    if body is None:
        return None
    return Request(words[0], words[1], headers, body, nanoseconds, keep_alive)


# A client sends the same ones with every request: read once, they are also held once in the log.
@functools.lru_cache(maxsize=512)
def _read_headers(text: str) -> tuple[tuple[tuple[str, str], ...], Mapping[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in text.split("\r\n") if text else ():
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "a header line without a name")
        headers.append((name, value.strip(" \t")))
    return tuple(headers), {name.lower(): value.lower() for name, value in headers}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes | None:
    if "transfer-encoding" in headers:
        raise BadRequestError(411, "a length is required")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > BODY_LIMIT:
        raise BadRequestError(413, "a body too long, or of no length at all")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        return None


async def write_reply(
    writer: asyncio.StreamWriter,
    reply: Reply,
    arrival: Arrival,
    *,
    head_only: bool = False,
    keep_alive: bool = True,
) -> bool:
    """Send an answer with all its faults; says whether the connection can carry another one."""
    await _pause(reply.delay)
    if reply.silent:
        return False
    keep_alive = keep_alive and reply.framing != "close" and reply.ending == "whole" and not reply.extra
    arrival.status = reply.status
    head = _make_head(reply, keep_alive=keep_alive)
    if _is_plain(reply) and not head_only:
        # At once: every write is a call of the system and a packet.
        body = b"".join(reply.body.read(0, reply.body.size))
        writer.write(head + body)
        await writer.drain()
        arrival.sent += len(body)
        return keep_alive
    await _write_head(writer, head, reply.head_gap)
    if head_only:
        return keep_alive
    async for block in _blocks(reply):
        writer.write(b"%x\r\n%b\r\n" % (len(block), block) if reply.framing == "chunked" else block)
        await writer.drain()
        arrival.sent += len(block)
    await _write_end(writer, reply)
    return keep_alive


def _is_plain(reply: Reply) -> bool:
    harmless = reply.framing == "length" and reply.ending == "whole" and reply.cut is None and not reply.extra
    return harmless and isinstance(reply.body, Text) and reply.slow is None and not reply.head_gap


def _make_head(reply: Reply, *, keep_alive: bool) -> bytes:
    names = {name.lower() for name, _ in reply.headers}
    lines = [f"HTTP/1.1 {reply.status} {name_status(reply.status)}"]
    if "date" not in names:
        lines.append(f"Date: {email.utils.formatdate(usegmt=True)}")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if reply.framing == "length" and reply.status not in {204, 304} and "content-length" not in names:
        lines.append(f"Content-Length: {reply.body.size}")
    if reply.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    # Header values may hold any text that a test orders, so this must not be ASCII only.
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _write_head(writer: asyncio.StreamWriter, head: bytes, gap: float) -> None:
    step = 1 if gap else len(head)
    for start in range(0, len(head), step):
        writer.write(head[start : start + step])
        await writer.drain()
        await _pause(gap)


async def _blocks(reply: Reply) -> AsyncIterator[bytes]:
    stop = reply.body.size if reply.cut is None else min(reply.cut, reply.body.size)
    slow = reply.slow or Slow(at=stop)
    turn = min(slow.at, stop)
    for block in reply.body.read(0, turn):
        yield block
    await _pause(slow.pause)
    for block in reply.body.read(turn, stop):
        step = slow.step or max(1, len(block))
        for start in range(0, len(block), step):
            yield block[start : start + step]
            await _pause(slow.every)


async def _write_end(writer: asyncio.StreamWriter, reply: Reply) -> None:
    if reply.ending == "rst":
        await _reset(writer)
    elif reply.ending == "inside-chunk":
        # No byte of it: what arrives has to be a prefix of the file.
        writer.write(b"1000\r\n")
    elif reply.ending == "bad-chunk":
        writer.write(b"zz\r\n")
    elif reply.framing == "chunked" and reply.ending == "whole":
        writer.write(b"0\r\n\r\n")
    writer.write(b"\n" * reply.extra)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


async def _reset(writer: asyncio.StreamWriter) -> None:
    # A reset throws away what the kernel has not sent yet, so that must be let out first.
    writer.transport.set_write_buffer_limits(0)
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pause(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)
