"""The address of a service's API, as a user gives it."""

from __future__ import annotations

from urllib.parse import urlsplit

from tagferry.errors import ConfigError
from tagferry.wire.excerpt import excerpt

__all__ = ["check_base_url", "host_of"]


def check_base_url(url: str, *, service: str, example: str) -> str:
    """Return a base URL without a slash at its end.

    Raises:
        ConfigError: It is no http or https address, or it has a login, a query or a fragment.
    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        usable = usable and not (parts.query or parts.fragment or parts.username or parts.password)
        usable = usable and url.strip().isascii() and url.strip().isprintable() and " " not in url.strip()
    if usable:
        return url.strip().rstrip("/")
    msg = f"base URL {excerpt(url)!r} is no plain http or https address"
    raise ConfigError(msg, service=service, hint=f"write it like {example}")


def host_of(url: str) -> str:
    """Return the host of a checked base URL."""
    return urlsplit(url).hostname or ""
