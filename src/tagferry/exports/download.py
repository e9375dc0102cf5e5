"""From the links of a finished export to whole files under their final names."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from yarl import URL

from tagferry.errors import DiskError, IntegrityError, LinkExpiredError, TagferryError
from tagferry.events import LinkRenewed, PartSaved, Progress, Resumed, TransferBroken
from tagferry.exports.disk import disk_errors, sync_directory
from tagferry.exports.link import check_link, follow_redirect
from tagferry.exports.naming import final_name, find_parts, part_name
from tagferry.exports.outcome import SavedFile
from tagferry.exports.part import PartFile
from tagferry.exports.record import PartState, Record, RecordFile
from tagferry.exports.resume import Partial, Plan, Verdict, ask_for_rest, plan_body
from tagferry.exports.transfer import receive
from tagferry.wire.message import Head

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.exports.poller import Poller
    from tagferry.exports.service import ExportService
    from tagferry.wire.transport import Body

__all__ = ["Download", "commit", "digest_request", "discard_parts"]

_REDIRECTS = {301, 302, 303, 307, 308}


def digest_request(export: Export) -> str:
    """Return what tells the unfinished files of one export from those of another; it holds no secret."""
    return hashlib.sha256(f"{export.kind} {export.request.method} {export.request.url}".encode()).hexdigest()


class Download:
    """Brings the parts of one export to disk, in order.

    A part counts only while it belongs to the newest links: when a link was renewed on the way, the parts
    before it are checked against the fresh links, which costs one empty reply each where nothing changed.
    So the files are never of two exports.

    Args:
        export: The export.
        service: Its service.
        poller: Renews links.
        directory: Where the files go.
        book: The locked record of the export.
        record: What the record says.
        replace: Whether existing final files may be replaced.
    """

    def __init__(
        self,
        export: Export,
        service: ExportService,
        poller: Poller,
        *,
        directory: Path,
        book: RecordFile,
        record: Record,
        replace: bool,
    ) -> None:
        self._export = export
        self._service = service
        self._poller = poller
        self._directory = directory
        self._book = book
        self._record = record
        self._replace = replace
        self._links: tuple[str, ...] = ()
        self._generation = 0  # counts the renewals of the links
        self._renewals = 0  # in a row, without a byte in between

    async def run(self, links: tuple[str, ...]) -> tuple[SavedFile, ...]:
        """Bring all parts to disk and give them their final names."""
        await self._take_links(links)
        current: dict[int, int] = {}  # the generation of the links that each part was checked against
        while stale := [n for n in range(1, len(self._links) + 1) if current.get(n) != self._generation]:
            number = stale[0]
            await self._bring(number)
            current[number] = self._generation
        return await anyio.to_thread.run_sync(
            commit, self._directory, self._export, self._book, self._record, self._replace
        )

    async def _take_links(self, links: tuple[str, ...]) -> None:
        if len(links) != len(self._record.parts):
            await anyio.to_thread.run_sync(discard_parts, self._directory, self._export)
            self._record.parts = [PartState() for _ in links]
        self._links = links
        self._generation += 1

    async def _bring(self, number: int) -> None:
        """Bring one part to disk, over as many transfers as it takes."""
        path = self._directory / part_name(self._export.stem, self._export.ending, number, len(self._links))
        state = self._record.parts[number - 1]
        part = await anyio.to_thread.run_sync(PartFile, path)
        try:
            await anyio.to_thread.run_sync(part.adopt, state.offset, state.sha256)
            if part.size:
                self._note_resumed(number, part.size)
            while not await self._attempts(number, part, state):
                if not any(state is kept for kept in self._record.parts):
                    # The fresh links are of another number, so all parts begin anew.
                    return
            if not state.whole:
                await anyio.to_thread.run_sync(part.sync)
            state.whole = True
            state.final = final_name(
                self._export.stem, self._export.ending, number, len(self._links), gzip=part.is_gzip
            )
            await anyio.to_thread.run_sync(self._book.save, self._record)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(part.close)
        self._service.emit(PartSaved(kind=self._export.kind, id=self._export.id, part=number, size=part.size))

    async def _attempts(self, number: int, part: PartFile, state: PartState) -> bool:
        """Transfer until the part is whole (True) or its link was renewed (False)."""
        backoff = self._service.backoff
        backoff.budget.note_call(since := backoff.clock.now())
        failures = 0
        while True:
            before = part.size
            try:
                await self._transfer(number, part, state)
            except LinkExpiredError as error:
                await self._renew(number, error, moved=part.size > before)
                return False
            except TagferryError as error:
                failure = error
            else:
                self._renewals = 0
                return True
            if part.size > before:
                failures, since = 0, backoff.clock.now()
            failures += 1
            note = functools.partial(self._note_broken, number, part, failure)
            await backoff.pause(failure, failures, since, note)

    async def _transfer(self, number: int, part: PartFile, state: PartState) -> None:
        partial = Partial(received=part.size, validator=state.validator, total=state.total)
        url = check_link(self._links[number - 1], private=self._service.private, service=self._service.name)
        hops = 0
        while True:
            async with self._service.transport.stream(url, ask_for_rest(partial)) as (head, body):
                if head.status not in _REDIRECTS:
                    await self._take_body(number, part, state, head, body)
                    return
            url = self._follow(url, head, hops)
            hops += 1

    def _follow(self, url: URL, head: Head, hops: int) -> URL:
        location = head.headers.get("location")
        name = self._service.name
        return follow_redirect(url, location, hops=hops, private=self._service.private, service=name)

    async def _take_body(self, number: int, part: PartFile, state: PartState, head: Head, body: Body) -> None:
        partial = Partial(received=part.size, validator=state.validator, total=state.total)
        service = self._service
        plan = plan_body(partial, head, service=service.name, now=service.backoff.clock.unix())
        if plan.verdict is Verdict.COMPLETE:
            return
        if plan.verdict is not Verdict.APPEND:
            state.whole = False
            await anyio.to_thread.run_sync(part.restart)
        state.validator, state.total = plan.validator, plan.total
        if plan.verdict is Verdict.AGAIN:
            state.validator = state.total = None
            msg = f"a download of {service.name} offered a range that does not fit; the file is fetched anew"
            raise IntegrityError(msg, service=service.name, code="range", retryable=True)
        if plan.md5:
            await anyio.to_thread.run_sync(part.want_md5)

        def write(chunks: list[bytes]) -> None:
            part.append(chunks)
            state.offset, state.sha256 = part.size, part.sha256
            self._book.save(self._record)

        def wrote() -> None:
            self._note_progress(number, part.size, plan.total)

        await receive(body, write, wrote, stall_timeout=service.stall_timeout)
        wrote()
        self._verify(part, state, plan)

    def _verify(self, part: PartFile, state: PartState, plan: Plan) -> None:
        name = self._service.name
        if plan.total is not None and part.size != plan.total:
            state.validator = None
            msg = f"a download of {name} has {part.size} bytes in place of {plan.total}"
            raise IntegrityError(msg, service=name, code="length", retryable=True)
        if plan.md5 and part.md5 != plan.md5:
            # The bytes on disk are wrong somewhere: nothing of them is kept.
            state.validator = None
            msg = f"a download of {name} has the MD5 {part.md5} in place of {plan.md5}"
            raise IntegrityError(msg, service=name, code="md5", retryable=True)

    async def _renew(self, number: int, error: LinkExpiredError, *, moved: bool) -> None:
        self._renewals = 1 if moved else self._renewals + 1
        if self._renewals > 1:
            error.hint = "the service refuses even a fresh link; run again later"
            raise error
        dead = self._links[number - 1]
        await self._take_links(await self._poller.renew(self._export, dead))
        self._service.emit(LinkRenewed(kind=self._export.kind, id=self._export.id))

    def _note_broken(self, number: int, part: PartFile, error: TagferryError, delay: float) -> None:
        self._service.emit(
            TransferBroken(
                kind=self._export.kind,
                id=self._export.id,
                part=number,
                received=part.size,
                delay=delay,
                error=error,
            )
        )

    def _note_resumed(self, number: int, offset: int) -> None:
        self._service.emit(Resumed(kind=self._export.kind, id=self._export.id, part=number, offset=offset))

    def _note_progress(self, number: int, received: int, total: int | None) -> None:
        self._service.emit(
            Progress(
                kind=self._export.kind,
                id=self._export.id,
                part=number,
                parts=len(self._links),
                received=received,
                total=total,
            )
        )


def commit(
    directory: Path,
    export: Export,
    book: RecordFile,
    record: Record,
    replace: bool,  # noqa: FBT001
) -> tuple[SavedFile, ...]:
    """Give whole parts their final names, and forget the record. Blocks.

    It may be run again after a crash in its middle: what has its final name already stays.
    """
    book.check_writer(record.writer)
    record.committing = True
    book.save(record)
    files: list[SavedFile] = []
    for number, state in enumerate(record.parts, 1):
        assert state.final is not None
        path = directory / state.final
        unfinished = directory / part_name(export.stem, export.ending, number, len(record.parts))
        if unfinished.exists():
            _rename(unfinished, path, replace=replace)
        files.append(SavedFile(path, state.offset, state.sha256))
    with disk_errors(directory, "sync"):
        sync_directory(directory)
    book.remove()
    return tuple(files)


def discard_parts(directory: Path, export: Export) -> None:
    """Remove the unfinished files of an export. Blocks."""
    with disk_errors(directory, "clear"):
        for name in find_parts(export.stem, export.ending, [path.name for path in directory.iterdir()]):
            (directory / name).unlink()


def _rename(source: Path, target: Path, *, replace: bool) -> None:
    with disk_errors(target, "rename the finished file to"):
        if replace:
            source.replace(target)
            return
        try:
            # Unlike a rename, a link never replaces what someone else wrote in the meantime.
            target.hardlink_to(source)
        except FileExistsError:
            if source.samefile(target):
                # A crash came between this and the next step.
                source.unlink()
                return
            msg = f"{target} came into being in the meantime"
            raise DiskError(
                msg, code="EEXIST", hint="use --if-exists replace, or another directory"
            ) from None
        source.unlink()
