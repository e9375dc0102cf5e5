"""The lists of GrowingIO SaaS and of GrowingIO CDP."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tagferry.cli import growingio, growingio_cdp
from tagferry.cli.growingio import ProjectUid
from tagferry.cli.growingio_cdp import PROJECT
from tagferry.cli.listing import Work, run_list
from tagferry.cli.options import Call, ExportOptions, ListOptions
from tagferry.cli.words import read_text
from tagferry.events import Emit
from tagferry.services.growingio_cdp import SERVICE as CDP
from tagferry.services.growingio_saas import SERVICE as SAAS
from tagferry.settings import Settings

__all__ = [
    "list_cdp_projects",
    "list_cdp_segments",
    "list_cdp_tags",
    "list_segments",
    "list_variables",
]
AnyProject = Annotated[
    str | None, Parameter(name="--project", converter=read_text, metavar="ID", help=PROJECT)
]
Project = Annotated[str, Parameter(name="--project", converter=read_text, metavar="ID", help=PROJECT)]
Space = Annotated[
    str | None,
    Parameter(name="--space", converter=read_text, metavar="ID", help="The space of the project (4.x)."),
]


def list_segments(
    project_uid: ProjectUid,
    /,
    *,
    options: ListOptions = ListOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """List the segments of a project."""

    def plan(settings: Settings, on_event: Emit) -> Work:
        client = growingio.open_client(settings, _connect(options), on_event)
        return Work(client, lambda: client.list_segments(project_uid))

    return run_list(plan, options, invocation, service=SAAS)


def list_variables(
    project_uid: ProjectUid,
    /,
    *,
    options: ListOptions = ListOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """List the user variables of a project."""

    def plan(settings: Settings, on_event: Emit) -> Work:
        client = growingio.open_client(settings, _connect(options), on_event)
        return Work(client, lambda: client.list_variables(project_uid))

    return run_list(plan, options, invocation, service=SAAS)


def list_cdp_tags(
    *,
    project: AnyProject = None,
    space: Space = None,
    options: ListOptions = ListOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """List the tags of a space, of a project, or of all."""

    def plan(settings: Settings, on_event: Emit) -> Work:
        client = growingio_cdp.open_client(settings, _connect(options), on_event)
        return Work(client, lambda: client.list_tags(project=project, space=space))

    return run_list(plan, options, invocation, service=CDP)


def list_cdp_segments(
    *,
    project: Project,
    space: Space = None,
    options: ListOptions = ListOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """List the segments of a project or of a space."""

    def plan(settings: Settings, on_event: Emit) -> Work:
        client = growingio_cdp.open_client(settings, _connect(options), on_event)
        return Work(client, lambda: client.list_segments(project, space=space))

    return run_list(plan, options, invocation, service=CDP)


def list_cdp_projects(
    *,
    options: ListOptions = ListOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """List the projects."""

    def plan(settings: Settings, on_event: Emit) -> Work:
        client = growingio_cdp.open_client(settings, _connect(options), on_event)
        return Work(client, client.list_projects)

    return run_list(plan, options, invocation, service=CDP)


def _connect(options: ListOptions) -> ExportOptions:
    """Return what the options of a list say of the connection."""
    return ExportOptions(timeout=options.timeout, retries=options.retries)
