"""What happens on the way, as values: progress views and logs listen to these."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tagferry.errors import TagferryError

__all__ = [
    "Attached",
    "BatchesHalved",
    "Checkpointed",
    "ConvertProgress",
    "Converting",
    "Emit",
    "Event",
    "FetchPlanned",
    "Fetching",
    "InsecureAddress",
    "LinkRenewed",
    "OddAnswer",
    "PartRestarted",
    "PartSaved",
    "Polled",
    "Progress",
    "Resumed",
    "Retrying",
    "Submitted",
    "Throttled",
    "TransferBroken",
    "UnknownStatus",
    "log_event",
]

logger = logging.getLogger("tagferry")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The root of all events."""


class Polled(Event, frozen=True, kw_only=True):
    """The service was asked for the state of an export."""

    kind: str
    id: str
    state: str
    """``"running"``, ``"done"``, ``"empty"`` or ``"failed"``."""
    delay: float | None
    """Seconds until it is asked again, or None if it is not."""


class Submitted(Event, frozen=True, kw_only=True):
    """A job was made at the service."""

    kind: str
    id: str
    job_id: str


class Attached(Event, frozen=True, kw_only=True):
    """A job that an earlier run made, by what is written down beside its output, is gone on with."""

    kind: str
    id: str
    job_id: str


class InsecureAddress(Event, frozen=True, kw_only=True):
    """Credentials go over the network in clear; told once for each address."""

    service: str
    address: str


class UnknownStatus(Event, frozen=True, kw_only=True):
    """The service used a status word that is not documented; it is taken for "running"."""

    kind: str
    id: str
    word: str


class Retrying(Event, frozen=True, kw_only=True):
    """A call failed and is tried again."""

    operation: str
    failures: int
    delay: float
    """Seconds before the next try."""
    error: TagferryError


class Throttled(Event, frozen=True, kw_only=True):
    """The service said "too fast"; all calls under the same quota slow down."""

    operation: str
    wait: float | None
    """The wait that the service asked for, in seconds."""


class Progress(Event, frozen=True, kw_only=True):
    """Bytes of a file are on disk."""

    kind: str
    id: str
    part: int
    """The number of the part, from 1."""
    parts: int
    received: int
    """Bytes of this part on disk."""
    total: int | None
    """Bytes of this part as declared, if it was."""


class Resumed(Event, frozen=True, kw_only=True):
    """A transfer goes on behind the bytes that are already on disk."""

    kind: str
    id: str
    part: int
    offset: int


class PartRestarted(Event, frozen=True, kw_only=True):
    """What is on disk of a part is dropped, and it begins anew: it was damaged, or it is another file now."""

    kind: str
    id: str
    part: int
    dropped: int
    """Bytes."""


class TransferBroken(Event, frozen=True, kw_only=True):
    """A transfer broke off and is taken up again."""

    kind: str
    id: str
    part: int
    received: int
    delay: float
    error: TagferryError


class LinkRenewed(Event, frozen=True, kw_only=True):
    """A download link had lapsed, and the service gave a fresh one."""

    kind: str
    id: str


class PartSaved(Event, frozen=True, kw_only=True):
    """All bytes of a part are on disk and verified."""

    kind: str
    id: str
    part: int
    size: int


class FetchPlanned(Event, frozen=True, kw_only=True):
    """A fetch knows its input, and what it will cost; nothing was asked yet."""

    kind: str
    output: str
    accounts: int
    """Accounts in the input, repeats included."""
    distinct: int
    left: int
    """Accounts that no earlier run has brought."""
    calls: int
    """Calls that these need at least."""
    seconds: float
    """Seconds that these calls need at least."""


class Fetching(Event, frozen=True, kw_only=True):
    """A fetch goes on; emitted a few times a second, and when it is done."""

    kind: str
    output: str
    distinct: int
    tagged: int
    missing: int
    failed: int
    requests: int
    throttled: int


class Checkpointed(Event, frozen=True, kw_only=True):
    """What was fetched until now is on disk, and no later run asks for it again."""

    kind: str
    output: str
    accounts: int


class Converting(Event, frozen=True, kw_only=True):
    """A table is made of what is on disk."""

    output: str


class ConvertProgress(Event, frozen=True, kw_only=True):
    """Some more of the files that a table is made of was read."""

    output: str
    read: int
    """Bytes read so far."""
    total: int
    """Bytes to read in all; JSON Lines are mostly read twice, so that it may grow once."""


class OddAnswer(Event, frozen=True, kw_only=True):
    """The service answered in a way that is not documented; it is told once for each way."""

    kind: str
    what: str


class BatchesHalved(Event, frozen=True, kw_only=True):
    """The service found a call too large; the others have fewer accounts from now on."""

    kind: str
    size: int


Emit = Callable[[Event], None]
"""A listener: a plain function, called on the event loop, so it must not block."""

_LEVELS: dict[type[Event], int] = {
    Attached: logging.INFO,
    BatchesHalved: logging.WARNING,
    Converting: logging.INFO,
    FetchPlanned: logging.INFO,
    OddAnswer: logging.WARNING,
    InsecureAddress: logging.WARNING,
    LinkRenewed: logging.INFO,
    PartRestarted: logging.INFO,
    PartSaved: logging.INFO,
    Resumed: logging.INFO,
    Retrying: logging.WARNING,
    Submitted: logging.INFO,
    Throttled: logging.WARNING,
    TransferBroken: logging.WARNING,
    UnknownStatus: logging.WARNING,
}


def log_event(event: Event) -> None:
    """Write an event to the logger ``tagferry``; polls and progress are of level DEBUG."""
    level = _LEVELS.get(type(event), logging.DEBUG)
    if logger.isEnabledFor(level):
        facts = {name: getattr(event, name) for name in event.__struct_fields__}
        text = " ".join(f"{name}={_shown(value)}" for name, value in facts.items() if value is not None)
        logger.log(level, "%s %s", type(event).__name__, text)


def _shown(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else f"{value}"
