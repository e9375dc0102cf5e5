"""What the exports of one client share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from yarl import URL

from tagferry.events import Emit
from tagferry.exports.gate import Gate
from tagferry.exports.job import Job, JobReport
from tagferry.exports.resume import LAPSED
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.submission import Submissions
from tagferry.rows.dialect import DialectName
from tagferry.wire.backoff import Backoff
from tagferry.wire.transport import Transport

__all__ = ["AskJob", "ExportService"]

_WRITERS = 3
"""With more threads that hash, the event loop does not get the CPU in time."""

AskJob = Callable[[Job, str, bool], Awaitable[JobReport]]
"""Asks for the state of a job once: the job, what it exports in words, whether it is urgent."""


async def _no_headers(_: URL) -> Mapping[str, str]:
    return {}


async def _never(_: Mapping[str, str]) -> bool:
    return False


class ExportService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that makes files, as its exports see it."""

    name: str
    dialect: DialectName
    """How its CSV files quote and escape."""
    ask_job: AskJob
    transport: Transport
    private: bool
    """Whether download links may lead to private addresses."""
    schedule: PollSchedule
    backoff: Backoff
    """For transfers; API calls have their own."""
    submissions: Submissions | None = None
    """Makes jobs, where asking for an export does not."""
    file_headers: Callable[[URL], Awaitable[Mapping[str, str]]] = _no_headers
    """Further headers of a request for a file; a token goes to its own origin only."""
    renew_headers: Callable[[Mapping[str, str]], Awaitable[bool]] = _never
    """Told those of them that were refused; whether there are others now."""
    file_hints: Mapping[int, str] = {}
    """What to do about a refused file, by its status."""
    lapsed: frozenset[int] = LAPSED
    """Statuses of a file whose link has lapsed."""
    renews: bool = True
    """Whether a lapsed link is replaced by another one."""
    stall_timeout: float
    """Seconds in which a transfer must bring some bytes."""
    emit: Emit
    writer: str
    """A random id of this client, for the records beside unfinished files."""
    writers: Gate = msgspec.field(default_factory=lambda: Gate(_WRITERS))
    """Bounds how many blocks are hashed and written at once."""
