"""What an HTTP status says, where the service itself says nothing better."""

from __future__ import annotations

from tagferry.errors import (
    AuthError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.wire.message import Head
from tagferry.wire.retry import read_retry_after

__all__ = ["refusal"]

_BUSY = {429, 503}
_TRANSIENT = {408, 425}


def refusal(head: Head, message: str, *, service: str, now: float) -> TagferryError:
    """Return the error that a status other than success stands for.

    Args:
        head: The reply's status and headers.
        message: What happened, for the error.
        service: The service that answered.
        now: Unix time in seconds; a ``Retry-After`` may be a date.
    """
    status = head.status
    retry_after = read_retry_after(head.headers.get("retry-after"), now=now)
    if status in _BUSY:
        return ThrottledError(message, service=service, code=status, retry_after=retry_after)
    if status >= 500 or status in _TRANSIENT:
        return UnavailableError(message, service=service, code=status, retry_after=retry_after)
    if status in {401, 403, 407}:
        return AuthError(message, service=service, code=status)
    if status < 400:
        return ProtocolError(message, service=service, code=status, hint="check the base URL")
    return RefusedError(message, service=service, code=status)
