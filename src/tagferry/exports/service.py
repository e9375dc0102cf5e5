"""What the exports of one client share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import msgspec

from tagferry.events import Emit
from tagferry.exports.job import JobReport
from tagferry.exports.schedule import PollSchedule
from tagferry.wire.backoff import Backoff
from tagferry.wire.message import Request
from tagferry.wire.transport import Transport

__all__ = ["AskJob", "ExportService"]

_WRITERS = 4
"""With more threads that hash, the event loop does not get the CPU in time."""

AskJob = Callable[[Request, str, bool], Awaitable[JobReport]]
"""Asks for the state of a job once: its request, its name for messages, whether it is urgent."""


class ExportService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that makes files, as its exports see it."""

    name: str
    ask_job: AskJob
    transport: Transport
    private: bool
    """Whether download links may lead to private addresses."""
    schedule: PollSchedule
    backoff: Backoff
    """For transfers; API calls have their own."""
    stall_timeout: float
    """Seconds in which a transfer must bring some bytes."""
    emit: Emit
    writer: str
    """A random id of this client, for the records beside unfinished files."""
    writers: anyio.CapacityLimiter = msgspec.field(default_factory=lambda: anyio.CapacityLimiter(_WRITERS))
    """Bounds how many blocks are hashed and written at once."""
