"""The client of GrowingIO CDP, on its user's own server."""

from __future__ import annotations

import dataclasses
import functools
import random
import ssl as tls
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import aiohttp

from tagferry.clients.arguments import check_count, check_seconds
from tagferry.clients.connection import Connection
from tagferry.clients.growingio_cdp_files import HINTS, LAPSED, FileAccess
from tagferry.clients.growingio_cdp_jobs import Jobs
from tagferry.clients.listing import list_pages, list_whole
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.exports.naming import make_stem
from tagferry.exports.poller import Poller
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.service import ExportService
from tagferry.exports.submission import Submissions
from tagferry.services import growingio_cdp as cdp
from tagferry.services import growingio_lists as lists
from tagferry.services.growingio_listed import Listed
from tagferry.wire.address import is_private
from tagferry.wire.call import Caller
from tagferry.wire.credential import Credential, Token
from tagferry.wire.message import Request
from tagferry.wire.origin import check_base_url, host_of
from tagferry.wire.quota import Rate

__all__ = ["GrowingIOCDP"]

_EXAMPLE = "http://cdp.example.com"


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
        check_seconds("stall_timeout", stall_timeout, service=cdp.SERVICE)
        check_count("max_jobs", max_jobs, least=1, service=cdp.SERVICE)
        scheme, self._language = cdp.check_scheme(scheme), cdp.check_language(language)
        addresses = (self._base_url, self._download_url)
        self._connection = connection = Connection(
            cdp.SERVICE,
            addresses,
            "tagferry.GrowingIOCDP(...) as cdp",
            timeout=timeout,
            retries=retries,
            session=session,
            ssl=ssl,
            proxy=proxy,
            on_event=on_event,
        )
        credential = Credential(token, name="the GrowingIO CDP token", hint=cdp.TOKEN_HINT)
        self._caller = Caller(
            transport=connection.transport,
            limiter=connection.limiter((self._base_url, credential.identity), Rate.parse(rate)),
            credential=credential,
            sign=functools.partial(_sign, scheme, self._language),
            backoff=connection.backoff(),
            emit=connection.emit,
        )
        self._jobs = jobs = Jobs(self._base_url, self._download_url, connection, self._caller)
        access = FileAccess(credential, scheme, addresses)
        self._backend = ExportService(
            name=cdp.SERVICE,
            dialect="cdp",
            ask_job=jobs.ask,
            submissions=Submissions(cdp.SERVICE, jobs.make, jobs.attach, max_jobs),
            transport=connection.transport,
            private=any(is_private(host_of(address)) for address in addresses),
            file_headers=access.headers,
            renew_headers=access.renew,
            file_hints=HINTS,
            lapsed=LAPSED,
            renews=False,
            schedule=PollSchedule(),
            backoff=connection.backoff(),
            stall_timeout=stall_timeout,
            emit=connection.emit,
            writer=f"{random.getrandbits(64):016x}",
        )
        self._poller = Poller(self._backend)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.aclose()

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
        self._connection.check_open()
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
        self._connection.check_open()
        ask = functools.partial(lists.ask_cdp_segments, self._base_url, project=project, space=space)
        return await list_pages(self._caller, ask, lists.read_cdp_segments, service=cdp.SERVICE)

    async def list_projects(self) -> tuple[Listed, ...]:
        """Return all projects of the CDP.

        Raises:
            TagferryError: The service could not be asked, or refused.
        """
        self._connection.check_open()
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
        self._jobs.note(export, spec)
        return export


def _sign(scheme: str, language: str | None, request: Request, token: str) -> Request:
    return request.with_headers(cdp.authorize(token, scheme, language))
