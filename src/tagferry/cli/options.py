"""The options that verbs share, each declared once, and how their texts become values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from tagferry.cli.logs import Redactor
from tagferry.errors import ConfigError
from tagferry.exports.delivery import DEADLINE, IfExists
from tagferry.lookups.fetch import DEADLINE as FETCH_DEADLINE
from tagferry.rows.convert import Format
from tagferry.rows.dialect import DialectName

__all__ = [
    "CDPOptions",
    "ConvertOptions",
    "Count",
    "DoctorOptions",
    "ExportOptions",
    "FetchOptions",
    "Invocation",
    "ListOptions",
    "LogLevel",
    "PrintOptions",
    "ProgressMode",
    "Seconds",
    "Selection",
    "SettingsOptions",
    "ViewOptions",
]

ProgressMode = Literal["auto", "on", "off", "log"]
LogLevel = Literal["debug", "info", "warning", "error"]
Converter = Callable[[Any, Sequence[Token]], Any]

TRANSFER = Group("Transfer", sort_key=2)
OUTPUT = Group("Output", sort_key=3)
SETTINGS = Group("Settings", sort_key=4)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the command was called, and what it must not print."""

    argv: tuple[str, ...]
    redactor: Redactor


def whole(least: int, most: int, example: int) -> Converter:
    """Return a converter of whole numbers within bounds."""

    def convert(_: object, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        # Short enough for int(), which is slow on long digits.
        if text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"{text!r} is no whole number from {least} to {most}; write {example}, for example")

    return convert


def number(least: float, example: str) -> Converter:
    """Return a converter of finite numbers that are not below a bound."""

    def convert(_: object, tokens: Sequence[Token]) -> float:
        text = tokens[0].value
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value >= least:
            return value
        raise ValueError(f"{text!r} is no number of {least:g} or more; write {example}, for example")

    return convert


def read_seconds(_: object, tokens: Sequence[Token]) -> float:
    """Read a duration: seconds, or a number with the unit s, m or h."""
    text = tokens[0].value
    try:
        value = float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value > 0:
        return value
    raise ValueError(f"{text!r} is no duration above 0; write 90, 90s, 30m or 2h, for example")


def read_deadline(type_: object, tokens: Sequence[Token]) -> float | None:
    """Read a duration, or the word ``none``."""
    return None if tokens[0].value == "none" else read_seconds(type_, tokens)


def read_level(_: object, tokens: Sequence[Token]) -> str:
    """Read a log level in any case."""
    levels = ("debug", "info", "warning", "error")
    text = tokens[0].value
    if text.lower() in levels:
        return text.lower()
    raise ValueError(f"{text!r} is no log level; choose from {', '.join(levels)}")


def read_text(_: object, tokens: Sequence[Token]) -> str:
    """Read a text that is not empty."""
    if tokens[0].value.strip():
        return tokens[0].value
    raise ValueError("the value is empty; leave the option out, or write a value behind it")


def read_input(_: object, tokens: Sequence[Token]) -> str:
    """Read the name of a file, or ``-`` for a standard stream; what looks like an option is a mistake."""
    text = read_text(_, tokens)
    if text.startswith("-") and text != "-":
        raise ValueError(f"there is no option {text}; for a file of that name, write ./{text}")
    return text


def read_file(_: object, tokens: Sequence[Token]) -> Path:
    """Read a path, or ``-`` for a standard stream."""
    return Path(read_input(_, tokens)).expanduser()


def read_path(_: object, tokens: Sequence[Token]) -> Path:
    """Read a path that is not empty; ``~`` is the home directory, as the shell has it."""
    return Path(read_text(_, tokens)).expanduser()


def read_property(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Read the keys of properties, one for each time the option is there."""
    return tuple(read_text(_, [token]) for token in tokens)


def _show_duration(seconds: float) -> str:
    return f"{seconds / 3600:g}h" if seconds % 3600 == 0 else f"{seconds:g}"


Count = Annotated[int, Parameter(converter=whole(1, 10_000, 8), metavar="N")]
Seconds = Annotated[float, Parameter(converter=read_seconds, metavar="S", show_default=_show_duration)]


def _flag(help_: str, *names: str, group: Group = OUTPUT) -> Parameter:
    return Parameter(name=names or None, help=help_, group=group, negative="", show_default=False)


Json = Annotated[bool, _flag("Print one JSON document to standard output.")]
Level = Annotated[
    LogLevel, Parameter(converter=read_level, group=OUTPUT, help="What the log on standard error tells.")
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
_TIMEOUT = Parameter(group=TRANSFER, help="Seconds for one API request.")


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
    deadline: Annotated[float | None, _deadline("Seconds for the whole list, or 30m, 2h, none.")] = 300.0


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
        Path, Parameter(converter=read_path, metavar="DIR", group=TRANSFER, help="Where the files go.")
    ] = Path()
    if_exists: Annotated[
        IfExists, Parameter(group=TRANSFER, help="What to do about a finished file that is there.")
    ] = "error"
    no_resume: Annotated[bool, _NO_RESUME] = False
    concurrency: Annotated[Count, Parameter(group=TRANSFER, help="Downloads at once.")] = 8
    retries: Annotated[int, _RETRIES] = 8
    timeout: Annotated[Seconds, _TIMEOUT] = 30.0
    stall_timeout: Annotated[
        Seconds, Parameter(group=TRANSFER, help="Seconds in which a transfer must bring some bytes.")
    ] = 30.0
    deadline: Annotated[float | None, _deadline("Seconds for each export in all, or 30m, 2h, none.")] = (
        DEADLINE
    )


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
            converter=read_path,
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
    if_exists: Annotated[
        IfExists, Parameter(group=TRANSFER, help="What to do about a finished file that is there.")
    ] = "error"
    no_resume: Annotated[bool, _NO_RESUME] = False
    concurrency: Annotated[Count, Parameter(group=TRANSFER, help="Calls at once.")] = 100
    retries: Annotated[int, _RETRIES] = 8
    timeout: Annotated[Seconds, _TIMEOUT] = 10.0
    stall_timeout: Annotated[
        Seconds, Parameter(group=TRANSFER, help="Seconds in which a reply must bring some bytes.")
    ] = 30.0
    deadline: Annotated[float | None, _deadline("Seconds for the whole run, or 30m, 2h, none.")] = (
        FETCH_DEADLINE
    )
