"""The kinds of GrowingIO CDP."""

from __future__ import annotations

import shlex
from typing import Annotated

from cyclopts import Parameter

from tagferry.cli.export import Find, run_exports
from tagferry.cli.options import TRANSFER, Call, CDPOptions, ExportOptions, Selection
from tagferry.cli.selection import choose_exports
from tagferry.cli.words import read_text
from tagferry.clients.growingio_cdp import GrowingIOCDP
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.settings import Settings

__all__ = ["export_segment", "export_tag", "open_client"]


PROJECT = "The project's id; tagferry list growingio-cdp-projects shows all."


def open_client(settings: Settings, options: ExportOptions, on_event: Emit) -> GrowingIOCDP:
    """Make a client as the user's settings and options say.

    Raises:
        ConfigError: A setting is missing or cannot work.
    """
    return GrowingIOCDP(
        base_url=settings.need("cdp.base_url"),
        token=settings.need("cdp.token"),
        download_url=settings.get("cdp.download_url"),
        timeout=options.timeout,
        stall_timeout=options.stall_timeout,
        retries=options.retries,
        on_event=on_event,
    )


def export_tag(
    *tag_key: Annotated[str, Parameter(help="Keys of tags, unless --all is there.")],
    project: Annotated[
        str | None, Parameter(converter=read_text, metavar="ID", group=TRANSFER, help=PROJECT)
    ] = None,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    options: CDPOptions = CDPOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of tags."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIOCDP, list[Export] | Find]:
        client = open_client(settings, options, on_event)

        def describe(key: str) -> Export:
            return client.tag_users(
                key,
                properties=options.property,
                file_format=options.file_format,
                csv_header=options.csv_header,
                project=project,
                space=options.space,
            )

        # Whatever is listed: the rest has to be right before anything is asked.
        describe("tag_key")
        exports = choose_exports(
            tag_key,
            selection,
            describe,
            lambda: client.list_tags(project=project, space=options.space),
            metavar="TAG_KEY",
            listing="tagferry list growingio-cdp-tags",
        )
        return client, _attach(client, exports, options.job)

    return run_exports(plan, options, invocation)


def export_segment(
    *segment_key: Annotated[str, Parameter(help="Keys of segments, unless --all is there.")],
    project: Annotated[str, Parameter(converter=read_text, metavar="ID", group=TRANSFER, help=PROJECT)],
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    options: CDPOptions = CDPOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of segments."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIOCDP, list[Export] | Find]:
        client = open_client(settings, options, on_event)

        def describe(key: str) -> Export:
            return client.segment_users(
                key,
                project=project,
                properties=options.property,
                file_format=options.file_format,
                csv_header=options.csv_header,
                space=options.space,
            )

        # Whatever is listed: the rest has to be right before anything is asked.
        describe("segment_key")
        exports = choose_exports(
            segment_key,
            selection,
            describe,
            lambda: client.list_segments(project, space=options.space),
            metavar="SEGMENT_KEY",
            listing=shlex.join(["tagferry", "list", "growingio-cdp-segments", "--project", project]),
        )
        return client, _attach(client, exports, options.job)

    return run_exports(plan, options, invocation)


def _attach(client: GrowingIOCDP, exports: list[Export] | Find, job: str | None) -> list[Export] | Find:
    if job is None:
        return exports
    if callable(exports) or len(exports) != 1:
        msg = "--job names one job, and there is more than one key"
        raise ConfigError(msg, hint="give the one key that the job exports")
    return [client.attach(job, exports[0])]
