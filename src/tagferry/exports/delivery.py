"""One export, from the question to the files: check, wait, download, commit."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import aiofiles.os

from tagferry.deadline import within as deadline_within
from tagferry.errors import ConfigError, JobFailedError, LinkExpiredError, RefusedError, TagferryError
from tagferry.exports.download import Download
from tagferry.exports.job import Job
from tagferry.exports.naming import check_clashes, final_name, find_finals
from tagferry.exports.outcome import ExportDone, SavedFile
from tagferry.exports.part import hash_file
from tagferry.exports.slots import Admission, Slots
from tagferry.exports.workplace import Workplace, is_committing
from tagferry.files.disk import check_directory, disk_errors, look, names_in
from tagferry.files.place import check_free
from tagferry.files.thread import in_thread

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.exports.submission import Submissions

__all__ = ["DEADLINE", "IfExists", "check_targets", "deliver", "within"]

T = TypeVar("T")

DEADLINE = 6 * 3600.0
"""Seconds that an export may take in all, unless the caller says otherwise."""

_GONE = {404, 410}
"""Statuses of a job that the service does not know any more."""
_ANEW = "the files of this job are gone; run the same again to make another one"
_DETACHED = "the files of this job are gone; run it without --job (attach) to make another one"

IfExists = Literal["error", "skip", "replace"]


async def within(deadline: float | None, export: Export, work: Callable[[Export], Awaitable[T]]) -> T:
    """Do some work for an export in no more than a deadline in seconds; None is no bound."""
    return await deadline_within(deadline, lambda: work(export), name=export.name, service=export.service)


def check_targets(
    exports: Sequence[Export], directory: Path, if_exists: IfExists
) -> Mapping[str, Sequence[str]]:
    """Refuse what cannot end well, before any request and without touching the disk.

    Returns:
        The names of finished files that are already there, by the stem of their export.

    Raises:
        ConfigError: The directory cannot be written, two exports share a name, or a file is already there.
        DiskError: The directory cannot be read.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists is {if_exists!r}", hint="give one of error, skip, replace")
    check_directory(directory)
    check_clashes((export.stem + export.ending for export in exports), directory)
    names, found = names_in(directory), dict[str, Sequence[str]]()
    for ending in {export.ending for export in exports}:
        found.update(find_finals(names, ending))
    if if_exists == "error":
        for export in exports:
            if (old := found.get(export.stem)) and not is_committing(export, directory):
                hint = "--if-exists skip (if_exists=) keeps it and goes on with the rest, replace does not"
                msg = f"{directory / old[0]} is already there"
                raise ConfigError(msg, service=export.service, hint=hint)
    return found


async def deliver(
    export: Export,
    *,
    directory: Path,
    existing: Mapping[str, Sequence[str]],
    if_exists: IfExists,
    resume: bool,
    slots: Slots | None = None,
) -> ExportDone:
    """Bring one export to disk.

    Args:
        export: The export.
        directory: Where its files go; made if need be.
        existing: The names of finished files that `check_targets` found there.
        if_exists: What to do about finished files that are already there.
        resume: Whether to go on with unfinished files that are already there.
        slots: Bounds what is done at once, among many exports.

    Raises:
        TagferryError: It could not be done; what is unfinished stays for the next run.
    """
    replace = if_exists == "replace"
    finished = await in_thread(functools.partial(Workplace.finish, export, directory, replace=replace))
    if finished is not None:
        return _done(export, finished)
    if if_exists == "skip" and (names := existing.get(export.stem)):
        return ExportDone(export, await in_thread(_saved, directory, names), "skipped")
    admission = Admission(slots) if slots is not None else None
    try:
        if export.backend.submissions is not None:
            return await _deliver_job(
                export, export.backend.submissions, directory, admission, if_exists=if_exists, resume=resume
            )
        job = Job(None, export.request)
        links = await export.poller.wait(export, job, admission=admission)
        if not links:
            await in_thread(functools.partial(Workplace.clear, export, directory, replace=replace))
            return _done(export, ())
        async with admission or nullcontext(), _workplace(export, directory, resume=resume) as place:
            if (others := await in_thread(_done_meanwhile, export, directory, if_exists)) is not None:
                return others
            return await _download(export, job, links, place, replace=replace)
    finally:
        if admission is not None:
            admission.done()


async def _deliver_job(
    export: Export,
    submissions: Submissions,
    directory: Path,
    admission: Admission | None,
    *,
    if_exists: IfExists,
    resume: bool,
) -> ExportDone:
    """Bring an export to disk whose job has to be made: what is known of it stands in the record."""
    async with submissions.places, _workplace(export, directory, resume=resume) as place:
        if (others := await in_thread(_done_meanwhile, export, directory, if_exists)) is not None:
            return others
        job = await submissions.job(export, place, anew=not resume)
        try:
            done = await _deliver_files(export, job, place, admission, replace=if_exists == "replace")
        except TagferryError as error:
            if _is_gone(error):
                await submissions.forget(export, job, place)
                if isinstance(error, LinkExpiredError):
                    # Who is attached to this job gets no other one by doing the same.
                    error.retryable = export.job_id is None
                    error.hint = _ANEW if error.retryable else _DETACHED
            raise
        await submissions.forget(export, job)
        return done


async def _deliver_files(
    export: Export, job: Job, place: Workplace, admission: Admission | None, *, replace: bool
) -> ExportDone:
    links = await export.poller.wait(export, job, admission=admission)
    if not links:
        # There may be parts of another job.
        await in_thread(place.reset, 0)
        return _done(export, await in_thread(functools.partial(place.commit, replace=replace)))
    async with admission or nullcontext():
        return await _download(export, job, links, place, replace=replace)


def _is_gone(error: TagferryError) -> bool:
    """Tell whether nothing more is to be had of a job."""
    if isinstance(error, RefusedError):
        return error.code in _GONE
    return isinstance(error, (JobFailedError, LinkExpiredError))


@asynccontextmanager
async def _workplace(export: Export, directory: Path, *, resume: bool) -> AsyncGenerator[Workplace]:
    with disk_errors(directory, "make the directory"):
        await aiofiles.os.makedirs(directory, exist_ok=True)
    opening = functools.partial(Workplace.open, export, directory, resume=resume)
    place = await in_thread(opening, undo=Workplace.close)
    try:
        yield place
    finally:
        await in_thread(place.close)


async def _download(
    export: Export, job: Job, links: tuple[str, ...], place: Workplace, *, replace: bool
) -> ExportDone:
    await Download(export, export.backend, export.poller, job, place).run(links)
    return _done(export, await in_thread(functools.partial(place.commit, replace=replace)))


def _done(export: Export, files: tuple[SavedFile, ...]) -> ExportDone:
    return ExportDone(export, files, "done" if files else "empty")


def _done_meanwhile(export: Export, directory: Path, if_exists: IfExists) -> ExportDone | None:
    """Look again now that no other process may write: one may have done it all in the meantime."""
    if if_exists == "replace" or not (names := _finals(export, directory)):
        return None
    if if_exists == "error":
        check_free(directory / names[0])
    return ExportDone(export, _saved(directory, names), "skipped")


def _finals(export: Export, directory: Path) -> Sequence[str]:
    # Few looks first: the directory may hold the files of thousands of exports.
    firsts = {
        final_name(export.stem, export.ending, 1, parts, gzip=gzip)
        for parts in (1, 2)
        for gzip in (False, True)
    }
    if not any(look(directory / name, follow=False) for name in firsts):
        return ()
    return find_finals(names_in(directory), export.ending).get(export.stem, ())


def _saved(directory: Path, names: Sequence[str]) -> tuple[SavedFile, ...]:
    return tuple(SavedFile(directory / name, *hash_file(directory / name)) for name in names)
