"""How the set-up of each service is checked: where it is, and a cheap question that needs its credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tagferry.cli import growingio, growingio_cdp, tencent
from tagferry.cli.options import ExportOptions, FetchOptions
from tagferry.cli.text import show_count
from tagferry.errors import RefusedError
from tagferry.events import Event
from tagferry.services import growingio_cdp as cdp
from tagferry.services import growingio_saas as saas
from tagferry.services import tencent_im as im
from tagferry.settings import Settings
from tagferry.wire.origin import check_base_url

if TYPE_CHECKING:
    from tagferry.clients.growingio_cdp import GrowingIOCDP

__all__ = ["CHECKUPS", "Checkup", "Choices", "Question"]

_SECONDS = 2.5
"""For one request: less than the patience of the probes, since the client knows better what is wrong."""
_NOBODY = "tagferry-doctor"
"""An account that hardly exists; that it does not is an answer too."""


class Choices(NamedTuple):
    """What the command line says beside the settings."""

    project_uid: str | None
    """A project of GrowingIO SaaS."""
    service: Literal["all_member_push", "timpush"]
    """The service of Tencent IM that the app has."""


class Question(NamedTuple):
    """A client, and what it is to ask; the answer is in words."""

    client: AbstractAsyncContextManager[Any]
    ask: Callable[[], Awaitable[str]] | None
    hint: str | None = None
    """Without a question: what makes one possible."""


class Checkup(NamedTuple):
    """How one service is checked. Its functions raise `ConfigError` and send nothing."""

    section: str
    """Where its settings are."""
    title: str
    service: str
    addresses: Callable[[Settings], Mapping[str, str]]
    """Where it is, and what for."""
    question: Callable[[Settings, Choices], Question]
    signs: bool = False
    """Whether it is sent signatures that have the time in them."""


def _find_saas(settings: Settings) -> Mapping[str, str]:
    url = settings.need("growingio.base_url")
    return {"": check_base_url(url, service=saas.SERVICE, example=saas.BASE_URL)}


def _ask_saas(settings: Settings, choices: Choices) -> Question:
    client = growingio.open_client(settings, ExportOptions(timeout=_SECONDS, retries=0), _ignore)
    if choices.project_uid is None:
        # Every call of its documents is about a project.
        return Question(client, None, "give a project by --project-uid, like nxog09md")
    project_uid = choices.project_uid

    async def ask() -> str:
        return show_count(len(await client.list_segments(project_uid)), "segment")

    return Question(client, ask)


def _find_cdp(settings: Settings) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for use, name in (("", "cdp.base_url"), ("download ", "cdp.download_url")):
        if url := settings.get(name) if use else settings.need(name):
            url = check_base_url(url, service=cdp.SERVICE, example="http://cdp.example.com")
            if url not in found.values():
                found[use] = url
    return found


def _ask_cdp(settings: Settings, _: Choices) -> Question:
    client = growingio_cdp.open_client(settings, ExportOptions(timeout=_SECONDS, retries=0), _ignore)
    return Question(client, lambda: _count_projects(client))


async def _count_projects(client: GrowingIOCDP) -> str:
    try:
        return show_count(len(await client.list_projects()), "project")
    except RefusedError:
        # Not every version lists projects.
        return show_count(len(await client.list_tags()), "tag")


def _find_tencent(settings: Settings) -> Mapping[str, str]:
    if url := settings.get("tencent.base_url"):
        return {"": check_base_url(url, service=im.SERVICE, example=im.REGIONS["china"])}
    return {"": im.base_url_of(settings.get("tencent.region") or "china")}


def _ask_tencent(settings: Settings, choices: Choices) -> Question:
    options = FetchOptions(timeout=_SECONDS, retries=0)
    client = tencent.open_client(settings, options, _ignore, service=choices.service, rate=str(im.RATE))

    async def ask() -> str:
        await client.get_tags([_NOBODY])
        return "a look-up was answered"

    return Question(client, ask)


def _ignore(_: Event) -> None:
    """Show nothing: the check-up says it all itself."""


CHECKUPS = (
    Checkup("growingio", "GrowingIO", saas.SERVICE, _find_saas, _ask_saas),
    Checkup("cdp", "GrowingIO CDP", cdp.SERVICE, _find_cdp, _ask_cdp),
    Checkup("tencent", "Tencent IM", im.SERVICE, _find_tencent, _ask_tencent, signs=True),
)
"""The services; a further one adds a line."""
