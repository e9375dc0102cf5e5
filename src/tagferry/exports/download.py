"""From the links of a finished export to whole files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yarl import URL

from tagferry.errors import AuthError, IntegrityError, LinkExpiredError, TagferryError
from tagferry.events import LinkRenewed, PartRestarted, PartSaved, Progress, Resumed, TransferBroken
from tagferry.exports.job import Job
from tagferry.exports.link import check_link, follow_redirect
from tagferry.exports.part import PartFile
from tagferry.exports.record import PartState
from tagferry.exports.resume import Partial, Plan, Store, Verdict, ask_for_rest, plan_body
from tagferry.exports.transfer import BLOCK, LEAST, receive
from tagferry.exports.workplace import Workplace
from tagferry.files.thread import in_thread
from tagferry.wire.message import Head

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.exports.poller import Poller
    from tagferry.exports.service import ExportService
    from tagferry.wire.transport import Body

__all__ = ["Download"]

_BLOCKS = 8 * BLOCK
"""Bytes that all transfers of a client may gather; many at once write smaller blocks."""
_LEAST_BLOCK = 256 * 1024
_RENEWALS = 8
"""How often links may be renewed without a byte of a part that was never there before."""
_UNAUTHORIZED = 401
_REDIRECTS = {301, 302, 303, 307, 308}


class Download:
    """Brings the parts of one export to disk, in order.

    A part counts only while it belongs to the newest links: when a link was renewed on the way, the parts
    before it are checked against the fresh links, which costs one empty reply each where nothing changed.
    So the files are never of two exports.

    Args:
        export: The export.
        service: Its service.
        poller: Renews links.
        job: Asks for the state of the job, and so for fresh links.
        place: Its unfinished files.
    """

    def __init__(
        self,
        export: Export,
        service: ExportService,
        poller: Poller,
        job: Job,
        place: Workplace,
    ) -> None:
        self._export = export
        self._service = service
        self._poller = poller
        self._job = job
        self._place = place
        self._store = Store(
            service=service.name,
            lapsed=service.lapsed,
            json=export.ending == ".jsonl",
            hints=service.file_hints,
        )
        self._links: tuple[str, ...] = ()
        self._generation = 0  # counts the renewals of the links
        self._renewals = 0  # in a row, without a byte in between
        self._vain = 0  # in a row, without new ground in between
        self._most: dict[int, int] = {}  # the most bytes that each part ever had
        self._access: Mapping[str, str] = {}  # what the last request showed to be let in
        self._mended = False  # whether that was renewed since the last reply that was none of a guard

    async def run(self, links: tuple[str, ...]) -> None:
        """Bring all parts to disk, whole and synced."""
        await self._take_links(links)
        current: dict[int, int] = {}  # the generation of the links that each part was checked against
        while stale := [n for n in range(1, len(self._links) + 1) if current.get(n) != self._generation]:
            number = stale[0]
            if await self._bring(number):
                current[number] = self._generation

    async def _take_links(self, links: tuple[str, ...]) -> None:
        if len(links) != len(self._place.parts):
            await in_thread(self._place.reset, len(links))
        self._links = links
        self._generation += 1

    async def _bring(self, number: int) -> bool:
        """Bring one part to disk, over as many transfers as it takes; False if all parts began anew."""
        state = self._place.parts[number - 1]
        part = await in_thread(self._place.open_part, number, undo=PartFile.close)
        try:
            self._most.setdefault(number, part.size)
            if part.size:
                self._note_resumed(number, part.size)
            while not await self._attempts(number, part, state):
                if not any(state is kept for kept in self._place.parts):
                    # The fresh links are of another number.
                    return False
            await in_thread(self._place.close_part, number, part)
        finally:
            await in_thread(part.close)
        self._service.emit(PartSaved(kind=self._export.kind, id=self._export.id, part=number, size=part.size))
        return True

    async def _attempts(self, number: int, part: PartFile, state: PartState) -> bool:
        """Transfer until the part is whole (True) or its link was renewed (False)."""
        backoff = self._service.backoff
        backoff.budget.note_call(since := backoff.clock.now())
        failures, first = 0, self._most[number]
        while True:
            before = self._most[number]
            try:
                await self._transfer(number, part, state)
            except LinkExpiredError as error:
                await self._renew(number, error, moved=self._most[number] > first)
                return False
            except TagferryError as error:
                if isinstance(error, AuthError) and await self._mend(error):
                    continue
                failure = error
            else:
                self._renewals = 0
                return True
            # A transfer that breaks every few bytes would never end otherwise, nor one that begins anew
            # each time: ground that was covered before is no progress.
            if self._most[number] >= before + LEAST:
                failures, since = 0, backoff.clock.now()
            failures += 1
            note = functools.partial(self._note_broken, number, part, failure)
            await backoff.pause(failure, failures, since, note)
            backoff.budget.take(backoff.clock.now())

    async def _transfer(self, number: int, part: PartFile, state: PartState) -> None:
        partial = _partial(part, state)
        url = check_link(self._links[number - 1], private=self._service.private, service=self._service.name)
        hops = 0
        while True:
            # Computed anew at each hop: a token is for its own origin only.
            self._access = await self._service.file_headers(url)
            headers = {**ask_for_rest(partial), **self._access}
            async with self._service.transport.stream(url, headers) as (head, body):
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
        partial = _partial(part, state)
        service = self._service
        plan = plan_body(partial, head, store=self._store, now=service.backoff.clock.unix())
        self._mended = False
        if plan.verdict is Verdict.COMPLETE:
            if not state.whole:
                # The last run may have ended before, or because, the bytes were found to be wrong.
                await self._check_whole(part, state, plan)
            return
        if plan.verdict is not Verdict.APPEND:
            state.whole = False
            if part.size:
                # Before they go: somebody may be reading them.
                self._note_restarted(number, part.size)
            await in_thread(part.restart)
        state.validator, state.total, state.gzipped = plan.validator, plan.total, plan.gzipped
        state.md5 = plan.md5 or (state.md5 if plan.verdict is Verdict.APPEND else None)
        if plan.verdict is Verdict.AGAIN:
            msg = f"a download of {service.name} offered a range that does not fit; the file is fetched anew"
            raise IntegrityError(msg, service=service.name, code="range", retryable=True)
        if state.md5:
            await in_thread(part.want_md5)

        def write(chunks: list[bytes]) -> None:
            part.append(chunks)
            state.offset, state.sha256 = part.size, part.sha256
            if part.size > self._most[number]:
                self._most[number], self._vain = part.size, 0
            self._place.save()

        def wrote() -> None:
            self._note_progress(number, part.size, plan.total)

        block = max(_LEAST_BLOCK, min(BLOCK, _BLOCKS // service.transport.streams))
        await receive(
            body, write, wrote, stall_timeout=service.stall_timeout, block=block, writers=service.writers
        )
        await self._check_whole(part, state, plan)

    async def _check_whole(self, part: PartFile, state: PartState, plan: Plan) -> None:
        if state.md5:
            await in_thread(part.want_md5)
        await in_thread(self._verify, part, state, plan)

    def _verify(self, part: PartFile, state: PartState, plan: Plan) -> None:
        """Make sure that a body that has ended is whole; if not, nothing of it is used. Blocks."""
        name = self._service.name
        validator, state.validator = state.validator, None
        if plan.total is not None and part.size != plan.total:
            msg = f"a download of {name} has {part.size} bytes in place of {plan.total}"
            raise IntegrityError(msg, service=name, code="length", retryable=True)
        if state.md5 and part.md5 != state.md5:
            msg = f"a download of {name} has the MD5 {part.md5} in place of {state.md5}"
            raise IntegrityError(msg, service=name, code="md5", retryable=True)
        if part.is_page or part.is_report:
            msg = f"a download of {name} is a page that calls itself a file"
            raise IntegrityError(msg, service=name, code="page", retryable=True)
        if plan.gzipped and not part.is_whole_gzip():
            msg = f"a download of {name} is a gzip stream that is cut or damaged"
            raise IntegrityError(msg, service=name, code="gzip", retryable=True)
        state.validator = validator

    async def _renew(self, number: int, error: LinkExpiredError, *, moved: bool) -> None:
        self._renewals = 1 if moved else self._renewals + 1
        self._vain += 1
        if self._renewals > 1:
            error.hint = "the service refuses even a fresh link; run again later"
            raise error
        if self._vain > _RENEWALS:
            error.hint = "links lapse before all parts are there; ask for links that live longer"
            raise error
        # A service whose links never change has no other one to wait for.
        dead = self._links[number - 1] if self._service.renews else None
        await self._take_links(await self._poller.renew(self._export, self._job, dead))
        self._service.emit(LinkRenewed(kind=self._export.kind, id=self._export.id))

    async def _mend(self, error: AuthError) -> bool:
        """Get in with other credentials after a refusal, once; tell whether there are any."""
        if error.code != _UNAUTHORIZED or self._mended:
            return False
        self._mended = True
        return await self._service.renew_headers(self._access)

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

    def _note_restarted(self, number: int, dropped: int) -> None:
        kind, id_ = self._export.kind, self._export.id
        self._service.emit(PartRestarted(kind=kind, id=id_, part=number, dropped=dropped))

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


def _partial(part: PartFile, state: PartState) -> Partial:
    return Partial(received=part.size, validator=state.validator, total=state.total, gzipped=state.gzipped)
