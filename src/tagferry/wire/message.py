"""The words spoken with a service: a request, and the reply to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

__all__ = ["Head", "Reply", "Request"]

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One HTTP request, without the credential that its client adds.

    The URL is sent byte for byte. Its query may be a secret, so ``repr`` leaves it out.
    """

    operation: str
    """What the request is for, such as ``"growingio-tag"``; for errors and logs."""
    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    once: bool = False
    """Whether it must not arrive twice."""

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with further headers."""
        return msgspec.structs.replace(self, headers={**self.headers, **headers})

    @property
    def place(self) -> str:
        """Scheme, host and path, safe to print."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    def __repr__(self) -> str:
        return f"Request({self.operation}: {self.method} {self.place})"


class Head(msgspec.Struct, frozen=True):
    """The status and the headers of a reply; names of headers are looked up in any case."""

    status: int
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        # Header values may hold cookies and redirect targets.
        return f"Head({self.status})"


class Reply(msgspec.Struct, frozen=True):
    """A whole reply with a small body."""

    head: Head
    body: bytes

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T | None:
        """Return what the body says as JSON, or None if it is none of the decoder's type."""
        try:
            # Some gateways put a byte order mark before it.
            return decoder.decode(self.body.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def __repr__(self) -> str:
        return f"Reply({self.head.status}, {len(self.body)} bytes)"
