"""Names of download hosts, resolved to public addresses only."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from tagferry.wire.address import is_private

__all__ = ["PublicResolver", "leads_inside"]


class _PrivateAddressError(OSError):
    """A name leads to an address that it must not lead to."""


def leads_inside(error: object) -> bool:
    """Tell whether a name could not be resolved since it leads to a private address."""
    return isinstance(error, _PrivateAddressError)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with a private address, unless the API's own name has one too.

    The address that is checked here is the one that is connected, so that a name cannot change in between.

    Args:
        api_host: The host of the API.
    """

    def __init__(self, api_host: str) -> None:
        self._resolver = DefaultResolver()
        self._api_host = api_host

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: It cannot be resolved; or one is private, and none of the API's own name is: then
                `leads_inside` knows the error.
        """
        found = await self._resolver.resolve(host, port, family)
        if _any_private(found):
            own = await self._resolver.resolve(self._api_host, port, family)
            if not _any_private(own):
                raise _PrivateAddressError
        return found

    async def close(self) -> None:
        """Let go of everything."""
        await self._resolver.close()


def _any_private(found: list[ResolveResult]) -> bool:
    return any(is_private(result["host"]) for result in found)
