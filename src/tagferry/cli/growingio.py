"""The kinds of GrowingIO SaaS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from tagferry.cli.export import run_exports
from tagferry.cli.options import ExportOptions, Invocation, whole
from tagferry.clients.growingio import GrowingIO
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
Call = Annotated[Invocation, Parameter(parse=False)]


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
    *tag_id: Annotated[str, Parameter(required=True, help="Ids of tags, from the console's address bar.")],
    expire_minutes: ExpireMinutes = 60,
    options: ExportOptions = ExportOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of tags."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIO, list[Export]]:
        client = open_client(settings, options, on_event)
        return client, [client.tag_users(project_uid, one, expire_minutes=expire_minutes) for one in tag_id]

    return run_exports(plan, options, invocation)


def export_segment(
    project_uid: ProjectUid,
    /,
    *segmentation_id: Annotated[str, Parameter(required=True, help="Ids of segments.")],
    expire_minutes: ExpireMinutes = 60,
    parameters: Annotated[
        tuple[str, ...],
        Parameter(
            converter=read_keys,
            n_tokens=1,
            metavar="KEY,KEY",
            help="Keys of user variables to export as well.",
        ),
    ] = (),
    options: ExportOptions = ExportOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of segments."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIO, list[Export]]:
        client = open_client(settings, options, on_event)
        exports = [
            client.segment_users(project_uid, one, expire_minutes=expire_minutes, parameters=parameters)
            for one in segmentation_id
        ]
        return client, exports

    return run_exports(plan, options, invocation)
