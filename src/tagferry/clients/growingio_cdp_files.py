"""Who may fetch the files of GrowingIO CDP: its own origins want the token, and no other gets it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from yarl import URL

from tagferry.services import growingio_cdp as cdp
from tagferry.wire.credential import Credential
from tagferry.wire.secret import Secret

__all__ = ["HINTS", "LAPSED", "FileAccess"]

LAPSED = frozenset({404, 410})
"""The links of a job never change: these say that its files are gone."""
HINTS = {
    400: "the download host does not take the path as the service gave it; check the download URL",
    401: "the download host wants a good token; it is given to the API's own origin and to download_url only",
    403: "the token's user may not fetch this file, or the download host wants a token",
}
"""What to do about other statuses of a download."""


class FileAccess:
    """The headers that let a download in.

    Args:
        credential: The token.
        scheme: The word before it.
        addresses: The base URLs that are trusted with it.
    """

    def __init__(self, credential: Credential, scheme: str, addresses: Iterable[str]) -> None:
        self._credential = credential
        self._scheme = scheme
        self._trusted = {URL(address).origin() for address in addresses}

    async def headers(self, url: URL) -> Mapping[str, str]:
        """Return what a request for a file shows to be let in."""
        if url.origin() not in self._trusted:
            return {}
        headers = cdp.authorize(await self._credential.value(), self._scheme)
        return {name: Secret(value) for name, value in headers.items()}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Ask for another token than the one in headers that were refused; tell whether there is one."""
        sent = refused.get("Authorization")
        if sent is None:
            return False
        return await self._credential.renew(Secret(sent.removeprefix(self._scheme).lstrip()))
