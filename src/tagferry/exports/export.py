"""An export: a description of what is wanted, and the ways to get it."""

from __future__ import annotations

import functools
import hashlib
import os
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from tagferry.exports.delivery import DEADLINE, IfExists, check_targets, deliver, within
from tagferry.exports.job import Job, Ready
from tagferry.exports.reading import read_export
from tagferry.files.thread import in_thread
from tagferry.rows.encoding import Encoding
from tagferry.rows.fault import Faults, OnError
from tagferry.rows.options import MAX_RECORD, ReadOptions
from tagferry.rows.reader import Rows
from tagferry.wire.message import Request

if TYPE_CHECKING:
    from tagferry.exports.outcome import SavedFile
    from tagferry.exports.poller import Poller
    from tagferry.exports.service import ExportService

__all__ = ["Export"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Export:
    """What to export from where. It is made by a client, and nothing is sent before it is awaited.

    Two exports are equal when they ask for the same; equal ones in flight are one job.
    """

    service: str
    """The service, such as ``"growingio-saas"``."""
    kind: str
    """The kind of export, such as ``"growingio-tag"``."""
    id: str
    """The service's id of what is exported."""
    name: str
    """What is exported, in words, for messages."""
    stem: str
    """The file name without its ending."""
    ending: str
    """The ending of a file that is not compressed, such as ``".csv"``."""
    request: Request = field(hash=False)  # its headers cannot be hashed
    """Asks for the export; where jobs have to be made, it makes one."""
    backend: ExportService = field(compare=False)
    poller: Poller = field(compare=False)
    job_id: str | None = None
    """The service's id of a job that is attached to."""

    def __repr__(self) -> str:
        return f"Export({self.kind} {self.id})"

    @property
    def digest(self) -> str:
        """What tells one export from another, in hex; it holds no secret."""
        request = self.request
        headers = sorted(request.headers.items())
        facts = (self.kind, request.method, request.url, headers, request.body)
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()

    async def submit(self) -> Job:
        """Make the job at the service now, where jobs have to be made; it is made once in a client's life.

        The job's id outlives the process: note it, and `attach` to it later.

        Raises:
            SubmitUnknownError: The answer was lost; whether there is a job is not known.
            TagferryError: The service could not be asked, or refused.
        """
        submissions = self.backend.submissions
        return Job(None, self.request) if submissions is None else await submissions.job(self)

    async def wait(self, *, deadline: float | None = DEADLINE) -> Ready:
        """Wait until the service has finished the export, and return its links.

        Args:
            deadline: Seconds that this may take; None for no bound.

        Raises:
            DeadlineError: The time is over. The job goes on at the service; wait again to go on.
            JobFailedError: The service gave up on the job.
            SubmitUnknownError: As for `submit`.
            TagferryError: The service could not be asked, or refused.
        """

        async def work(export: Export) -> Ready:
            submissions = export.backend.submissions
            async with nullcontext() if submissions is None else submissions.places:
                job = await export.submit()
                return Ready(job.id, await export.poller.wait(export, job))

        return await within(deadline, self, work)

    async def download(
        self,
        directory: str | os.PathLike[str],
        *,
        deadline: float | None = DEADLINE,
        if_exists: IfExists = "error",
        resume: bool = True,
    ) -> tuple[SavedFile, ...]:
        """Wait for the export and bring its files to a directory.

        A final name appears only when its file is whole. What an earlier run left unfinished is taken up
        where it stopped.

        Args:
            directory: Where the files go; made if need be.
            deadline: Seconds that all of it may take; None for no bound.
            if_exists: What to do about a finished file that is already there: ``"error"``, ``"skip"``
                (keep it and return it) or ``"replace"`` (it goes when the new answer is whole, also when
                that is empty: an old audience must not pass for a new one that has no users).
            resume: Whether to go on with unfinished files.

        Returns:
            The files in order of the parts; none when the audience is empty.

        Raises:
            ConfigError: The directory or a file in it is in the way; raised before any request.
            DiskError: A file could not be written.
            IntegrityError: The bytes are not what the service declared.
            LinkExpiredError: The service gave no living link.
            TagferryError: As for `wait`.

        Example:
            >>> files = await gio.tag_users("nxog09md", "5rREn4PL").download("out")
            >>> files[0].path
            PosixPath('out/growingio-tag-nxog09md-5rREn4PL.csv')
        """
        where = Path(directory)
        found = await in_thread(check_targets, [self], where, if_exists)
        work = functools.partial(deliver, directory=where, existing=found, if_exists=if_exists, resume=resume)
        return (await within(deadline, self, work)).files

    @overload
    def rows(
        self,
        type: None = None,
        *,
        directory: str | os.PathLike[str],
        deadline: float | None = ...,
        if_exists: IfExists = ...,
        resume: bool = ...,
        on_error: OnError = ...,
        encoding: Encoding = ...,
        max_record: int = ...,
    ) -> AbstractAsyncContextManager[Rows[dict[str, Any]]]: ...
    @overload
    def rows(
        self,
        type: type[T],
        *,
        directory: str | os.PathLike[str],
        deadline: float | None = ...,
        if_exists: IfExists = ...,
        resume: bool = ...,
        on_error: OnError = ...,
        encoding: Encoding = ...,
        max_record: int = ...,
    ) -> AbstractAsyncContextManager[Rows[T]]: ...
    def rows(
        self,
        type: type[Any] | None = None,  # noqa: A002  # the design's name, and what it is
        *,
        directory: str | os.PathLike[str],
        deadline: float | None = DEADLINE,
        if_exists: IfExists = "error",
        resume: bool = True,
        on_error: OnError = "raise",
        encoding: Encoding = "auto",
        max_record: int = MAX_RECORD,
    ) -> AbstractAsyncContextManager[Rows[Any]]:
        """Download as `download` does, and give the rows while the bytes come.

        Bytes go to disk first, however slow the rows are taken. When the last row was given, the files are
        whole and have their names; leaving the block before stops the download, and the next one goes on
        there. Rows come before their file is verified: if what is saved in the end is not what was read, the
        last thing that comes is an `IntegrityError`.

        Args:
            type: A `msgspec.Struct`, as for `read_rows`; without one a row is a dict.
            directory: Where the files go; made if need be.
            deadline: Seconds that all of the download may take; None for no bound.
            if_exists: What to do about a finished file that is already there, as for `download`; with
                ``"skip"`` its rows are read.
            resume: Whether to go on with unfinished files.
            on_error: What to do about bad records, as for `read_rows`.
            encoding: What to read if the bytes do not tell.
            max_record: The longest record in bytes, of CSV in characters.

        Returns:
            An async context manager that gives the rows, one by one or in `Rows.batches`.

        Raises:
            ConfigError: A value that cannot work, or a file is in the way; before any request.
            RecordError: A record cannot be decoded; raised by the iteration, as all that follows.
            TagferryError: As for `download`.

        Example:
            >>> async with gio.tag_users("nxog09md", "5rREn4PL").rows(User, directory="out") as rows:
            ...     async for user in rows: ...
        """
        options: ReadOptions[Any] = ReadOptions(
            type, dialect=self.backend.dialect, encoding=encoding, max_record=max_record
        )
        return read_export(
            self,
            Path(directory),
            options,
            Faults(on_error),
            deadline=deadline,
            if_exists=if_exists,
            resume=resume,
        )
