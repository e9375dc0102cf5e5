"""Reads whole lists of a service, one page after the other."""

from __future__ import annotations

from typing import Protocol

from tagferry.errors import ProtocolError
from tagferry.services.growingio_listed import Listed, Page
from tagferry.wire.call import Caller
from tagferry.wire.message import Reply, Request

__all__ = ["MOST_PAGES", "list_pages", "list_whole"]

MOST_PAGES = 1000
"""The most pages of one list; at the documented thousand items each, that is a million."""


class AskPage(Protocol):
    """Makes the request for the page at an offset."""

    def __call__(self, *, offset: int) -> Request: ...


class ReadPage(Protocol):
    """Reads the page at an offset; `now` is Unix time in seconds."""

    def __call__(self, reply: Reply, *, offset: int, now: float) -> Page: ...


class ReadWhole(Protocol):
    """Reads a list that comes whole; `now` is Unix time in seconds."""

    def __call__(self, reply: Reply, *, now: float) -> Page: ...


async def list_whole(caller: Caller, request: Request, read: ReadWhole) -> tuple[Listed, ...]:
    """Read a list that the service gives in one answer.

    Args:
        caller: Makes the call.
        request: Asks for the list.
        read: Reads the answer.

    Raises:
        TagferryError: The service refuses, cannot be reached, or answers with something else.
    """

    def look(reply: Reply) -> Page:
        return read(reply, now=caller.backoff.clock.unix())

    return (await caller.call(request, look)).items


async def list_pages(caller: Caller, ask: AskPage, read: ReadPage, *, service: str) -> tuple[Listed, ...]:
    """Read all pages of a list.

    An item that comes again, since others were made or deleted meanwhile, is taken once.

    Args:
        caller: Makes the calls.
        ask: Makes the request for the page at an offset.
        read: Reads its answer.
        service: The service's name, for errors.

    Raises:
        ProtocolError: A page repeats the ones before it, or the list has no end.
        TagferryError: The service refuses, cannot be reached, or answers with something else.
    """
    found: dict[tuple[str, str], Listed] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        page = await _call(caller, ask, read, offset)
        fresh = {(item.id, item.key): item for item in page.items if (item.id, item.key) not in found}
        if page.items and not fresh:
            raise _endless(service, ask(offset=offset), f"gives the page at {offset} twice")
        found |= fresh
        if page.next is None:
            return tuple(found.values())
        offset = page.next
    raise _endless(service, ask(offset=offset), f"has more than {MOST_PAGES} pages")


async def _call(caller: Caller, ask: AskPage, read: ReadPage, offset: int) -> Page:
    def look(reply: Reply) -> Page:
        return read(reply, offset=offset, now=caller.backoff.clock.unix())

    return await caller.call(ask(offset=offset), look)


def _endless(service: str, request: Request, what: str) -> ProtocolError:
    message = f"the list {request.operation} has no end: {service} {what}"
    hint = "check the base URL; if it is right, this version of the service is not supported"
    return ProtocolError(message, service=service, code="list", hint=hint)
