"""HTTP by aiohttp: whole replies of an API, and streamed bodies of downloads."""

from __future__ import annotations

import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import anyio
from yarl import URL

from tagferry.errors import ConfigError, ProtocolError, TagferryError
from tagferry.wire.address import is_private
from tagferry.wire.failure import failure_of
from tagferry.wire.message import Head, Reply, Request
from tagferry.wire.resolver import PublicResolver

if TYPE_CHECKING:
    from aiohttp.client_middlewares import ClientHandlerType

__all__ = ["Body", "Transport"]

MAX_REPLY = 8 * 1024 * 1024
"""The largest API reply that is read, in bytes; the largest documented one is about 3 MB."""
_READ_BUFFER = 1024 * 1024
_LEAST_READ_BUFFER = 64 * 1024

Body = AsyncIterator[bytes]


class Transport:
    """The connections of one client.

    Nothing is opened before the first request. No cookie is kept, no redirect followed, no proxy or
    netrc of the environment used.

    Args:
        service: The service's name, for errors.
        timeout: Seconds for one API request, or for a download's reply to begin.
        stall_timeout: Seconds in which the reply to an API request must bring some bytes.
        session: The caller's own session for API requests; it is not closed here.
        ssl: The caller's own TLS settings.
        proxy: The URL of a proxy.
        api_host: The host of the API; if its address is private, those of downloads may be.
    """

    def __init__(
        self,
        service: str,
        *,
        timeout: float,
        stall_timeout: float | None = None,
        session: aiohttp.ClientSession | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        api_host: str,
    ) -> None:
        self._service = service
        self._timeout = timeout
        # Timers cost as much as reading a head does; one that the whole time-out forestalls is left out.
        stall = stall_timeout if stall_timeout is not None and stall_timeout < timeout else None
        self._api_timeout = aiohttp.ClientTimeout(
            total=timeout, connect=_connect_within(timeout), sock_read=stall
        )
        self._given = session
        self._ssl = ssl if ssl is not None else True
        self._proxy = proxy
        self._api_host = api_host
        self._closed = False
        self.streams = 0
        """Downloads that are under way."""
        self._api: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None
        self._files: aiohttp.ClientSession | None = None
        self._resolver: PublicResolver | None = None

    def reopen(self) -> None:
        """Allow connections again after `aclose`."""
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection that was opened here, and open no other."""
        self._closed = True
        sessions = self._api, self._single, self._files
        self._api = self._single = self._files = None
        # A cancellation must not leave one of them open.
        with anyio.CancelScope(shield=True):
            for session in sessions:
                if session is not None:
                    await session.close()
            # A session closes the resolver that it made itself, no other.
            resolver, self._resolver = self._resolver, None
            if resolver is not None:
                await resolver.close()

    async def send(self, request: Request) -> Reply:
        """Send an API request as it is, once, and return the whole reply.

        One that must not arrive twice has a connection of its own: a server may close a kept one at the very
        moment at which it is used again, and nobody would know whether it read the request. Only with the
        caller's own session it takes what there is.

        Raises:
            TagferryError: No whole reply of a sane size came.
        """
        self._check_open()
        session = self._given or (self._single_session() if request.once else self._api_session())
        if session.closed:
            hint = "keep it open until the client is closed"
            raise ConfigError("the session that was given is closed", service=self._service, hint=hint)
        failure: TagferryError
        try:
            if (reply := await self._exchange(session, request)) is not None:
                return reply
            msg = f"{self._service} sent a reply of more than {MAX_REPLY} bytes"
            failure = ProtocolError(msg, service=self._service)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = self._failure(error, request.operation, request.url)
        # Outside of the handler: the library's exception holds URLs and headers and must not be our context.
        # Nor must its response stand in a frame of the traceback: its `repr` shows the URL, and a query may
        # be a credential.
        raise failure

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> Reply | None:
        """Send a request once, and return the whole reply, or None if it is too large."""
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            raise_for_status=False,
            timeout=self._api_timeout,
            ssl=self._ssl,
            proxy=self._proxy,
            # aiohttp never resends these unseen.
            middlewares=() if request.method == "POST" else (_Once(),),
        ) as response:
            body = await self._whole(response)
            return None if body is None else Reply(_head(response), body)

    @asynccontextmanager
    async def stream(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[tuple[Head, Body]]:
        """Get a file: its head, and its body as it comes over the wire, without any decoding.

        Args:
            url: Where the file is, as it has to be sent.
            headers: All headers of the request; nothing but these and ``Host`` is sent.

        Raises:
            TagferryError: The transfer could not begin; reading the body raises it where it broke off.
        """
        self._check_open()
        self.streams += 1
        try:
            async with self._stream(url, headers) as (head, body):
                yield head, body
        finally:
            self.streams -= 1

    @asynccontextmanager
    async def _stream(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[tuple[Head, Body]]:
        response = await self._open(url, headers)
        try:
            async with aclosing(self._chunks(response)) as chunks:
                yield _head(response), chunks
        finally:
            # A body that was not read to its end leaves a connection that nobody can use.
            response.close()

    async def _open(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        failure: TagferryError
        try:
            with anyio.fail_after(self._timeout):
                return await self._file_session().request(
                    "GET",
                    url,
                    headers=headers,
                    skip_auto_headers=("User-Agent", "Accept"),
                    allow_redirects=False,
                    # Many at once share the memory, and none hands over more than the loop takes easily.
                    read_bufsize=max(_LEAST_READ_BUFFER, _READ_BUFFER // self.streams),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
                    ssl=self._ssl,
                    proxy=self._proxy,
                )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = self._failure(error, "download", str(url))
        raise failure

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        failure: TagferryError
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = self._failure(error, "download", str(response.url))
        else:
            return
        # A reader that was late never saw what came before the break; without this, a connection that
        # always breaks early would never bring anything.
        response.content.set_exception(None)  # type: ignore[arg-type]
        if rest := response.content.read_nowait():
            yield rest
        raise failure

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes | None:
        if (response.content_length or MAX_REPLY) < MAX_REPLY and "Content-Encoding" not in response.headers:
            return await response.read()
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_REPLY:
                return None
        return bytes(body)

    def _check_open(self) -> None:
        # Nobody would close what is opened now by a task that outlived its client.
        if self._closed:
            hint = "keep it open until all that was begun has ended"
            raise ConfigError("the client is not open", service=self._service, hint=hint)

    def _api_session(self) -> aiohttp.ClientSession:
        if self._api is None:
            self._api = _open_session(aiohttp.TCPConnector())
        return self._api

    def _single_session(self) -> aiohttp.ClientSession:
        if self._single is None:
            self._single = _open_session(aiohttp.TCPConnector(force_close=True))
        return self._single

    def _file_session(self) -> aiohttp.ClientSession:
        if self._files is None:
            if not (self._proxy or is_private(self._api_host)):
                self._resolver = PublicResolver(self._api_host)
            self._files = aiohttp.ClientSession(
                # How many run at once is bounded where downloads are started.
                connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._files

    def _failure(self, error: BaseException, operation: str, url: str) -> TagferryError:
        return failure_of(error, operation, url, service=self._service, timeout=self._timeout)


def _open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """Open a session for requests of an API."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "tagferry", "Accept": "application/json"},
        trust_env=False,
    )


def _connect_within(timeout: float) -> float:
    """Return the seconds for a connection in a request of some seconds.

    They end a little before the others: so a connection that is never made, when nothing was sent, can be
    told from an answer that never comes. aiohttp rounds what is longer than 5 s up to a whole second.
    """
    return max(timeout - 1, min(5.0, 0.999 * timeout))


def _head(response: aiohttp.ClientResponse) -> Head:
    return Head(response.status, response.headers)


class _ResendError(aiohttp.ServerDisconnectedError):
    """aiohttp was about to send a request again, since the connection closed on the first one."""


class _Once:
    """Lets a request go out once.

    aiohttp resends an idempotent request unseen when a kept-alive connection turns out to be dead. The
    server counts both, so the second one needs a token of its own: it is left to `tagferry.wire.call`.
    """

    def __init__(self) -> None:
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._sent:
            raise _ResendError
        self._sent = True
        return await handler(request)
