"""One export, from the question to the files: check, wait, download, commit."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import aiofiles.os
import anyio
import anyio.to_thread

from tagferry.errors import ConfigError, DeadlineError
from tagferry.exports.disk import check_directory, disk_errors
from tagferry.exports.download import Download, commit, digest_request, discard_parts
from tagferry.exports.naming import check_clashes, find_finals, record_name
from tagferry.exports.outcome import ExportDone, SavedFile
from tagferry.exports.part import hash_file
from tagferry.exports.record import Record, RecordFile

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.exports.poller import Hold

__all__ = ["DEADLINE", "IfExists", "check_targets", "deliver", "within"]

DEADLINE = 6 * 3600.0
"""Seconds that an export may take in all, unless the caller says otherwise."""

IfExists = Literal["error", "skip", "replace"]


@asynccontextmanager
async def within(deadline: float | None, export: Export) -> AsyncGenerator[None]:
    """Bound a block by a deadline in seconds; None is no bound.

    Raises:
        ConfigError: The deadline is not a positive number.
        DeadlineError: The time is over.
    """
    if deadline is not None and not deadline > 0:
        raise ConfigError(
            f"a deadline of {deadline!r} s is not positive", hint="give seconds, or None for no deadline"
        )
    with anyio.move_on_after(math.inf if deadline is None else deadline) as scope:
        yield
    if scope.cancelled_caught:
        msg = f"{export.name} was not done within {deadline:g} s"
        hint = "run the same again to go on where it stopped, with a longer deadline"
        raise DeadlineError(msg, service=export.service, hint=hint)


def check_targets(exports: Iterable[Export], directory: Path, if_exists: IfExists) -> None:
    """Refuse what cannot end well, before any request and without touching the disk.

    Raises:
        ConfigError: The directory cannot be written, two exports share a name, or a file is already there.
    """
    exports = list(exports)
    if if_exists not in get_args(IfExists):
        msg = f"if_exists is {if_exists!r}"
        raise ConfigError(msg, hint="give one of error, skip, replace")
    check_directory(directory)
    check_clashes((export.stem + export.ending for export in exports), directory)
    if if_exists == "error":
        names = _names(directory)
        for export in exports:
            found = find_finals(export.stem, export.ending, names)
            if found and not _is_committing(directory, export):
                raise ConfigError(
                    f"{directory / found[0]} is already there",
                    service=export.service,
                    hint="use --if-exists skip or --if-exists replace (if_exists=), or another directory",
                )


async def deliver(
    export: Export,
    directory: Path,
    *,
    if_exists: IfExists,
    resume: bool,
    hold: Hold | None = None,
    slot: AbstractAsyncContextManager[Any] | None = None,
) -> ExportDone:
    """Bring one export to disk.

    Args:
        export: The export.
        directory: Where its files go; made if need be.
        if_exists: What to do about finished files that are already there.
        resume: Whether to go on with unfinished files that are already there.
        hold: Awaited before each poll but the first.
        slot: Entered for the download.

    Raises:
        TagferryError: It could not be done; what is unfinished stays for the next run.
    """
    in_thread = anyio.to_thread.run_sync
    if files := await in_thread(_finish_commit, export, directory, if_exists == "replace"):
        return ExportDone(export, files)
    if if_exists == "skip" and (files := await in_thread(_existing, export, directory)):
        return ExportDone(export, files, "skipped")
    links = await export.poller.wait(export, hold=hold)
    async with slot or nullcontext():
        with disk_errors(directory, "make the directory"):
            await aiofiles.os.makedirs(directory, exist_ok=True)
        book = await in_thread(RecordFile.acquire, directory / record_name(export.stem))
        try:
            record = await in_thread(_begin, export, directory, book, resume and bool(links))
            if not links:
                return ExportDone(export, (), "empty")
            download = Download(
                export,
                export.backend,
                export.poller,
                directory=directory,
                book=book,
                record=record,
                replace=if_exists == "replace",
            )
            return ExportDone(export, await download.run(links))
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(_let_go, export, directory, book)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []


def _is_committing(directory: Path, export: Export) -> bool:
    try:
        text = (directory / record_name(export.stem)).read_bytes()
    except OSError:
        return False
    return (record := Record.read(text)) is not None and _is_ours(record, export) and record.committing


def _is_ours(record: Record, export: Export) -> bool:
    return record.request == digest_request(export)


def _finish_commit(export: Export, directory: Path, replace: bool) -> tuple[SavedFile, ...]:  # noqa: FBT001
    """Finish the renaming that a crash interrupted, if there is one."""
    if not _is_committing(directory, export):
        return ()
    book = RecordFile.acquire(directory / record_name(export.stem))
    try:
        record = book.load()
        if record is None or not record.committing:
            return ()
        record.writer = export.backend.writer
        book.save(record)
        return commit(directory, export, book, record, replace)
    finally:
        book.close()


def _existing(export: Export, directory: Path) -> tuple[SavedFile, ...]:
    found = find_finals(export.stem, export.ending, _names(directory))
    return tuple(SavedFile(directory / name, *hash_file(directory / name)) for name in found)


def _begin(export: Export, directory: Path, book: RecordFile, resume: bool) -> Record:  # noqa: FBT001
    """Take over the record of an earlier run if it is of the same export, else begin anew."""
    record = book.load()
    if record is None or not resume or not _is_ours(record, export):
        discard_parts(directory, export)
        record = Record(request=digest_request(export), writer="")
    record.writer = export.backend.writer
    book.save(record)
    return record


def _let_go(export: Export, directory: Path, book: RecordFile) -> None:
    """Keep what a next run can go on with; leave nothing else behind."""
    if book.is_open:
        record = book.load()
        if record is None or not any(part.offset for part in record.parts):
            discard_parts(directory, export)
            book.remove()
    book.close()
