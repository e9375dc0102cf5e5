"""How GrowingIO CDP answers: the fields of its replies, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from tagferry.errors import RefusedError, TagferryError
from tagferry.services.growingio_cdp_spec import SERVICE
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply
from tagferry.wire.status import refusal

__all__ = ["DECODER", "Answer", "find_reason", "is_denial", "read_refusal"]


class Answer(msgspec.Struct):
    """The replies of all calls, and their errors; every field may be anything."""

    id: object = None
    stage: object = None
    uris: object = None
    error: object = None
    errors: object = None
    message: object = None


DECODER = msgspec.json.Decoder(Answer)
"""Reads a reply of any status."""


def find_reason(answer: Answer) -> str:
    """Find what the service says of what went wrong, in each of the places where it does."""
    found = answer.errors
    errors = cast("list[object]", found) if isinstance(found, list) else [found]
    for one in (answer.error, *errors[:1]):
        if isinstance(one, dict):
            fields = cast("dict[str, object]", one)
            words = [fields.get("code"), fields.get("message")]
            if texts := [word for word in words if isinstance(word, str) and word]:
                return ": ".join(texts)
    plain = (answer.message, answer.error)
    return next((text for text in plain if isinstance(text, str) and text), "")


def is_denial(reply: Reply) -> bool:
    """Tell whether this is the answer about what does not exist or may not be seen, in plain text.

    The page "dc-search-user-tag-users" shows it for a tag that is unknown or not for the project.
    """
    return reply.head.status == 500 and reply.body.strip().lower() == b"internal server error"


def read_refusal(reply: Reply, what: str, now: float, hints: Mapping[int, str]) -> TagferryError:
    """Return the error that a reply of another status than success stands for.

    Args:
        reply: The service's reply.
        what: What was asked for, for the message.
        now: Unix time in seconds.
        hints: The next step for some statuses.
    """
    status, answer = reply.head.status, reply.decode(DECODER)
    text = excerpt((find_reason(answer) if answer is not None else "") or reply.body)
    message = f"{SERVICE} answered {status} to {what}" + (f": {text}" if text else "")
    error = refusal(reply.head, message, service=SERVICE, now=now)
    error.hint = hints.get(status, error.hint) or (_HINT if isinstance(error, RefusedError) else None)
    return error


_HINT = "check the base URL, and what a proxy before the CDP lets pass; 2.9 to 2.11 and 4.x are supported"
