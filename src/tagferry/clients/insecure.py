"""Warns of credentials that go over the network in clear."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from tagferry.events import Emit, InsecureAddress

__all__ = ["warn_of_clear_text"]

_warned: set[str] = set()


def warn_of_clear_text(url: str, service: str, emit: Emit) -> None:
    """Tell once in a process that an address other than this machine's own is spoken to without TLS.

    Args:
        url: A checked base URL.
        service: The service that is there.
        emit: Told of it.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or "") or url in _warned:
        return
    _warned.add(url)
    emit(InsecureAddress(service=service, address=url))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
