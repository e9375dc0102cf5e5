"""The emulator: two ports, one service behind them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from tagferry.emulator.admin import Admin
from tagferry.emulator.arrivals import Arrival, Arrivals
from tagferry.emulator.damage import damage_reply, envelope
from tagferry.emulator.environment import name_settings
from tagferry.emulator.faults import FaultQueue
from tagferry.emulator.growingio_cdp import GrowingIOCDP
from tagferry.emulator.growingio_cdp_downloads import PATH as CDP_DOWNLOAD
from tagferry.emulator.growingio_saas import GrowingIOSaaS
from tagferry.emulator.object_store import ObjectStore, store_error
from tagferry.emulator.service import Export
from tagferry.emulator.settings import Settings
from tagferry.emulator.tencent_im import TencentIM
from tagferry.emulator.wire import HEAD_LIMIT, BadRequestError, Reply, json_reply, read_request, write_reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Self

    from tagferry.emulator.audience import Source
    from tagferry.emulator.growingio_cdp_downloads import Door
    from tagferry.emulator.service import Service
    from tagferry.emulator.wire import Request

    Route = Callable[[Request], Awaitable[tuple[Reply, Arrival]]]

logger = logging.getLogger("tagferry.emulator")


class Emulator:
    """A local stand-in for all services, with their manners; an async context manager.

    Code without an event loop, and a test that must not share its own, take `serve_in_thread`.

    Args:
        settings: What it is told before it starts; without them it is as the documented services are.

    Attributes:
        base_url: Origin of the API, once started.
        download_url: Origin of the download host: another port, so another origin.
        token: The token to send.
        settings: What it was told.
        faults: The queue of what is to go wrong.
        seen: The log of what arrived.
        cdp: GrowingIO CDP; ``cdp.made`` counts the jobs of each export.
        tencent: Tencent IM; ``tencent.kick()`` makes void all signatures so far.

    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings: Settings = settings or Settings()
        self.token: str = self.settings.token
        self.base_url: str = ""
        self.download_url: str = ""
        self.seen: Arrivals = Arrivals(self.settings.remember)
        self.store = ObjectStore(self.settings.seed, md5_header=self.settings.md5_header)
        self.tencent = TencentIM(self.settings)
        self.cdp = GrowingIOCDP(self.settings, self.store)
        saas = GrowingIOSaaS(self.settings, self.store)
        self.services: tuple[Service, ...] = (saas, self.cdp, self.tencent)
        operations = frozenset[str]().union(*(service.operations for service in self.services))
        self.faults: FaultQueue = FaultQueue(operations)
        self._admin = Admin(self)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._bugs: list[Exception] = []
        self._chance = random.Random(self.settings.seed)  # noqa: S311 - nothing depends on its secrecy

    def source(self, kind: str, project: str, export_id: str, parameters: Sequence[str] = ()) -> Source:
        """The whole export as one file, which is what the service serves unless it is told to make parts.

        Args:
            kind: `growingio-tag`, `growingio-segment`, `growingio-cdp-tag` or `growingio-cdp-segment`.
            project: The project UID; of the CDP, ``"PROJECT"``, ``"PROJECT/SPACE"`` or ``""``.
            export_id: The id, or key, of the tag or segment.
            parameters: Those of a segment; of the CDP its properties, and ``"fileFormat=json"``,
                ``"csvHeaderType=name"``, ``"language=US"`` where the export asks for that.

        Raises:
            ValueError: There is no such kind or thing.

        """
        (source,) = self.sources(kind, project, export_id, parameters, parts=1)
        return source

    def sources(
        self,
        kind: str,
        project: str,
        export_id: str,
        parameters: Sequence[str] = (),
        *,
        parts: int | None = None,
        version: int = 0,
    ) -> tuple[Source, ...]:
        """All files of an export, whose arguments are those of `source`.

        `parts` is how many, as in the settings unless given; `version=1` is what `other-content` serves.
        """
        for service in self.services:
            if kind in service.kinds:
                export = Export(kind, project, export_id, tuple(parameters))
                return service.sources(export, parts=parts, version=version)
        kinds = sorted(kind for service in self.services for kind in service.kinds)
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(kinds)}")

    def quotas(self) -> dict[str, dict[str, int]]:
        """For each quota: arrivals, refused ones, and the most in any sliding second of one caller."""
        quotas: dict[str, dict[str, int]] = {}
        for service in self.services:
            for (name, _), window in list(service.windows.items()):
                quota = quotas.setdefault(name, {"arrivals": 0, "refused": 0, "max_in_any_second": 0})
                quota["arrivals"] += window.arrivals
                quota["refused"] += window.refused
                quota["max_in_any_second"] = max(quota["max_in_any_second"], window.max_in_any_second)
        return quotas

    def expire_links(self) -> None:
        """Let every link that was handed out lapse now."""
        self.store.expire()
        self.cdp.files.expire()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that lead here `tagferry`, and programs that read the same ones."""
        return name_settings(self.base_url, self.settings)

    @property
    def max_in_any_second(self) -> int:
        """The most calls of one quota in any sliding second so far."""
        return max((quota["max_in_any_second"] for quota in self.quotas().values()), default=0)

    @property
    def refused(self) -> int:
        """How many calls were over their quota."""
        return sum(quota["refused"] for quota in self.quotas().values())

    async def __aenter__(self) -> Self:
        try:
            self.base_url = await self._listen(self.settings.port, self._answer_call)
            self.download_url = await self._listen(self.settings.download_port, self._answer_download)
        except BaseException:
            await self._close()
            raise
        self.store.url = self.download_url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        if self._bugs and error is None:
            raise ExceptionGroup("the emulator itself failed", self._bugs)

    async def _listen(self, port: int, route: Route) -> str:
        def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer, route))
            self._connections[task] = writer
            task.add_done_callback(self._connections.pop)

        server = await asyncio.start_server(connect, self.settings.host, port, limit=HEAD_LIMIT, backlog=1024)
        self._servers.append(server)
        host, number = server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        # Aborted first: a polite close would wait for peers that never read.
        tasks = list(self._connections)
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while await self._exchange(reader, writer, route):
                    pass
        except Exception as error:
            logger.exception("the emulator itself failed")
            self._bugs.append(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route
    ) -> bool:
        try:
            request = await read_request(reader)
        except BadRequestError as error:
            arrival = Arrival(0, "unreadable", "", "", "", ())
            reply = json_reply(error.status, envelope(error.status))
            await write_reply(writer, reply, arrival, keep_alive=False)
            return False
        if request is None:
            return False
        reply, arrival = await route(request)
        head_only = request.method == "HEAD"
        return await write_reply(writer, reply, arrival, head_only=head_only, keep_alive=request.keep_alive)

    def _note(self, request: Request, operation: str, key: str) -> Arrival:
        wire = (request.method, request.target, request.headers)
        arrival = Arrival(request.nanoseconds, operation, key, *wire)
        self.seen.add(arrival)
        return arrival

    async def _answer_call(self, request: Request) -> tuple[Reply, Arrival]:
        if request.path.startswith("/_emulator/"):
            return await self._admin.answer(request), Arrival(0, "admin", "", request.method, "", ())
        if request.path == CDP_DOWNLOAD:
            return await self._give_file(request, self.cdp.own_door)
        for service in self.services:
            route = service.route(request)
            if route is None:
                continue
            arrival = self._note(request, *route)
            reply = service.refuse(request)
            if reply is None:
                plan = self.faults.take(*route)
                reply = damage_reply(service.answer(request, plan), plan)
            return self._delay(reply), arrival
        return json_reply(404, envelope(404)), self._note(request, "unknown", "")

    async def _answer_download(self, request: Request) -> tuple[Reply, Arrival]:
        cdp = request.path == CDP_DOWNLOAD
        return await self._give_file(request, self.cdp.other_door if cdp else self.store)

    async def _give_file(self, request: Request, store: ObjectStore | Door) -> tuple[Reply, Arrival]:
        link = store.find(request)
        arrival = self._note(request, link.operation if link else "unknown", link.key if link else "")
        reply, violation = store.refuse(request, link)
        if violation is not None:
            self.seen.violations.append(violation)
        if reply is None and link is not None:
            plan = self.faults.take(link.operation, link.key)
            try:
                reply = damage_reply(await store.answer(request, link, plan), plan)
            except ValueError as error:
                reply = store_error(500, "InternalError", str(error))
        assert reply is not None  # no link is refused above
        return self._delay(reply), arrival

    def _delay(self, reply: Reply) -> Reply:
        settings = self.settings
        if not settings.latency and not settings.jitter:
            return reply
        late = settings.latency + settings.jitter * self._chance.uniform(-1, 1)
        return replace(reply, delay=reply.delay + max(0.0, late))
