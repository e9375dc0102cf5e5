"""The client of GrowingIO SaaS."""

from __future__ import annotations

import functools
import random
import ssl as tls
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import aiohttp

from tagferry.clients.arguments import check_seconds
from tagferry.clients.connection import Connection
from tagferry.clients.listing import list_whole
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.exports.job import Job, JobReport
from tagferry.exports.naming import make_stem
from tagferry.exports.poller import Poller
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.service import ExportService
from tagferry.services import growingio_lists as lists
from tagferry.services import growingio_saas as saas
from tagferry.services.growingio_listed import Listed
from tagferry.wire.address import is_private
from tagferry.wire.call import Caller
from tagferry.wire.credential import Credential, Token
from tagferry.wire.message import Reply, Request
from tagferry.wire.origin import check_base_url, host_of
from tagferry.wire.quota import Rate

__all__ = ["GrowingIO"]


class GrowingIO:
    """Exports the users of tags and of segments from GrowingIO SaaS.

    Use it as an async context manager. Making one sends, opens and starts nothing.

    Args:
        token: An API token, or an async function that provides one; it is asked again when the
            service refuses what it gave.
        base_url: The API's origin.
        client_id: The project's public key, for old tokens that need it.
        rate: Calls that each exporter kind allows for this token; all clients of the process share it.
        timeout: Seconds for one API request.
        stall_timeout: Seconds in which a transfer must bring some bytes.
        retries: How often a failed request or transfer is tried again in a row.
        session: Your own aiohttp session for API requests; you close it. Downloads never use it.
        ssl: Your own TLS settings.
        proxy: The URL of a proxy. Proxies of the environment are not used.
        on_event: Called with every `tagferry.events.Event`; must not block.

    Raises:
        ConfigError: A value that cannot work.

    Example:
        >>> async with GrowingIO(token=token) as gio:
        ...     files = await gio.tag_users("nxog09md", "5rREn4PL").download("out")
    """

    def __init__(
        self,
        *,
        token: Token,
        base_url: str = saas.BASE_URL,
        client_id: str | None = None,
        rate: str = str(saas.RATE),
        timeout: float = 30.0,
        stall_timeout: float = 30.0,
        retries: int = 8,
        session: aiohttp.ClientSession | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        on_event: Emit | None = None,
    ) -> None:
        self._base_url = check_base_url(base_url, service=saas.SERVICE, example=saas.BASE_URL)
        check_seconds("stall_timeout", stall_timeout, service=saas.SERVICE)
        self._connection = connection = Connection(
            saas.SERVICE,
            (self._base_url,),
            "tagferry.GrowingIO(...) as gio",
            timeout=timeout,
            retries=retries,
            session=session,
            ssl=ssl,
            proxy=proxy,
            on_event=on_event,
        )
        credential = Credential(token, name="the GrowingIO token", hint=saas.TOKEN_HINT)
        self._callers = self._make_callers(credential, saas.check_client_id(client_id), Rate.parse(rate))
        self._backend = ExportService(
            name=saas.SERVICE,
            dialect="saas",
            ask_job=self._ask_job,
            transport=connection.transport,
            private=is_private(host_of(self._base_url)),
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

    def tag_users(self, project_uid: str, tag_id: str, *, expire_minutes: int = 60) -> Export:
        """Describe the export of a tag's users with their tag values, as CSV.

        Args:
            project_uid: The project's UID, from the console's address bar, like ``"nxog09md"``.
            tag_id: The tag's id, from the console's address bar, like ``"5rREn4PL"``.
            expire_minutes: How long the links live, 1 to 10080. They are renewed when they lapse.

        Raises:
            ConfigError: A value that the service cannot take.
        """
        request = saas.ask_tag_users(self._base_url, project_uid, tag_id, expire_minutes=expire_minutes)
        return self._export(saas.TAG, project_uid, tag_id, request, f"tag {tag_id} of project {project_uid}")

    def segment_users(
        self,
        project_uid: str,
        segmentation_id: str,
        *,
        expire_minutes: int = 60,
        parameters: Iterable[str] = (),
    ) -> Export:
        """Describe the export of a segment's users, as CSV.

        Args:
            project_uid: The project's UID, from the console's address bar, like ``"nxog09md"``.
            segmentation_id: The segment's id, like ``"nP2lpkX9"``.
            expire_minutes: How long the links live, 1 to 10080. They are renewed when they lapse.
            parameters: Keys of user variables. The service calls them a second filter; most likely they
                add columns.

        Raises:
            ConfigError: A value that the service cannot take.
        """
        request = saas.ask_segment_users(
            self._base_url, project_uid, segmentation_id, expire_minutes=expire_minutes, parameters=parameters
        )
        name = f"segment {segmentation_id} of project {project_uid}"
        return self._export(saas.SEGMENT, project_uid, segmentation_id, request, name)

    async def list_segments(self, project_uid: str) -> tuple[Listed, ...]:
        """List the segments of a project.

        Args:
            project_uid: The project's UID, from the console's address bar, like ``"nxog09md"``.

        Returns:
            Segments whose ``key`` is what `segment_users` takes; their type is ``"u"`` for visitors and
            ``"cs1"`` for users who logged in.

        Raises:
            ConfigError: It can be no project UID.
            TagferryError: The service refuses, cannot be reached, or answers with something else.
        """
        self._connection.check_open()
        request = lists.ask_segments(self._base_url, project_uid)
        return await list_whole(self._callers[lists.SEGMENTS], request, lists.read_segments)

    async def list_variables(self, project_uid: str) -> tuple[Listed, ...]:
        """List the user variables of a project, whose keys are the ``parameters`` of `segment_users`.

        Args:
            project_uid: The project's UID, from the console's address bar, like ``"nxog09md"``.

        Returns:
            The variables of users who logged in, then those of visitors; the type says which it is.

        Raises:
            ConfigError: It can be no project UID.
            TagferryError: The service refuses, cannot be reached, or answers with something else.
        """
        self._connection.check_open()
        found: list[Listed] = []
        both: tuple[lists.Users, ...] = ("login", "visitor")
        for users in both:
            request = lists.ask_variables(self._base_url, project_uid, users)
            read = functools.partial(lists.read_variables, users=users)
            found += await list_whole(self._callers[lists.VARIABLES], request, read)
        return tuple(found)

    def _make_callers(
        self, credential: Credential, public_key: str | None, export_rate: Rate
    ) -> dict[str, Caller]:
        """Return what makes the calls of each operation: each has a quota of its own."""

        def sign(request: Request, token: str) -> Request:
            return request.with_headers(saas.authorize(token, public_key))

        connection = self._connection
        rates = {
            saas.TAG: export_rate,
            saas.SEGMENT: export_rate,
            lists.SEGMENTS: lists.SEGMENTS_RATE,
            lists.VARIABLES: lists.VARIABLES_RATE,
        }
        return {
            operation: Caller(
                transport=connection.transport,
                limiter=connection.limiter((self._base_url, credential.identity, operation), rate),
                credential=credential,
                sign=sign,
                backoff=connection.backoff(),
                emit=connection.emit,
            )
            for operation, rate in rates.items()
        }

    def _export(self, kind: str, project_uid: str, id_: str, request: Request, name: str) -> Export:
        return Export(
            service=saas.SERVICE,
            kind=kind,
            id=id_,
            name=name,
            stem=make_stem(kind, project_uid, id_),
            ending=".csv",
            request=request,
            backend=self._backend,
            poller=self._poller,
        )

    async def _ask_job(self, job: Job, what: str, urgent: bool) -> JobReport:  # noqa: FBT001
        self._connection.check_open()

        def read(reply: Reply) -> JobReport:
            return saas.read_export(reply, what=what, now=self._connection.clock.unix())

        return await self._callers[job.request.operation].call(job.request, read, urgent=urgent)
