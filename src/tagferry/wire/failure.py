"""What aiohttp raises, as errors that say what to do and show no URL."""

from __future__ import annotations

import asyncio
import ssl as tls

import aiohttp
from yarl import URL

from tagferry.errors import ProtocolError, RefusedError, TagferryError, UnavailableError
from tagferry.wire.excerpt import excerpt
from tagferry.wire.resolver import leads_inside

__all__ = ["NOT_SENT", "failure_of"]

NOT_SENT = frozenset({"connect", "tls"})
"""Codes of failures before a byte of the request left."""

_NO_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    # A proxy did not connect us.
    aiohttp.ClientHttpProxyError,
)


def failure_of(
    error: BaseException, operation: str, url: str, *, service: str, timeout: float
) -> TagferryError:
    """Return what it means that a request came to nothing.

    Args:
        error: What aiohttp raised; its own texts may hold URLs and headers, so they go no further.
        operation: What the request was for.
        url: Where it went; only its host is named.
        service: The service, for the error.
        timeout: The time-out in seconds, for its message.
    """
    host = URL(url, encoded=True).host or "the host"
    if isinstance(error, (aiohttp.ClientSSLError, tls.SSLError)):
        reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
        return RefusedError(
            f"no trusted TLS connection to {host}: {excerpt(str(reason))}",
            service=service,
            code="tls",
            hint="check the base URL and the certificates of this machine; pass ssl= for a private CA",
        )
    if leads_inside(getattr(error, "os_error", None)):
        msg = f"{host} leads to a private address, which a link of a public service must not"
        return ProtocolError(msg, service=service, code="private-address")
    reason = _reason(error, timeout)
    msg = f"no answer from {host} ({operation}): {reason}"
    connected = not isinstance(error, _NO_CONNECTION)
    return UnavailableError(
        msg,
        service=service,
        code=None if connected else "connect",
        hint="check the network and the base URL",
    )


def _reason(error: BaseException, timeout: float) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, asyncio.TimeoutError):
        return f"time-out after {timeout:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "connection failed"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body broke off"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # The text of other exceptions of the library may hold URLs and headers.
    return type(error).__name__
