"""``tagferry demo``: the main job, end to end, against an emulator that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from cyclopts import Parameter

from tagferry.cli.export import ferry
from tagferry.cli.logs import logging_to
from tagferry.cli.options import TRANSFER, ExportOptions, Invocation, ViewOptions, read_path
from tagferry.cli.progress import View, open_view
from tagferry.cli.report import Report, dump
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.text import show_bytes
from tagferry.clients.growingio import GrowingIO
from tagferry.errors import UnavailableError
from tagferry.exports.export import Export

__all__ = ["demo"]

PROJECT = "demo0001"
# Names that look like the service's own ids, with the rows of each.
TAGS = {"vipvalue": 1_000_000, "citytier": 250_000, "lastseen": 90_000, "newusers": 1_000}
SEGMENTS = {"lapsed30": 300_000, "loyal365": 250_000, "bigspend": 40_000}
FAULTS = (
    # The pace of a real network, so that there is something to watch.
    "growingio-saas.download:vipvalue=drip@0 bytes=400000 every=0.05 x2",
    "growingio-saas.download:citytier=expired",
    "growingio-saas.download:citytier=drip@0 bytes=200000 every=0.1",
    "growingio-saas.download:loyal365=cut@2500000",
    "growingio-saas.download:loyal365=drip@0 bytes=50000 every=0.1",
    "growingio-saas.poll:lapsed30=status=503",
)
_INTRODUCTION = f"{len(TAGS | SEGMENTS)} exports from a service on this machine that fails on purpose:"
_START = 20.0
"""Seconds in which the emulator has to be there."""
_DEADLINE = 60.0


def demo(
    *,
    output: Annotated[
        Path | None,
        Parameter(
            converter=read_path, metavar="DIR", group=TRANSFER, help="Keep the files, in this directory."
        ),
    ] = None,
    options: ViewOptions = ViewOptions(),  # noqa: B008  # it is frozen
    invocation: Annotated[Invocation, Parameter(parse=False)],
) -> int:
    """Export tags and segments from a service that runs on this machine and fails on purpose."""
    options.check()
    screen = Screen(invocation.redactor, live=options.progress == "on")
    view = open_view(options.progress, quiet=options.quiet, console=screen.console)
    with _directory(output) as directory:
        if not options.quiet:
            screen.say(_INTRODUCTION)
        report = Report(())
        sources: dict[str, Any] = {}
        with logging_to(screen.console, options.log_level, screen.redactor):
            run_async(lambda: _run(report, sources, directory, view))
        return _tell(report, sources, options, screen, view, kept=output, argv=invocation.argv)


@contextmanager
def _directory(output: Path | None) -> Generator[Path]:
    if output is not None:
        yield output
    else:
        with tempfile.TemporaryDirectory(prefix="tagferry-demo-") as name:
            yield Path(name)


async def _run(report: Report, sources: dict[str, Any], directory: Path, view: View) -> None:
    options = ExportOptions(output=directory, if_exists="replace", deadline=_DEADLINE)
    with stop_on_signals() as stop:
        async with _emulator() as service:
            client = GrowingIO(token=service["token"], base_url=service["base_url"], on_event=view.take)
            report.exports = _exports(client)
            with view:
                await ferry(client, report, options, view)
            sources.update(await _ask_sources(service["admin"]))
    report.note_stop(stop.signal)


def _exports(client: GrowingIO) -> list[Export]:
    tags = [client.tag_users(PROJECT, name) for name in TAGS]
    return [*tags, *(client.segment_users(PROJECT, name) for name in SEGMENTS)]


@asynccontextmanager
async def _emulator() -> AsyncGenerator[dict[str, str]]:
    """Run an emulator in a process of its own; it ends with its standard input, whatever happens here."""
    rows = [f"--rows-of={name}={count}" for name, count in (TAGS | SEGMENTS).items()]
    faults = [f"--fault={fault}" for fault in FAULTS]
    # Its exports take a second.
    words = ["--until-eof", "--time-scale=0.1", "--job-seconds=10", "--parts-of=vipvalue=2", *rows, *faults]
    # -P: what lies in the working directory must not be imported; no signal for us must reach it.
    command = [sys.executable, "-P", "-m", "tagferry", "emulator", *words]
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(_START):
                line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 65536)
        except (TimeoutError, anyio.IncompleteRead, anyio.EndOfStream):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            hint = "run tagferry emulator to see why"
            raise UnavailableError("the emulator did not start", hint=hint) from None
        yield json.loads(line)


async def _ask_sources(admin: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{admin}/exports") as response:
        return {f"{one['kind']} {one['id']}": one["files"] for one in await response.json()}


def _tell(
    report: Report,
    sources: dict[str, Any],
    options: ViewOptions,
    screen: Screen,
    view: View,
    *,
    kept: Path | None,
    argv: tuple[str, ...],
) -> int:
    rows, equal = _compare(report, sources)
    if options.json:
        screen.give([dump(report.document(argv))])
    elif options.quiet:
        screen.give(str(file.path) for one in report.done for file in one.files)
    else:
        screen.give(_table(rows) if rows else ())
        for line in _conclude(report, view, kept, equal=equal):
            screen.say(line)
    for export, error in report.failed:
        if error is not None:
            screen.fail_with(error, f"{export.kind} {export.id}")
    return report.exit_code or (0 if equal else 8)


def _compare(report: Report, sources: dict[str, Any]) -> tuple[list[tuple[str, ...]], bool]:
    """Lay the saved files beside those that the emulator holds."""
    rows: list[tuple[str, ...]] = []
    equal = True
    for one in report.done:
        truth = sources.get(f"{one.export.kind} {one.export.id}", [])
        equal &= len(truth) == len(one.files)
        for file, source in zip(one.files, truth, strict=False):
            same = (file.sha256, file.size) == (source["sha256"], source["size"])
            equal &= same
            size = show_bytes(file.size)
            rows.append(
                (file.path.name, f"{source['rows']:,}", size, file.sha256[:10], "yes" if same else "NO")
            )
    return rows, equal


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    head = ("FILE", "ROWS", "SIZE", "SHA-256", "SAME")
    widths = [max(len(cells[column]) for cells in (head, *rows)) for column in range(len(head))]
    return ["  ".join(_align(cells, widths)).rstrip() for cells in (head, *rows)]


def _align(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    numbers = {1, 2}
    return [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _conclude(report: Report, view: View, kept: Path | None, *, equal: bool) -> Iterator[str]:
    if report.stopped is not None:
        yield f"tagferry: stopped by {report.stopped.name}"
    yield from _survived(view.board.counts)
    if not report.failed:
        yield "Every file is the same as at the service." if equal else "A file differs from the service's!"
    if kept is None:
        yield "The files are removed again; tagferry demo --output DIR keeps them."
    else:
        yield f"The files are in {kept}."
    if not report.failed:
        yield "Yours: set TAGFERRY_GROWINGIO_TOKEN, then tagferry export growingio-tag --help"


def _survived(counts: dict[str, int]) -> Iterator[str]:
    words = {
        "retried": "a request failed and was tried again",
        "renewed": "a link had expired and was renewed",
        "broken": "a transfer broke off",
    }
    found = [f"{text} ({counts[name]}×)" for name, text in words.items() if counts[name]]
    if found:
        yield "What went wrong on the way:"
        yield from (f"  - {line}" for line in found)
