"""What an ordered fault does to an answer."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

from tagferry.emulator.audience import Body, Text
from tagferry.emulator.wire import JSON, Reply, Slow, json_reply, name_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tagferry.emulator.faults import Fault, Plan
    from tagferry.emulator.wire import Request

HTML = "<!DOCTYPE html>\n<html><head><title>系统维护中</title></head><body>系统维护中</body></html>\n"
# The documented bodies; other statuses get an envelope of the same form.
ENVELOPES = {
    401: '{"message":"Unauthorized","errors":[]}',
    500: (
        '{"message":"Request timeout","errors":[{"code":"request_timeout",'
        '"message":"Request timeout in 5000 milliseconds"}]}'
    ),
}
GZIP_LIMIT = 1 << 28
_HTML_TYPE = ("Content-Type", "text/html;charset=utf-8")
_TEXT_TYPE = ("Content-Type", "text/plain;charset=utf-8")


def envelope(status: int) -> str:
    """The error body of the API host for a status."""
    return ENVELOPES.get(status, f'{{"message":"{name_status(status)}","errors":[]}}')


def replace_reply(plan: Plan, request: Request) -> Reply | None:
    """The answer of something in between, which the service itself never saw; `None` when it is asked."""
    for fault in plan.faults:
        match fault.word:
            case "status":
                status = int(fault.value)
                reply = json_reply(status, "" if status in {204, 304} else envelope(status))
                after = fault.options["retry-after"]
                return replace(reply, headers=reply.with_header("Retry-After", after or None))
            case "html":
                return Reply(status=200, headers=(_HTML_TYPE,), body=_text(HTML))
            case "body":
                kind = JSON if fault.value[:1] in {"{", "["} else _TEXT_TYPE
                return Reply(status=200, headers=(kind,), body=_text(fault.value))
            case "redirect" | "redirect-loop":
                return Reply(status=302, headers=(("Location", fault.value or request.target),))
            case "close":
                return Reply(status=200, silent=True)
            case _:
                continue
    return None


def damage_reply(reply: Reply, plan: Plan) -> Reply:
    """The same answer, with what goes wrong on its way."""
    for fault in plan.faults:
        change = _CHANGES.get(fault.word)
        if change is not None:
            reply = change(reply, fault)
    return reply


def compress_body(body: Body) -> Text:
    """A body as one gzip member; always the same bytes."""
    if body.size > GZIP_LIMIT:
        raise ValueError(f"gzip faults are for bodies up to {GZIP_LIMIT} bytes, not {body.size}")
    return Text(gzip.compress(b"".join(body.read(0, body.size)), compresslevel=1, mtime=0))


def _text(text: str) -> Text:
    return Text(text.encode())


def _header(reply: Reply, fault: Fault) -> Reply:
    name, _, value = fault.value.partition(":")
    return replace(reply, headers=reply.with_header(name.strip(), value.strip()))


def _chunk(reply: Reply, fault: Fault) -> Reply:
    inside = fault.word == "cut-chunked"
    return replace(reply, framing="chunked", cut=fault.at, ending="inside-chunk" if inside else "bad-chunk")


def _drip(reply: Reply, fault: Fault) -> Reply:
    slow = Slow(fault.at, step=int(fault.options["bytes"]), every=float(fault.options["every"]))
    return replace(reply, slow=slow)


def _gzip(reply: Reply, fault: Fault) -> Reply:
    body = compress_body(reply.body)
    if fault.word == "cut-gzip":
        body = Text(body.data[: fault.at])
    return replace(reply, body=body, headers=reply.with_header("Content-Encoding", "gzip"))


_CHANGES: dict[str, Callable[[Reply, Fault], Reply]] = {
    "delay": lambda reply, fault: replace(reply, delay=reply.delay + float(fault.value)),
    "header": _header,
    "drip-head": lambda reply, fault: replace(reply, head_gap=float(fault.options["every"])),
    "cut": lambda reply, fault: replace(reply, cut=fault.at, ending="fin"),
    "reset": lambda reply, fault: replace(reply, cut=fault.at, ending="rst"),
    "stall": lambda reply, fault: replace(reply, slow=Slow(fault.at, pause=float(fault.options["for"]))),
    "drip": _drip,
    "extra": lambda reply, fault: replace(reply, extra=int(fault.value)),
    "no-length": lambda reply, _: replace(reply, framing="close"),
    "chunked": lambda reply, _: replace(reply, framing="chunked"),
    "cut-chunked": _chunk,
    "bad-chunk": _chunk,
    "gzip": _gzip,
    "cut-gzip": _gzip,
    "lost": lambda reply, _: replace(reply, silent=True),
}
