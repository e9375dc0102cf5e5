"""Download links: written by a server, so checked before anyone follows them."""

from __future__ import annotations

from yarl import URL

from tagferry.errors import ProtocolError
from tagferry.wire.address import is_private, looks_numeric

__all__ = ["MAX_REDIRECTS", "check_link", "follow_redirect"]

MAX_REDIRECTS = 5


def check_link(link: str, *, private: bool, service: str) -> URL:
    """Return a link as it has to be sent, byte for byte: its signature covers the escapes.

    Args:
        link: What the service wrote.
        private: Whether private addresses are allowed, as they are when the API itself has one.
        service: The service that wrote it.

    Raises:
        ProtocolError: The link leads where no download is: another scheme, a login, a private address.
    """
    if problem := _problem(link, private=private):
        # The link itself is a secret even when it is wrong.
        msg = f"{service} gave a download link {problem}"
        raise ProtocolError(msg, service=service, code="bad-link")
    return URL(link, encoded=True)


def follow_redirect(url: URL, location: str | None, *, hops: int, private: bool, service: str) -> URL:
    """Return where a redirect of a download leads, checked like the link itself.

    Args:
        url: Where the redirect came from.
        location: Its ``Location`` header.
        hops: How many redirects were followed before this one.
        private: Whether private addresses are allowed.
        service: The service whose download it is.

    Raises:
        ProtocolError: It leads nowhere, too far, from https to http, or where no link may lead.
    """
    if hops >= MAX_REDIRECTS or not location:
        what = f"redirected more than {MAX_REDIRECTS} times" if location else "redirected to nowhere"
        raise ProtocolError(f"a download of {service} was {what}", service=service, code="redirect")
    try:
        joined = None if _has_control(location) else str(url.join(URL(location, encoded=True)))
    except ValueError:
        joined = None
    if joined is None:
        raise ProtocolError(
            f"a download of {service} was redirected to no URL", service=service, code="redirect"
        )
    target = check_link(joined, private=private, service=service)
    if url.scheme == "https" and target.scheme != "https":
        msg = f"a download of {service} was redirected from https to http"
        raise ProtocolError(msg, service=service, code="redirect")
    return target


def _problem(link: str, *, private: bool) -> str | None:
    if _has_control(link):
        return "with control characters or blanks"
    try:
        url = URL(link, encoded=True)
        host, port = url.raw_host, url.port
    except ValueError:
        return "that is no URL"
    if url.scheme not in {"http", "https"}:
        return "that is not of http or https"
    # Resolvers turn some other letters into digits and dots, so a host that is not ASCII could be an address.
    if not host or not host.isascii() or "%" in host or "\\" in link or not port:
        return "without a proper host"
    if url.raw_user is not None or url.raw_password is not None:
        return "with a login in it"
    if looks_numeric(host) or (is_private(host) and not private):
        return "to a private or disguised address"
    return None


def _has_control(text: str) -> bool:
    return any(c <= " " or c == "\x7f" for c in text)
