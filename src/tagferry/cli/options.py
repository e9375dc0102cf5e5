"""The options of all verbs, each declared once.

They stand in one module: the annotations of inherited options are looked up where the last class stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from tagferry.cli.logs import Redactor
from tagferry.cli.words import (
    read_deadline,
    read_file,
    read_level,
    read_place,
    read_property,
    read_seconds,
    read_text,
    whole,
)
from tagferry.errors import ConfigError
from tagferry.exports.delivery import DEADLINE, IfExists
from tagferry.lookups.fetch import DEADLINE as FETCH_DEADLINE
from tagferry.rows.convert import Format
from tagferry.rows.dialect import DialectName

__all__ = [
    "CDPOptions",
    "Call",
    "ConvertOptions",
    "DoctorOptions",
    "Exists",
    "ExportOptions",
    "FetchOptions",
    "Invocation",
    "ListOptions",
    "LogLevel",
    "PrintOptions",
    "ProgressMode",
    "RetryOptions",
    "Seconds",
    "Selection",
    "SettingsOptions",
    "ViewOptions",
]

ProgressMode = Literal["auto", "on", "off", "log"]
LogLevel = Literal["debug", "info", "warning", "error"]

TRANSFER = Group("Transfer", sort_key=2)
OUTPUT = Group("Output", sort_key=3)
SETTINGS = Group("Settings", sort_key=4)


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the command was called, and what it must not print."""

    argv: tuple[str, ...]
    redactor: Redactor


Call = Annotated[Invocation, Parameter(parse=False)]
"""What a command gets that nobody types."""


def _show_duration(seconds: float) -> str:
    for length, unit in ((3600, "h"), (60, "m")):
        if seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


Exists = Annotated[
    IfExists, Parameter(group=TRANSFER, help="What to do about a finished file that is there.")
]
Seconds = Annotated[float, Parameter(converter=read_seconds, metavar="S", show_default=_show_duration)]


def _flag(help_: str, *names: str, group: Group = OUTPUT) -> Parameter:
    return Parameter(name=names or None, help=help_, group=group, negative="", show_default=False)


Json = Annotated[bool, _flag("Print one JSON document to standard output.")]
Level = Annotated[
    LogLevel, Parameter(converter=read_level, group=OUTPUT, help="How much the log on standard error tells.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PrintOptions:
    """What is printed."""

    json: Json = False
    quiet: Annotated[bool, _flag("Print only the paths of saved files.", "--quiet", "-q")] = False
    log_level: Level = "error"

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ConfigError: Both --json and --quiet are there.
        """
        if self.json and self.quiet:
            raise ConfigError("--json and --quiet exclude each other", hint="leave one of them out")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ViewOptions(PrintOptions):
    """What is printed, and how."""

    progress: Annotated[
        ProgressMode,
        Parameter(
            group=OUTPUT, help="A live view, lines, or nothing; auto is a view on a terminal, else lines."
        ),
    ] = "auto"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Where settings come from."""

    config: Annotated[
        str | None,
        Parameter(
            converter=read_text,
            metavar="FILE",
            group=SETTINGS,
            help="The config file. By default tagferry.toml here, else in your config directory.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        Parameter(
            converter=read_text, metavar="NAME", group=SETTINGS, help="The profile of the config file."
        ),
    ] = None


_NO_RESUME = Parameter(negative="", group=TRANSFER, help="Begin unfinished files anew.", show_default=False)
_RETRIES = Parameter(
    converter=whole(0, 1000, 8), metavar="N", group=TRANSFER, help="New tries in a row after a failure."
)
_TIMEOUT = Parameter(group=TRANSFER, help="How long one API request may take.")


def _concurrency(default: int, help_: str) -> Parameter:
    return Parameter(converter=whole(1, 10_000, default), metavar="N", group=TRANSFER, help=help_)


def _deadline(help_: str) -> Parameter:
    return Parameter(
        converter=read_deadline, metavar="S", show_default=_show_duration, group=TRANSFER, help=help_
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ListOptions(PrintOptions, SettingsOptions):
    """The options of every list."""

    match: Annotated[
        str | None,
        Parameter(
            converter=read_text,
            metavar="PATTERN",
            help="Only what has an id, key or name like 'vip*'; * is any text, ? any character.",
        ),
    ] = None
    quiet: Annotated[bool, _flag("Print only what an export takes, one a line.", "--quiet", "-q")] = False
    # Somebody waits in front of it.
    retries: Annotated[int, _RETRIES] = 3
    timeout: Annotated[Seconds, _TIMEOUT] = 30.0
    deadline: Annotated[float | None, _deadline("How long the whole list may take: 90, 30m, 2h or none.")] = (
        300.0
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Exports of what is listed, in place of ids."""

    everything: Annotated[
        bool, Parameter(name="--all", negative="", show_default=False, help="Export all that is listed.")
    ] = False
    match: Annotated[
        str | None,
        Parameter(
            converter=read_text,
            metavar="PATTERN",
            help="Of all, only what has an id, key or name like 'vip*'.",
        ),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DoctorOptions(SettingsOptions):
    """What a check-up needs beside the settings, and what it prints."""

    project_uid: Annotated[
        str | None,
        Parameter(
            converter=read_text,
            metavar="UID",
            help="A project of GrowingIO SaaS; without one its token cannot be checked.",
        ),
    ] = None
    json: Json = False
    log_level: Level = "error"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportOptions(ViewOptions, SettingsOptions):
    """The options of every export."""

    to: Annotated[
        Literal["parquet"] | None,
        Parameter(
            group=TRANSFER,
            help="Make a Parquet file of each export as well, beside its files, which are kept.",
        ),
    ] = None
    output: Annotated[
        Path,
        Parameter(
            converter=read_place,
            allow_leading_hyphen=True,
            metavar="DIR",
            group=TRANSFER,
            help="Where the files go.",
        ),
    ] = Path()
    if_exists: Exists = "error"
    no_resume: Annotated[bool, _NO_RESUME] = False
    concurrency: Annotated[int, _concurrency(8, "Downloads at once.")] = 8
    retries: Annotated[int, _RETRIES] = 8
    timeout: Annotated[Seconds, _TIMEOUT] = 30.0
    stall_timeout: Annotated[
        Seconds, Parameter(group=TRANSFER, help="How long a transfer may stand still.")
    ] = 30.0
    deadline: Annotated[
        float | None, _deadline("How long each export may take in all: 90, 30m, 2h or none.")
    ] = DEADLINE


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CDPOptions(ExportOptions):
    """What is exported of the users, and where they are."""

    property: Annotated[
        tuple[str, ...],
        Parameter(
            converter=read_property,
            metavar="KEY",
            show_default=False,
            negative="",
            group=TRANSFER,
            help="An identity, attribute or tag to export beside gio_id; may be given up to 60 times.",
        ),
    ] = ()
    file_format: Annotated[
        Literal["csv", "json"], Parameter(group=TRANSFER, help="json is a line of JSON for each user.")
    ] = "csv"
    csv_header: Annotated[
        Literal["key", "name"], Parameter(group=TRANSFER, help="What the header row of a CSV has.")
    ] = "key"
    no_resume: Annotated[
        bool,
        Parameter(
            negative="",
            group=TRANSFER,
            help="Begin unfinished files anew, and make other jobs for them.",
            show_default=False,
        ),
    ] = False
    space: Annotated[
        str | None, Parameter(converter=read_text, metavar="ID", group=TRANSFER, help="The space (4.x).")
    ] = None
    job: Annotated[
        str | None,
        Parameter(
            converter=read_text,
            metavar="ID",
            group=TRANSFER,
            help="Go on with a job that was submitted before, and make none; for a single key.",
        ),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ViewOptions):
    """What is made of the files."""

    to: Annotated[Format, Parameter(group=TRANSFER, help="The format to make.")]
    output: Annotated[
        Path | None,
        Parameter(
            converter=read_place,
            allow_leading_hyphen=True,
            metavar="PATH",
            group=TRANSFER,
            help="A name with an ending is one table of all files; any other is a directory for one of each"
            " export. By default they go beside the files.",
        ),
    ] = None
    if_exists: Annotated[
        IfExists, Parameter(group=TRANSFER, help="What to do about an output that is there.")
    ] = "error"
    bad_records: Annotated[
        Literal["error", "skip"],
        Parameter(group=TRANSFER, help="Whether a record that cannot be read is an error, or left out."),
    ] = "error"
    dialect: Annotated[
        DialectName,
        Parameter(
            group=TRANSFER,
            help="How a CSV file escapes: saas by a backslash, cdp by quotes alone (RFC 4180).",
        ),
    ] = "auto"
    spreadsheet_safe: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            group=OUTPUT,
            help="For csv: put an apostrophe before texts that a spreadsheet would run as a formula.",
        ),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FetchOptions(ViewOptions, SettingsOptions):
    """The options of every fetch, and of asking again for what failed in one."""

    output: Annotated[
        Path | None,
        Parameter(
            converter=read_file,
            allow_leading_hyphen=True,
            metavar="FILE",
            group=TRANSFER,
            help="NAME.jsonl, NAME.csv or NAME.parquet, by default named like the kind; - is standard output,"
            " with dead letters on standard error.",
        ),
    ] = None
    no_resume: Annotated[bool, _NO_RESUME] = False
    concurrency: Annotated[int, _concurrency(100, "Calls at once.")] = 100
    retries: Annotated[int, _RETRIES] = 8
    timeout: Annotated[Seconds, _TIMEOUT] = 10.0
    stall_timeout: Annotated[Seconds, Parameter(group=TRANSFER, help="How long a reply may stand still.")] = (
        30.0
    )
    deadline: Annotated[float | None, _deadline("How long the whole run may take: 90, 30m, 2h or none.")] = (
        FETCH_DEADLINE
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RetryOptions(FetchOptions):
    """The options of asking again for what failed: there is an output, and answers are merged into it."""

    output: Annotated[
        Path | None,
        Parameter(
            converter=read_file,
            allow_leading_hyphen=True,
            metavar="FILE",
            group=TRANSFER,
            help="The output that the dead letters came from, by default the one beside them.",
        ),
    ] = None
