"""How GrowingIO CDP answers: the fields of its replies, and what it says of what may not be seen."""

from __future__ import annotations

import msgspec

from tagferry.services.growingio_refusal import Reasons
from tagferry.wire.message import Reply

__all__ = ["DECODER", "Answer", "is_denial"]


class Answer(Reasons):
    """The replies of all calls, and their errors; every field may be anything."""

    id: object = None
    stage: object = None
    uris: object = None


DECODER = msgspec.json.Decoder(Answer)
"""Reads a reply of any status."""


def is_denial(reply: Reply) -> bool:
    """Tell whether this is the answer about what does not exist or may not be seen, in plain text.

    The page "dc-search-user-tag-users" shows it for a tag that is unknown or not for the project.
    """
    return reply.head.status == 500 and reply.body.strip().lower() == b"internal server error"
