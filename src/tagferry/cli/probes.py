"""Looks whether an address resolves, connects and answers; sends no credential."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl as tls
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from anyio.streams.tls import TLSAttribute

from tagferry.cli.diagnosis import (
    Finding,
    is_loopback,
    judge_certificate,
    judge_clock,
    judge_error,
    read_skew,
)
from tagferry.errors import TagferryError
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Request
from tagferry.wire.transport import Transport

__all__ = ["examine_address"]

PATIENCE = 3.0
"""Seconds for each of the three steps: to resolve, to connect, to ask."""
_HINT = "check the network and the address; proxies of the environment are not used"
_PORTS = {"http": 80, "https": 443}
_DAY = 86400.0
_UNAVAILABLE, _REFUSED = 5, 7

Ask = Callable[[], Awaitable[Finding]]


class _StopError(Exception):
    """A check failed, and those behind it make no sense."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.check)
        self.finding = finding


async def examine_address(
    base_url: str, service: str, *, signs: bool, ask: Ask | None = None
) -> list[Finding]:
    """Look whether an address resolves, connects and answers.

    Args:
        base_url: A checked base URL.
        service: The service that is there.
        signs: Whether it is sent signatures that have the time in them.
        ask: What to ask the service itself, when it can be connected.
    """
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    found: list[Finding] = []
    try:
        with _patience("name"):
            addresses = await _resolve(host, port)
        found.append(Finding(check="name", verdict="ok", text=_name(host, addresses)))
        with _patience("connection"):
            secure = parts.scheme == "https"
            local = all(map(is_loopback, addresses))
            found.append(await _connect(host, port, secure=secure, local=local))
    except _StopError as stop:
        return [*found, stop.finding]
    answers: list[list[Finding]] = [[], []]

    async def look(place: int, work: Callable[[], Awaitable[list[Finding]]]) -> None:
        answers[place] = await work()

    async with anyio.create_task_group() as group:
        group.start_soon(look, 0, lambda: _get(base_url, host, service, signs=signs))
        if ask is not None:
            group.start_soon(look, 1, lambda: _ask(ask))
    return [*found, *answers[0], *answers[1]]


@contextlib.contextmanager
def _patience(check: str) -> Generator[None]:
    with anyio.move_on_after(PATIENCE) as scope:
        yield
    if scope.cancelled_caught:
        raise _failed(check, f"nothing came within {PATIENCE:g} s")


def _failed(check: str, text: str, hint: str = _HINT, code: int = _UNAVAILABLE) -> _StopError:
    return _StopError(Finding(check=check, verdict="fail", text=text, hint=hint, code=code))


async def _resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host.

    The resolver of the system cannot be interrupted and may take half a minute. A thread asks it that nobody
    waits for, not even the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str] | OSError] = loop.create_future()

    def settle(result: list[str] | OSError) -> None:
        if not future.done():
            future.set_result(result)

    def work() -> None:
        result: list[str] | OSError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = list(dict.fromkeys(str(one[4][0]) for one in found))
        except (OSError, UnicodeError) as error:
            result = error if isinstance(error, OSError) else OSError(str(error))
        # The loop may be gone.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name="tagferry-resolve", daemon=True).start()
    result = await future
    if isinstance(result, OSError):
        raise _failed("name", f"{host} cannot be resolved: {excerpt(result.strerror or str(result))}")
    return result


def _name(host: str, addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - 2} more" if len(addresses) > 2 else ""
    shown = ", ".join(addresses[:2]) + more
    return host if addresses == [host] else f"{host} is {shown}"


async def _connect(host: str, port: int, *, secure: bool, local: bool) -> Finding:
    began = time.monotonic()
    try:
        found = await (_shake_hands(host, port) if secure else _open(host, port, local=local))
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise _connection_failed(host, port, error) from None
    return replace(found, text=f"open after {1000 * (time.monotonic() - began):.0f} ms, {found.text}")


async def _open(host: str, port: int, *, local: bool) -> Finding:
    await (await anyio.connect_tcp(host, port)).aclose()
    if local:
        return Finding(check="connection", verdict="ok", text="in clear, to this machine")
    hint = "the token can be read on the way; use an https address if the server has one"
    return Finding(check="connection", verdict="warn", text="in clear", hint=hint)


async def _shake_hands(host: str, port: int) -> Finding:
    # It reads the certificates of the system from the disk.
    context = await anyio.to_thread.run_sync(tls.create_default_context)
    stream = await anyio.connect_tcp(host, port, ssl_context=context, tls_standard_compatible=False)
    async with stream:
        connection = stream.extra(TLSAttribute.ssl_object)  # noqa: S610  # no Django
        certificate = connection.getpeercert() or {}
        ends = tls.cert_time_to_seconds(str(certificate["notAfter"]))
        verdict, text, hint = judge_certificate((ends - time.time()) / _DAY)
        return Finding(check="connection", verdict=verdict, text=f"{connection.version()}, {text}", hint=hint)


def _connection_failed(host: str, port: int, error: Exception) -> _StopError:
    if isinstance(error, tls.SSLError):
        reason = getattr(error, "verify_message", None) or error.reason or str(error)
        hint = "check the address and the certificates of this machine"
        return _failed("connection", f"no trusted TLS to {host}: {excerpt(reason)}", hint, _REFUSED)
    inner: BaseException = error.__cause__ or error
    if isinstance(inner, BaseExceptionGroup):
        # Of several addresses, the first one is as good as any.
        inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
    number = inner.errno if isinstance(inner, OSError) else None
    reason = os.strerror(number) if number else "it was closed at once"
    return _failed("connection", f"no connection to {host}:{port}: {reason}")


async def _get(base_url: str, host: str, service: str, *, signs: bool) -> list[Finding]:
    """Ask for nothing in particular, by nobody: any answer will do."""
    transport = Transport(service, timeout=PATIENCE, api_host=host)
    headers = {"Cache-Control": "no-cache"}
    request = Request(operation="doctor", method="GET", url=f"{base_url}/", headers=headers)
    sent = time.time()
    try:
        reply = await transport.send(request)
    except TagferryError as error:
        return [judge_error("answer", error)]
    finally:
        await transport.aclose()
    received = time.time()
    text = f"HTTP status {reply.head.status} after {1000 * (received - sent):.0f} ms"
    answer = Finding(check="answer", verdict="ok", text=text)
    return [answer, judge_clock(read_skew(reply.head, sent, received), signs=signs)]


async def _ask(ask: Ask) -> list[Finding]:
    try:
        with _patience("credentials"):
            return [await ask()]
    except _StopError as stop:
        return [stop.finding]
