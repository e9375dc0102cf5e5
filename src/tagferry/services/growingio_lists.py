"""What can be exported from GrowingIO: the lists of segments, variables, tags and projects.

Sources: the pages "get-segm", "get-loginvar" and "get-visitorvar" of SaaS; "dc-search-user-tags",
"project-search-user-tags" and "project-search-segment-profiles" of the Open API of the CDP, with their space
forms of 4.1.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from tagferry.errors import ConfigError
from tagferry.services import growingio_cdp as cdp
from tagferry.services import growingio_saas as saas
from tagferry.services.growingio_listed import Listed, Listing, Page
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply, Request
from tagferry.wire.quota import Rate

__all__ = [
    "CDP_PROJECTS",
    "CDP_SEGMENTS",
    "CDP_TAGS",
    "PAGE_SIZE",
    "SEGMENTS",
    "SEGMENTS_RATE",
    "VARIABLES",
    "VARIABLES_RATE",
    "Listed",
    "Page",
    "Users",
    "ask_cdp_projects",
    "ask_cdp_segments",
    "ask_cdp_tags",
    "ask_segments",
    "ask_variables",
    "read_cdp_projects",
    "read_cdp_segments",
    "read_cdp_tags",
    "read_segments",
    "read_variables",
]

SEGMENTS = "growingio-segments"
VARIABLES = "growingio-variables"
CDP_TAGS = "growingio-cdp-tags"
CDP_SEGMENTS = "growingio-cdp-segments"
CDP_PROJECTS = "growingio-cdp-projects"
SEGMENTS_RATE = Rate(2)
"""Two calls a second (page "overview" of the statistics API)."""
VARIABLES_RATE = Rate(10)
"""Ten calls a second (page "overview" of project management)."""
PAGE_SIZE = 1000
"""The most that the CDP gives in one answer, and its default."""

Users = Literal["login", "visitor"]
"""Whose variables: users who logged in, or visitors."""

_UID = re.compile(r"[A-Za-z0-9]{1,64}")
_SAAS_HINTS = {
    401: saas.TOKEN_HINT,
    403: "the token may not read this project",
    404: "check the project UID: it stands in the console's address bar",
}
_CDP_HINTS = {
    400: "check the base URL, project and space; 2.9 to 2.11 and 4.x are supported",
    401: cdp.TOKEN_HINT,
    403: "the token's user may not see this; ask the administrator of the CDP",
    404: "check the base URL, project and space; 2.9 to 2.11 have no spaces",
    413: "a proxy before the CDP finds the request too long; ask its administrator",
    500: "check project and space, and that the token's user may see them; if all is right, try again later",
}
_SEGMENTS = Listing(service=saas.SERVICE, operation=SEGMENTS, kind=saas.SEGMENT, key="id", hints=_SAAS_HINTS)
_VARIABLES = Listing(
    service=saas.SERVICE, operation=VARIABLES, kind="growingio-variable", key="key", hints=_SAAS_HINTS
)


def _list_cdp(operation: str, kind: str, key: Literal["id", "key"]) -> Listing:
    return Listing(
        service=cdp.SERVICE,
        operation=operation,
        kind=kind,
        key=key,
        hints=_CDP_HINTS,
        denies=cdp.is_denial,
    )


_CDP_TAGS = _list_cdp(CDP_TAGS, cdp.TAG, "key")
_CDP_SEGMENTS = _list_cdp(CDP_SEGMENTS, cdp.SEGMENT, "key")
_CDP_PROJECTS = _list_cdp(CDP_PROJECTS, "growingio-cdp-project", "id")


def ask_segments(base_url: str, project_uid: str) -> Request:
    """Ask GrowingIO SaaS for the segments of a project.

    Raises:
        ConfigError: No project UID.
    """
    return _ask(SEGMENTS, f"{base_url}/projects/{_check_uid(project_uid)}/segmentations.json")


def read_segments(reply: Reply, *, now: float) -> Page:
    """Read the segments of a SaaS project; their type is ``"u"`` for visitors, ``"cs1"`` for logged-in users.

    Args:
        reply: The service's reply.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    return _SEGMENTS.read_all(reply, now)


def ask_variables(base_url: str, project_uid: str, users: Users) -> Request:
    """Ask GrowingIO SaaS for the user variables of a project, whose keys are the ``parameters`` of an export.

    Raises:
        ConfigError: No project UID.
    """
    last = "peoples" if users == "login" else "visitors"
    return _ask(VARIABLES, f"{base_url}/v1/api/projects/{_check_uid(project_uid)}/vars/{last}")


def read_variables(reply: Reply, users: Users, *, now: float) -> Page:
    """Read the user variables of a SaaS project.

    Args:
        reply: The service's reply.
        users: Whose variables were asked for; becomes their type.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    items = _VARIABLES.read_all(reply, now).items
    return Page(tuple(msgspec.structs.replace(one, type=users) for one in items))


def ask_cdp_tags(
    base_url: str, *, project: str | None = None, space: str | None = None, offset: int = 0
) -> Request:
    """Ask the CDP for a page of tags: of a space, of a project, or of all.

    Raises:
        ConfigError: Ids that cannot be ones, or a space without its project.
    """
    scope = cdp.scope_url(base_url, project, space)
    return _ask(CDP_TAGS, f"{scope}/user_tags?limit={PAGE_SIZE}&offset={offset}")


def read_cdp_tags(reply: Reply, *, offset: int = 0, now: float) -> Page:
    """Read a page of tags.

    Args:
        reply: The service's reply.
        offset: The offset that was asked for.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    return _CDP_TAGS.read_page(reply, offset, now)


def ask_cdp_segments(base_url: str, *, project: str, space: str | None = None, offset: int = 0) -> Request:
    """Ask the CDP for a page of the segments of a project or of a space.

    Raises:
        ConfigError: Ids that cannot be ones.
    """
    scope = cdp.scope_url(base_url, project, space)
    return _ask(CDP_SEGMENTS, f"{scope}/segment_profiles?limit={PAGE_SIZE}&offset={offset}")


def read_cdp_segments(reply: Reply, *, offset: int = 0, now: float) -> Page:
    """Read a page of segments; as `read_cdp_tags`."""
    return _CDP_SEGMENTS.read_page(reply, offset, now)


def ask_cdp_projects(base_url: str) -> Request:
    """Ask the CDP for its projects, as far as the token's user may see them."""
    return _ask(CDP_PROJECTS, f"{cdp.scope_url(base_url, None, None)}/projects")


def read_cdp_projects(reply: Reply, *, now: float) -> Page:
    """Read the projects of the CDP.

    Args:
        reply: The service's reply.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    return _CDP_PROJECTS.read_all(reply, now)


def _ask(operation: str, url: str) -> Request:
    return Request(operation=operation, method="GET", url=url)


def _check_uid(value: object) -> str:
    if isinstance(value, str) and _UID.fullmatch(value):
        return value
    msg = f"project UID {excerpt(repr(value))} is not made of 1 to 64 letters and digits"
    raise ConfigError(msg, service=saas.SERVICE, hint="copy it from the console's address bar, like nxog09md")
