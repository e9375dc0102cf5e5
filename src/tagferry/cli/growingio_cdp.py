"""The kinds of GrowingIO CDP."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tagferry.cli.export import run_exports
from tagferry.cli.options import TRANSFER, CDPOptions, ExportOptions, Invocation, read_text
from tagferry.clients.growingio_cdp import GrowingIOCDP
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.settings import Settings

__all__ = ["export_segment", "export_tag", "open_client"]


Call = Annotated[Invocation, Parameter(parse=False)]
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
    *tag_key: Annotated[str, Parameter(required=True, help="Keys of tags.")],
    project: Annotated[
        str | None, Parameter(converter=read_text, metavar="ID", group=TRANSFER, help=PROJECT)
    ] = None,
    options: CDPOptions = CDPOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of tags."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIOCDP, list[Export]]:
        client = open_client(settings, options, on_event)
        exports = [
            client.tag_users(
                key,
                properties=options.property,
                file_format=options.file_format,
                csv_header=options.csv_header,
                project=project,
                space=options.space,
            )
            for key in tag_key
        ]
        return client, _attach(client, exports, options.job)

    return run_exports(plan, options, invocation)


def export_segment(
    *segment_key: Annotated[str, Parameter(required=True, help="Keys of segments.")],
    project: Annotated[str, Parameter(converter=read_text, metavar="ID", group=TRANSFER, help=PROJECT)],
    options: CDPOptions = CDPOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export the users of segments."""

    def plan(settings: Settings, on_event: Emit) -> tuple[GrowingIOCDP, list[Export]]:
        client = open_client(settings, options, on_event)
        exports = [
            client.segment_users(
                key,
                project=project,
                properties=options.property,
                file_format=options.file_format,
                csv_header=options.csv_header,
                space=options.space,
            )
            for key in segment_key
        ]
        return client, _attach(client, exports, options.job)

    return run_exports(plan, options, invocation)


def _attach(client: GrowingIOCDP, exports: list[Export], job: str | None) -> list[Export]:
    if job is None:
        return exports
    if len(exports) != 1:
        msg = f"--job names one job, and there are {len(exports)} keys"
        raise ConfigError(msg, hint="give the one key that the job exports")
    return [client.attach(job, exports[0])]
