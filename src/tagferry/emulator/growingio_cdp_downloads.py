"""`/download` of the emulated CDP: on the port of the API, and on the other one."""

from __future__ import annotations

import time
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tagferry.emulator.damage import envelope
from tagferry.emulator.object_store import LINKS_KEPT, SECRET_HEADERS, Link, Opener
from tagferry.emulator.wire import json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tagferry.emulator.faults import Plan
    from tagferry.emulator.growingio_cdp_settings import Uris
    from tagferry.emulator.object_store import ObjectStore
    from tagferry.emulator.wire import Reply, Request

DOWNLOAD = "growingio-cdp.download"
PATH = "/download"
_SPELLINGS: dict[Uris, Callable[[str], str]] = {
    "encoded": lambda path: urllib.parse.quote(path, safe=""),
    "plus": urllib.parse.quote_plus,
    "half": lambda path: urllib.parse.quote(path, safe="/"),
    "raw": str,
}


@dataclass(slots=True)
class Files:
    """The files of all jobs, by the path that a uri decodes to."""

    spelling: Uris
    links: dict[str, Link] = field(default_factory=dict[str, Link])

    def publish(self, path: str, life: float, file: Opener) -> str:
        """Keep a file for some seconds, and return its uri."""
        uri = _SPELLINGS[self.spelling](path)
        if len(self.links) >= LINKS_KEPT:
            del self.links[next(iter(self.links))]
        self.links[path] = Link(DOWNLOAD, f"{PATH}?file={uri}", time.monotonic() + life, file)
        return uri

    def expire(self) -> None:
        """Delete every file now."""
        for link in self.links.values():
            link.ends = 0.0


@dataclass(frozen=True, slots=True)
class Door:
    """`/download` on one port.

    Attributes:
        files: What there is.
        store: Answers for the bytes.
        knows: Tells whether a request has a good token.
        own: Whether this is the port of the API; the other one is another origin, so not for tokens, unless
            it demands one.
        locked: Whether a token is demanded.

    """

    files: Files
    store: ObjectStore
    knows: Callable[[Request], bool]
    own: bool
    locked: bool

    def find(self, request: Request) -> Link | None:
        """The file that a request names, decoded once as a server does; other spellings are found as well."""
        return self.files.links.get(_read_file(request))

    def refuse(self, request: Request, link: Link | None) -> tuple[Reply | None, str | None]:
        """Why a request gets no file, and what a client of ours must never do."""
        allowed = {"Authorization"} if self.own or self.locked else set[str]()
        if sent := [name for name in SECRET_HEADERS if request.values(name) and name not in allowed]:
            text = f"{', '.join(sent)} sent to the download host"
            return json_reply(400, envelope(400)), text
        if (self.locked or request.values("Authorization")) and not self.knows(request):
            return json_reply(401, envelope(401)), None
        if link is None:
            twice = urllib.parse.unquote_plus(_read_file(request)) in self.files.links
            return json_reply(404, envelope(404)), "a uri was encoded twice" if twice else None
        if request.method != "GET":
            return json_reply(405, envelope(405)), None
        # A raw uri cannot be sent as it is, so there is no one right spelling of it.
        if self.files.spelling != "raw" and request.target != link.target:
            return json_reply(400, envelope(400)), "a uri was not sent byte for byte"
        if link.lapsed:
            return json_reply(404, envelope(404)), None
        return None, None

    async def answer(self, request: Request, link: Link, plan: Plan) -> Reply:
        """The file, or the part of it that was asked for."""
        if "expired" in plan:
            link.ends = 0.0
            return json_reply(404, envelope(404))
        return await self.store.answer(request, link, plan)


def _read_file(request: Request) -> str:
    pairs = urllib.parse.parse_qsl(request.query, keep_blank_values=True)
    return pairs[0][1] if len(pairs) == 1 and pairs[0][0] == "file" else ""
