"""The address of a service's API, as a user gives it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tagferry.errors import ConfigError
from tagferry.wire.excerpt import excerpt

__all__ = ["check_base_url", "check_proxy", "host_of"]

_HOST = r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]*))?"
_BASE_URL = re.compile(rf"(https?)://{_HOST}((?:/[!$&-;=@-_a-z~%]*)?)", re.ASCII | re.IGNORECASE)
_PROXY = re.compile(rf"https?://(?:[!-.0-?A-~]+@)?{_HOST}/?", re.ASCII | re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def check_base_url(url: str, *, service: str, example: str) -> str:
    """Return a base URL in one spelling, without a slash at its end.

    Raises:
        ConfigError: It is no http or https address, or it has a login, a query or a fragment.
    """
    match = _BASE_URL.fullmatch(f"{url}".strip())
    if match is not None and _is_usable(match[0]):
        scheme, host, port, path = match[1].lower(), match[2].lower(), match[3], match[4]
        origin = f"{scheme}://{host}"
        if port and int(port) != _PORTS[scheme]:
            origin += f":{int(port)}"
        return origin + path.rstrip("/")
    shown = f"{url}".rpartition("@")[2]
    msg = f"base URL {excerpt(shown)!r} is no plain http or https address"
    raise ConfigError(msg, service=service, hint=f"write it like {example}")


def check_proxy(url: str, *, service: str) -> None:
    """Check the URL of a proxy, which may have a login.

    Raises:
        ConfigError: It is no http or https address of a host.
    """
    if _PROXY.fullmatch(f"{url}") is None or not _is_usable(url):
        msg = f"proxy {excerpt(f'{url}'.rpartition('@')[2])!r} is no plain http or https address"
        raise ConfigError(msg, service=service, hint="write it like http://proxy.example.com:3128")


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Return the host of a checked base URL."""
    return urlsplit(url).hostname or ""
