"""The kinds of GrowingIO SaaS."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from tagferry.cli.export import Find, run_exports
from tagferry.cli.options import Call, ExportOptions, Selection
from tagferry.cli.selection import choose_exports
from tagferry.cli.words import whole
from tagferry.clients.growingio import GrowingIO
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.services.growingio_saas import MAX_EXPIRE
from tagferry.settings import Settings

__all__ = ["export_segment", "export_tag", "open_client"]


def read_keys(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Read keys with commas between them."""
    keys = tuple(key.strip() for key in tokens[0].value.split(","))
    if all(keys):
        return keys
    raise ValueError(f"{tokens[0].value!r} has an empty key; write open_id,role, for example")


ProjectUid = Annotated[str, Parameter(help="The project's UID, from the console's address bar.")]
ExpireMinutes = Annotated[
    int,
    Parameter(
        converter=whole(1, MAX_EXPIRE, 60),
        metavar="N",
        help="How long the download links live; they are renewed when they lapse.",
    ),
]


def open_client(settings: Settings, options: ExportOptions, on_event: Emit) -> GrowingIO:
    """Make a client as the user's settings and options say.

    Raises:
        ConfigError: A setting is missing or cannot work.
    """
    return GrowingIO(
        token=settings.need("growingio.token"),
        base_url=settings.need("growingio.base_url"),
        client_id=settings.get("growingio.client_id"),
        timeout=options.timeout,
        stall_timeout=options.stall_timeout,
        retries=options.retries,
        on_event=on_event,
    )


def export_tag(
    project_uid: ProjectUid,
    /,
    *tag_id: Annotated[str, Parameter(help="Ids of tags, from the console's address bar.")],
    expire_minutes: ExpireMinutes = 60,
    selection: Annotated[Selection, Parameter(show=False)] = Selection(),  # noqa: B008  # it is frozen
    options: ExportOptions = ExportOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of tags."""
    if selection != Selection():
        message = "GrowingIO SaaS has no list of tags, so --all and --match cannot be had for growingio-tag"
        raise ConfigError(message, hint="copy ids of tags from the console's address bar")
    if not tag_id:
        hint = "copy ids of tags from the console's address bar; run tagferry export growingio-tag --help"
        raise ConfigError("no TAG_ID is given", hint=hint)

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIO, list[Export]]:
        client = open_client(settings, options, on_event)
        return client, [client.tag_users(project_uid, one, expire_minutes=expire_minutes) for one in tag_id]

    return run_exports(plan, options, invocation)


def export_segment(
    project_uid: ProjectUid,
    /,
    *segmentation_id: Annotated[str, Parameter(help="Ids of segments, unless --all is there.")],
    expire_minutes: ExpireMinutes = 60,
    parameters: Annotated[
        tuple[str, ...],
        Parameter(
            converter=read_keys,
            n_tokens=1,
            metavar="KEY,KEY",
            negative="",
            show_default=False,
            help="Keys of user variables to export as well.",
        ),
    ] = (),
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    options: ExportOptions = ExportOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of segments."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIO, list[Export] | Find]:
        client = open_client(settings, options, on_event)

        def describe(segment: str) -> Export:
            return client.segment_users(
                project_uid, segment, expire_minutes=expire_minutes, parameters=parameters
            )

        exports = choose_exports(
            segmentation_id,
            selection,
            describe,
            lambda: client.list_segments(project_uid),
            metavar="SEGMENTATION_ID",
            listing=shlex.join(["tagferry", "list", "growingio-segments", project_uid]),
        )
        return client, exports

    return run_exports(plan, options, invocation)
