"""What the engine of look-ups needs of a service; each service provides one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from tagferry.errors import TagferryError
from tagferry.events import Emit
from tagferry.lookups.outcome import Answer, Verdict
from tagferry.wire.backoff import Backoff
from tagferry.wire.call import Tally

__all__ = ["LookupService"]


class LookupService(msgspec.Struct, frozen=True, kw_only=True):
    """One service, bound to a client's settings."""

    name: str
    kind: str
    """What is looked up, such as ``"tencent-tags"``."""
    ask: Callable[[Sequence[str], Tally], Awaitable[Answer]]
    """Makes one call for distinct accounts, under its quota and with its retries, and tallies it."""
    batch: int
    """The most accounts in one call."""
    workers: int
    """The most calls that make sense at once."""
    rate: float
    """The most calls in a second."""
    is_spoilt: Callable[[TagferryError], bool]
    """Whether a call failed for some of its accounts only."""
    is_too_large: Callable[[TagferryError], bool]
    """Whether a call failed for the number of its accounts."""
    judge: Callable[[int], Verdict]
    hold: Callable[[float], None]
    """Lets nothing go for a wait in seconds."""
    settings: Mapping[str, str]
    """What answers depend on, so that an unfinished fetch is not gone on with under others; no secret."""
    backoff: Backoff
    emit: Emit
