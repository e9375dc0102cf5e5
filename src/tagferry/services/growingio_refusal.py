"""What GrowingIO, SaaS and CDP, says of what went wrong, and the errors that it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from tagferry.errors import TagferryError
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply
from tagferry.wire.status import refusal

__all__ = ["Reasons", "find_reason", "read_refusal"]


class Reasons(msgspec.Struct):
    """The fields of a reply that may tell what went wrong; every field may be anything."""

    error_msg: object = msgspec.field(default=None, name="errorMsg")
    error: object = None
    errors: object = None
    message: object = None


_DECODER = msgspec.json.Decoder(Reasons)


def find_reason(answer: Reasons) -> str:
    """Find what the service says of what went wrong, in each of the places where it does."""
    return next((text for found in _places(answer) if (text := _text(found))), "")


def _places(answer: Reasons) -> Iterator[object]:
    """Give what may tell it, the most telling first."""
    yield answer.error_msg
    yield answer.message
    yield answer.error
    found = answer.errors
    yield from cast("list[object]", found)[:1] if isinstance(found, list) else [found]


def _text(found: object) -> str:
    if isinstance(found, dict):
        fields = cast("dict[str, object]", found)
        words = fields.get("code"), fields.get("message")
        return ": ".join(word for word in words if isinstance(word, str) and word)
    return found if isinstance(found, str) else ""


def read_refusal(
    reply: Reply, what: str, *, service: str, now: float, hints: Mapping[int, str]
) -> TagferryError:
    """Return the error that a reply of another status than success stands for.

    Args:
        reply: The service's reply.
        what: What was asked for, for the message.
        service: The service that answered.
        now: Unix time in seconds.
        hints: The next step for some statuses.
    """
    status, answer = reply.head.status, reply.decode(_DECODER)
    text = excerpt((find_reason(answer) if answer is not None else "") or reply.body)
    message = f"{service} answered {status} to {what}" + (f": {text}" if text else "")
    error = refusal(reply.head, message, service=service, now=now)
    error.hint = hints.get(status, error.hint)
    return error
