"""The client of GrowingIO CDP, on its user's own server."""

from __future__ import annotations

import dataclasses
import functools
import random
import ssl as tls
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from yarl import URL

from tagferry.clients.arguments import check_retries, check_seconds
from tagferry.clients.insecure import warn_of_clear_text
from tagferry.clients.listing import list_pages, list_whole
from tagferry.errors import AuthError, ConfigError, RefusedError, TagferryError
from tagferry.events import Emit, listen
from tagferry.exports.export import Export
from tagferry.exports.job import Job, JobReport
from tagferry.exports.naming import make_stem
from tagferry.exports.poller import Poller
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.service import ExportService
from tagferry.exports.submission import Submissions
from tagferry.services import growingio_cdp as cdp
from tagferry.services import growingio_lists as lists
from tagferry.services.growingio_listed import Listed
from tagferry.wire.address import is_private
from tagferry.wire.backoff import Backoff
from tagferry.wire.call import Caller, Intent
from tagferry.wire.clock import SystemClock
from tagferry.wire.credential import Credential, Token
from tagferry.wire.limiter import Limiter, shared_quota
from tagferry.wire.message import Reply, Request
from tagferry.wire.origin import check_base_url, check_proxy, host_of
from tagferry.wire.quota import Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tagferry.wire.secret import Secret
from tagferry.wire.transport import Transport

__all__ = ["GrowingIOCDP"]

_EXAMPLE = "http://cdp.example.com"
_LAPSED = frozenset({404, 410})
"""The links of a job never change: these say that its files are gone."""
_NOT_FOUND = 404
_FILE_HINTS = {
    400: "the download host does not take the path as the service gave it; check the download URL",
    401: "the download host wants a good token; it is given to the API's own origin and to download_url only",
    403: "the token's user may not fetch this file, or the download host wants a token",
}


class GrowingIOCDP:
    """Exports the users of tags and of segments from GrowingIO CDP, 2.9 to 2.11 and 4.x.

    Use it as an async context manager. Making one sends, opens and starts nothing.

    Args:
        base_url: The API's origin, where the console is.
        token: A token of the console, or an async function that provides one; it is asked again when the
            service refuses what it gave.
        scheme: The word before the token; ``"Token"`` for those of the old exchange, empty for none.
        language: The language of names and messages, ``"CH"`` or ``"US"``; None leaves it to the service.
        download_url: The origin of the files, if it is another one; it is trusted with the token.
        rate: Calls that this server is asked at most; its limits are not documented.
        max_jobs: Export jobs that are under way at once, from their making to their files.
        timeout: Seconds for one API request.
        stall_timeout: Seconds in which a transfer must bring some bytes.
        retries: How often a failed request or transfer is tried again in a row.
        session: Your own aiohttp session for API requests; you close it. Downloads never use it. Without
            one, each job is asked for on a connection of its own, since a server may close a kept one just as
            it is used again; with yours, set ``force_close`` for the same.
        ssl: Your own TLS settings.
        proxy: The URL of a proxy. Proxies of the environment are not used.
        on_event: Called with every `tagferry.events.Event`; must not block.

    Raises:
        ConfigError: A value that cannot work.

    Example:
        >>> async with GrowingIOCDP(base_url="http://cdp.example.com", token=token) as cdp:
        ...     files = await cdp.tag_users("tag_rfm", properties=["usr_gender"]).download("out")
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: Token,
        scheme: str = "Bearer",
        language: str | None = None,
        download_url: str | None = None,
        rate: str = str(cdp.RATE),
        max_jobs: int = 100,
        timeout: float = 30.0,
        stall_timeout: float = 30.0,
        retries: int = 8,
        session: aiohttp.ClientSession | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        on_event: Emit | None = None,
    ) -> None:
        self._base_url = check_base_url(base_url, service=cdp.SERVICE, example=_EXAMPLE)
        self._download_url = check_base_url(
            download_url or self._base_url, service=cdp.SERVICE, example=_EXAMPLE
        )
        check_seconds("timeout", timeout, service=cdp.SERVICE)
        check_seconds("stall_timeout", stall_timeout, service=cdp.SERVICE)
        check_retries(retries, service=cdp.SERVICE)
        _check_jobs(max_jobs)
        if proxy is not None:
            check_proxy(proxy, service=cdp.SERVICE)
        self._scheme, self._language = cdp.check_scheme(scheme), cdp.check_language(language)
        self._trusted = {URL(self._base_url).origin(), URL(self._download_url).origin()}
        self._specs: dict[str, cdp.ExportSpec] = {}
        self._below: bool | None = None  # whether this server tells of jobs below their project only
        self._entered = False
        self._emit = listen(on_event)
        host, clock = host_of(self._base_url), SystemClock()
        self._transport = Transport(
            cdp.SERVICE,
            timeout=timeout,
            session=session,
            ssl=ssl,
            proxy=proxy,
            api_host=host_of(self._download_url),
        )
        self._credential = Credential(token, name="the GrowingIO CDP token", hint=cdp.TOKEN_HINT)

        def make_backoff() -> Backoff:
            policy = RetryPolicy(retries=retries)
            return Backoff(policy=policy, budget=RetryBudget(), clock=clock, chance=random.random)

        key = (self._base_url, self._credential.identity)
        self._caller = Caller(
            transport=self._transport,
            limiter=Limiter(shared_quota(key, Rate.parse(rate)), clock),
            credential=self._credential,
            sign=self._sign,
            backoff=make_backoff(),
            emit=self._emit,
        )
        self._backend = ExportService(
            name=cdp.SERVICE,
            dialect="cdp",
            ask_job=self._ask_job,
            submissions=Submissions(cdp.SERVICE, self._post, self._attach, max_jobs),
            transport=self._transport,
            private=is_private(host) or is_private(host_of(self._download_url)),
            file_headers=self._file_headers,
            renew_headers=self._renew_headers,
            file_hints=_FILE_HINTS,
            lapsed=_LAPSED,
            renews=False,
            schedule=PollSchedule(),
            backoff=make_backoff(),
            stall_timeout=stall_timeout,
            emit=self._emit,
            writer=f"{random.getrandbits(64):016x}",
        )
        self._poller = Poller(self._backend)

    async def __aenter__(self) -> Self:
        self._transport.reopen()
        self._entered = True
        warn_of_clear_text(self._base_url, cdp.SERVICE, self._emit)
        warn_of_clear_text(self._download_url, cdp.SERVICE, self._emit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self._transport.aclose()

    def tag_users(
        self,
        tag_key: str,
        *,
        properties: Iterable[str] = (),
        file_format: cdp.FileFormat = "csv",
        csv_header: cdp.CsvHeader = "key",
        project: str | None = None,
        space: str | None = None,
    ) -> Export:
        """Describe the export of a tag's users.

        Args:
            tag_key: The tag's key, like ``"tag_rfm"``; `list_tags` finds it.
            properties: Keys of identities, attributes and tags to export beside ``gio_id``, at most 60.
            file_format: ``"csv"``, or ``"json"`` for JSON Lines.
            csv_header: Whether the header row of a CSV has keys or display names, which may repeat.
            project: The project's id; without one the tag is looked up in the whole CDP.
            space: The space's id (4.x); needs a project.

        Raises:
            ConfigError: A value that the service cannot take.
        """
        return self._export(
            cdp.tag_spec(
                tag_key,
                project=project,
                space=space,
                properties=properties,
                file_format=file_format,
                csv_header=csv_header,
            )
        )

    def segment_users(
        self,
        segment_key: str,
        *,
        project: str,
        properties: Iterable[str] = (),
        file_format: cdp.FileFormat = "csv",
        csv_header: cdp.CsvHeader = "key",
        space: str | None = None,
    ) -> Export:
        """Describe the export of a segment's users.

        Args:
            segment_key: The segment's key, like ``"seg_51activity"``; `list_segments` finds it.
            project: The project's id.
            properties: Keys of identities, attributes and tags to export beside ``gio_id``, at most 60.
            file_format: ``"csv"``, or ``"json"`` for JSON Lines.
            csv_header: Whether the header row of a CSV has keys or display names, which may repeat.
            space: The space's id (4.x).

        Raises:
            ConfigError: A value that the service cannot take.
        """
        return self._export(
            cdp.segment_spec(
                segment_key,
                project=project,
                space=space,
                properties=properties,
                file_format=file_format,
                csv_header=csv_header,
            )
        )

    def attach(self, job_id: str, export: Export) -> Export:
        """Return the same export, bound to a job that was submitted before.

        Args:
            job_id: The id that `Export.submit` returned, in this process or another.
            export: What that job exports.

        Raises:
            ConfigError: The id cannot be one, or the export is of another client.
        """
        if export.backend is not self._backend:
            hint = "make the export with the client that attaches"
            raise ConfigError("the export is of another client", service=cdp.SERVICE, hint=hint)
        return dataclasses.replace(export, job_id=cdp.check_job_id(job_id))

    async def list_tags(self, *, project: str | None = None, space: str | None = None) -> tuple[Listed, ...]:
        """Return all tags, of the CDP or of a project.

        Args:
            project: The project's id.
            space: The space's id (4.x); needs a project.

        Raises:
            TagferryError: The service could not be asked, or refused.
        """
        self._check_open()
        ask = functools.partial(lists.ask_cdp_tags, self._base_url, project=project, space=space)
        return await list_pages(self._caller, ask, lists.read_cdp_tags, service=cdp.SERVICE)

    async def list_segments(self, project: str, *, space: str | None = None) -> tuple[Listed, ...]:
        """Return all segments of a project.

        Args:
            project: The project's id.
            space: The space's id (4.x).

        Raises:
            TagferryError: The service could not be asked, or refused.
        """
        self._check_open()
        ask = functools.partial(lists.ask_cdp_segments, self._base_url, project=project, space=space)
        return await list_pages(self._caller, ask, lists.read_cdp_segments, service=cdp.SERVICE)

    async def list_projects(self) -> tuple[Listed, ...]:
        """Return all projects of the CDP.

        Raises:
            TagferryError: The service could not be asked, or refused.
        """
        self._check_open()
        return await list_whole(self._caller, lists.ask_cdp_projects(self._base_url), lists.read_cdp_projects)

    def _export(self, spec: cdp.ExportSpec) -> Export:
        export = Export(
            service=cdp.SERVICE,
            kind=spec.kind,
            id=spec.key,
            name=spec.name,
            stem=make_stem(spec.kind, *spec.ids),
            ending=".jsonl" if spec.file_format == "json" else ".csv",
            request=cdp.ask_submit(self._base_url, spec, language=self._language),
            backend=self._backend,
            poller=self._poller,
        )
        self._specs[export.digest] = spec
        return export

    def _sign(self, request: Request, token: str) -> Request:
        return request.with_headers(cdp.authorize(token, self._scheme, self._language))

    async def _file_headers(self, url: URL) -> Mapping[str, str]:
        if url.origin() not in self._trusted:
            return {}
        headers = cdp.authorize(await self._credential.value(), self._scheme)
        return {name: Secret(value) for name, value in headers.items()}

    async def _renew_headers(self, refused: Mapping[str, str]) -> bool:
        sent = refused.get("Authorization")
        if sent is None:
            return False
        return await self._credential.renew(Secret(sent.removeprefix(self._scheme).lstrip()))

    async def _post(self, export: Export, intent: Intent) -> str:
        self._check_open()

        def read(reply: Reply) -> str:
            return cdp.read_submit(reply, what=export.name, now=self._now())

        def lost(error: TagferryError) -> TagferryError:
            return cdp.submit_unknown(export.name, error.message)

        return await self._caller.call(export.request, read, urgent=True, lost=lost, intent=intent)

    def _attach(self, export: Export, job_id: str) -> Job:
        spec = self._specs[export.digest]
        first, other = (cdp.ask_result(self._base_url, job_id, spec, other=one) for one in (False, True))
        return Job(job_id, first, other if other.url != first.url else None)

    async def _ask_job(self, job: Job, what: str, urgent: bool) -> JobReport:  # noqa: FBT001
        self._check_open()
        first, second = job.request, job.other
        if second is not None and self._is_below(second) == self._below:
            first, second = second, first
        try:
            return await self._ask_result(first, what, urgent=urgent)
        except RefusedError as error:
            if error.code != _NOT_FOUND or second is None:
                raise
            refused = error
        # Versions differ in where they tell the state of a job of a project.
        try:
            report = await self._ask_result(second, what, urgent=urgent)
        except (RefusedError, AuthError):
            raise refused from None
        self._below = self._is_below(second)
        return report

    def _is_below(self, request: Request) -> bool:
        return request.url.startswith(f"{self._base_url}/v1/api/projects/")

    async def _ask_result(self, request: Request, what: str, *, urgent: bool) -> JobReport:
        def read(reply: Reply) -> JobReport:
            return cdp.read_result(reply, what=what, now=self._now())

        report = await self._caller.call(request, read, urgent=urgent)
        links = tuple(cdp.make_link(self._download_url, uri) for uri in report.links)
        return msgspec.structs.replace(report, links=links)

    def _now(self) -> float:
        return self._backend.backoff.clock.unix()

    def _check_open(self) -> None:
        if not self._entered:
            hint = "open it: async with tagferry.GrowingIOCDP(...) as cdp"
            raise ConfigError("the client is not open", service=cdp.SERVICE, hint=hint)


def _check_jobs(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"max_jobs is {value!r}", service=cdp.SERVICE, hint="give at least 1")
