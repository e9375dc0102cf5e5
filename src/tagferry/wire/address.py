"""Which network addresses a foreign link may lead to."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["is_private", "looks_numeric"]

_LOCAL = tuple(map(ipaddress.ip_network, ("100.64.0.0/10", "64:ff9b:1::/48", "fec0::/10")))
"""Networks that are not on the public internet, although not every Python says so."""
_AROUND_IPV4 = tuple(map(ipaddress.ip_network, ("::/96", "64:ff9b::/96")))
"""IPv6 networks whose addresses end with the IPv4 address that is meant."""
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?", re.IGNORECASE)


def is_private(host: str) -> bool:
    """Tell whether a host is an address that is not on the public internet, or a name of this machine.

    A name that has to be resolved first is not private; its addresses may be.
    """
    host = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return is_private(str(inner))
        if any(address in network for network in _AROUND_IPV4):
            return is_private(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    return not address.is_global or address.is_multicast or any(address in network for network in _LOCAL)


def looks_numeric(host: str) -> bool:
    """Tell whether a host is an IPv4 address in a spelling other than four plain decimals.

    ``127.1``, ``2130706433``, ``0x7f.1`` and ``017700000001`` all reach this machine.
    """
    if not _NUMERIC.fullmatch(host):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
