"""One export, from the question to the files: check, wait, download, commit."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import aiofiles.os

from tagferry.errors import ConfigError, DeadlineError
from tagferry.exports.disk import check_directory, disk_errors
from tagferry.exports.download import Download
from tagferry.exports.naming import check_clashes, find_finals
from tagferry.exports.outcome import ExportDone, SavedFile
from tagferry.exports.part import hash_file
from tagferry.exports.slots import Admission, Slots
from tagferry.exports.thread import in_thread
from tagferry.exports.workplace import Workplace, is_committing

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = ["DEADLINE", "IfExists", "check_targets", "deliver", "within"]

T = TypeVar("T")

DEADLINE = 6 * 3600.0
"""Seconds that an export may take in all, unless the caller says otherwise."""

IfExists = Literal["error", "skip", "replace"]


async def within(deadline: float | None, export: Export, work: Callable[[Export], Awaitable[T]]) -> T:
    """Do some work for an export in no more than a deadline in seconds; None is no bound.

    Raises:
        ConfigError: The deadline is not a positive number.
        DeadlineError: The time is over.
    """
    if deadline is not None and not deadline > 0:
        msg = f"a deadline of {deadline!r} s is not positive"
        raise ConfigError(msg, hint="give seconds, or None for no deadline")
    timer = asyncio.timeout(deadline)
    try:
        async with timer:
            return await work(export)
    except TimeoutError:
        if not timer.expired():
            raise
    msg = f"{export.name} was not done within {deadline:g} s"
    hint = "run the same again to go on where it stopped, with a longer deadline"
    raise DeadlineError(msg, service=export.service, hint=hint)


def check_targets(
    exports: Sequence[Export], directory: Path, if_exists: IfExists
) -> Mapping[str, Sequence[str]]:
    """Refuse what cannot end well, before any request and without touching the disk.

    Returns:
        The names of finished files that are already there, by the stem of their export.

    Raises:
        ConfigError: The directory cannot be written, two exports share a name, or a file is already there.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists is {if_exists!r}", hint="give one of error, skip, replace")
    check_directory(directory)
    check_clashes((export.stem + export.ending for export in exports), directory)
    found: dict[str, Sequence[str]] = {}
    for ending in {export.ending for export in exports}:
        found.update(find_finals(_names(directory), ending))
    if if_exists == "error":
        for export in exports:
            if (names := found.get(export.stem)) and not is_committing(export, directory):
                hint = "--if-exists skip (if_exists=) keeps it and goes on with the rest, replace does not"
                msg = f"{directory / names[0]} is already there"
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
    if files := await in_thread(functools.partial(Workplace.finish, export, directory, replace=replace)):
        return ExportDone(export, files)
    if if_exists == "skip" and (names := existing.get(export.stem)):
        return ExportDone(export, await in_thread(_saved, directory, names), "skipped")
    admission = Admission(slots) if slots is not None else None
    try:
        links = await export.poller.wait(export, admission=admission)
        if not links:
            return ExportDone(export, (), "empty")
        async with admission or nullcontext():
            files = await _download(export, links, directory, resume=resume, replace=replace)
            return ExportDone(export, files, "done" if files else "empty")
    finally:
        if admission is not None:
            admission.done()


async def _download(
    export: Export, links: tuple[str, ...], directory: Path, *, resume: bool, replace: bool
) -> tuple[SavedFile, ...]:
    with disk_errors(directory, "make the directory"):
        await aiofiles.os.makedirs(directory, exist_ok=True)
    opening = functools.partial(Workplace.open, export, directory, resume=resume)
    place = await in_thread(opening, undo=Workplace.close)
    try:
        await Download(export, export.backend, export.poller, place).run(links)
        return await in_thread(functools.partial(place.commit, replace=replace))
    finally:
        await in_thread(place.close)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []


def _saved(directory: Path, names: Sequence[str]) -> tuple[SavedFile, ...]:
    return tuple(SavedFile(directory / name, *hash_file(directory / name)) for name in names)
