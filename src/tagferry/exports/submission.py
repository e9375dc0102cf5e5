"""Jobs that have to be made: each once, whatever happens to the answer.

A request that makes a job makes another one each time it arrives. So it is written down before it is sent
that it is, and the id of the job after it; when the answer is lost, nobody asks again by himself.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import anyio

from tagferry.errors import DiskError, SubmitUnknownError
from tagferry.events import Attached, Submitted
from tagferry.exports.job import Job
from tagferry.exports.record import Submission
from tagferry.files.thread import in_thread

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.wire.call import Intent

__all__ = ["Book", "Submissions"]

_GRACE = 3.0
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


class _Making:
    """The making of one job: the intent of its request, which is written down while it may have arrived."""

    def __init__(self, book: Book | None) -> None:
        self.open = False
        """Whether a request may have arrived whose answer is not known."""
        self._book = book

    async def declare(self) -> None:
        if (book := self._book) is not None:
            # A cancellation in here comes before the request.
            await in_thread(book.note_submission, Submission(), undo=book.note_submission)
        self.open = True

    async def withdraw(self) -> None:
        self.open = False
        if self._book is not None:
            await in_thread(self._book.note_submission, None)

    async def end(self, job_id: str) -> None:
        """Write down which job was made."""
        self.open = False
        if self._book is None:
            return
        try:
            await in_thread(self._book.note_submission, Submission(job_id))
        except DiskError as error:
            error.hint = f"the job {job_id} was made all the same: go on with it by --job {job_id} (attach)"
            raise


class _Queue:
    """Those who want the job of equal exports at the same time."""

    __slots__ = ("lock", "unknown", "users")

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.users = 0
        self.unknown: SubmitUnknownError | None = None


class Submissions:
    """The jobs that one client makes.

    Args:
        service: The service's name.
        post: Makes a job and returns its id, at most once; tells the intent when it is about to.
        attach: Returns a job by its id.
        most: How many may be under way at once, from their making to their files.
    """

    def __init__(
        self,
        service: str,
        post: Callable[[Export, Intent], Awaitable[str]],
        attach: Callable[[Export, str], Job],
        most: int,
    ) -> None:
        self.places = anyio.Semaphore(most)
        """Taken by each export that is under way."""
        self._service = service
        self._post = post
        self._attach = attach
        self._made: dict[str, str] = {}
        self._untold: set[str] = set()  # stopped before the answer came
        self._queues: dict[str, _Queue] = {}

    async def job(self, export: Export, book: Book | None = None, *, anew: bool = False) -> Job:
        """Return the job of an export; make it if there is none yet.

        Args:
            export: The export.
            book: Where the job is written down, if there is such a place.
            anew: Whether to make another one although it is not known what became of one before.

        Raises:
            SubmitUnknownError: Whether there is a job is not known.
            TagferryError: The service could not be asked, or refused.
        """
        key = export.digest
        queue = self._queues.setdefault(key, _Queue())
        queue.users += 1
        try:
            async with queue.lock:
                job_id = await self._find_or_make(export, book, queue, anew=anew)
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[key]
        return self._attach(export, job_id)

    async def forget(self, export: Export, job: Job, book: Book | None = None) -> None:
        """Forget a job that is of no more use, so that another one can be made."""
        if self._made.get(export.digest) == job.id:
            del self._made[export.digest]
        if book is not None:
            await in_thread(book.note_submission, None)

    async def _find_or_make(self, export: Export, book: Book | None, queue: _Queue, *, anew: bool) -> str:
        found = book.submission if book is not None else None
        known = export.job_id or self._made.get(export.digest)
        if known is not None:
            if book is not None and found != Submission(known):
                await in_thread(book.note_submission, Submission(known))
            return known
        untold = export.digest in self._untold
        self._untold.discard(export.digest)
        if found is not None and found.job_id is not None:
            export.backend.emit(Attached(kind=export.kind, id=export.id, job_id=found.job_id))
            return found.job_id
        if queue.unknown is not None:
            # An equal export, at the same time, had no answer.
            raise copy.copy(queue.unknown)
        if found is not None:
            raise self._unknown(export, "since an earlier run had no answer")
        if untold and not anew:
            raise self._unknown(export, "since it was stopped before the answer came")
        return await self._make_surely(export, book, queue)

    async def _make_surely(self, export: Export, book: Book | None, queue: _Queue) -> str:
        """Make a job; when this is cancelled, an answer that is on its way has some time to come."""
        making = _Making(book)
        task = asyncio.create_task(self._make(export, making))
        try:
            await asyncio.wait([task])
            return task.result()
        except SubmitUnknownError as error:
            if book is not None:
                error.hint = _SETTLE
            queue.unknown = error
            raise
        except asyncio.CancelledError:
            await _settle(task, _GRACE if making.open else 0.0)
            if making.open:
                self._untold.add(export.digest)
                queue.unknown = self._unknown(export, "since it was stopped before the answer came")
            raise

    async def _make(self, export: Export, making: _Making) -> str:
        job_id = await self._post(export, making)
        self._made[export.digest] = job_id
        export.backend.emit(Submitted(kind=export.kind, id=export.id, job_id=job_id))
        await making.end(job_id)
        return job_id

    def _unknown(self, export: Export, why: str) -> SubmitUnknownError:
        msg = f"whether {self._service} has begun to export {export.name} is not known, {why}"
        return SubmitUnknownError(msg, service=self._service, hint=_SETTLE)


async def _settle(task: asyncio.Task[str], grace: float) -> None:
    """Wait until a task has ended, however often this is cancelled; after a grace in seconds, cancel it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + grace
    # The scope holds off cancellations of anyio, the loop those of asyncio.
    with anyio.CancelScope(shield=True):
        while not task.done():
            left = until - loop.time()
            if left <= 0 and not task.cancelling():
                task.cancel()
            try:
                await asyncio.wait([task], timeout=left if left > 0 else None)
            except asyncio.CancelledError:
                continue
    if not task.cancelled():
        task.exception()  # looked at, or asyncio calls it lost


_SETTLE = (
    "look at the service whether the job is there: go on with it by --job ID (attach), or make another one "
    "with --no-resume (resume=False)"
)
