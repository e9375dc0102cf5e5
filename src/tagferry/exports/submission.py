"""Jobs that have to be made: each once, whatever happens to the answer.

A request that makes a job makes another one each time it arrives. So it is written down before it is sent
that it is, and the id of the job after it; when the answer is lost, nobody asks again by himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Protocol

import anyio

from tagferry.errors import SubmitUnknownError, TagferryError
from tagferry.events import Submitted
from tagferry.exports.job import Job
from tagferry.exports.record import Submission
from tagferry.exports.thread import in_thread

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = ["Book", "Submissions"]

_GRACE = 4.0
"""Seconds that an answer on its way is waited for when the work is stopped."""


class Book(Protocol):
    """Where a submission is written down; blocks."""

    @property
    def submission(self) -> Submission | None:
        """What is written down."""
        ...

    def note_submission(self, submission: Submission | None) -> None:
        """Write down that a job is being made, which one was, or that there is none; survives a power cut."""
        ...


class Submissions:
    """The jobs that one client makes.

    Args:
        service: The service's name.
        post: Makes a job and returns its id, at most once.
        attach: Returns a job by its id.
        most: How many may be under way at once, from their making to their files.
    """

    def __init__(
        self,
        service: str,
        post: Callable[[Export], Awaitable[str]],
        attach: Callable[[Export, str], Job],
        most: int,
    ) -> None:
        self.places = anyio.Semaphore(most)
        """Taken by each export that is under way."""
        self._service = service
        self._post = post
        self._attach = attach
        self._made: dict[str, str] = {}
        self._making: dict[str, anyio.Lock] = {}

    async def job(self, export: Export, book: Book | None = None) -> Job:
        """Return the job of an export; make it if there is none yet.

        Args:
            export: The export.
            book: Where the job is written down, if there is such a place.

        Raises:
            SubmitUnknownError: Whether there is a job is not known.
            TagferryError: The service could not be asked, or refused.
        """
        key = export.digest
        lock = self._making.setdefault(key, anyio.Lock())
        try:
            async with lock:
                known = export.job_id or self._made.get(key)
                if known is None:
                    known = await self._find_or_make(export, book)
                    self._made[key] = known
                elif book is not None and book.submission != Submission(known):
                    await in_thread(book.note_submission, Submission(known))
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._making.pop(key, None)
        return self._attach(export, known)

    async def forget(self, export: Export, book: Book | None = None) -> None:
        """Forget a job that is of no more use, so that another one can be made."""
        self._made.pop(export.digest, None)
        if book is not None and book.submission is not None:
            await in_thread(book.note_submission, None)

    async def _find_or_make(self, export: Export, book: Book | None) -> str:
        if book is None:
            return await _surely(self._make(export))
        found = book.submission
        if found is None:
            return await _surely(self._make_by_the_book(export, book))
        if found.job_id is None:
            msg = (
                f"whether {self._service} has begun to export {export.name} is not known since an earlier run"
            )
            raise SubmitUnknownError(msg, service=self._service, hint=_SETTLE)
        return found.job_id

    async def _make_by_the_book(self, export: Export, book: Book) -> str:
        await in_thread(book.note_submission, Submission())
        try:
            job_id = await self._make(export)
        except SubmitUnknownError as error:
            error.hint = _SETTLE
            raise
        except TagferryError:
            # The service said no, or was never reached.
            await in_thread(book.note_submission, None)
            raise
        await in_thread(book.note_submission, Submission(job_id))
        return job_id

    async def _make(self, export: Export) -> str:
        job_id = await self._post(export)
        export.backend.emit(Submitted(kind=export.kind, id=export.id, job_id=job_id))
        return job_id


async def _surely(making: Coroutine[None, None, str]) -> str:
    """Make a job; when this is cancelled, an answer that is on its way has some time to come."""
    task = asyncio.create_task(making)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task], timeout=_GRACE)
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, or asyncio calls it lost
        raise


_SETTLE = (
    "look at the service whether the job is there: go on with it by --job ID (attach), or make another one "
    "with --no-resume (resume=False)"
)
