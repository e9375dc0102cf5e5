"""``tagferry export``: brings exports of any service to disk, and tells how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagferry.cli.config import resolve
from tagferry.cli.document import dump
from tagferry.cli.insecure import warning_on
from tagferry.cli.logs import logging_to
from tagferry.cli.progress import View, open_view
from tagferry.cli.report import Report
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.tables import Tables
from tagferry.cli.text import plain, show_bytes, show_count, show_seconds
from tagferry.errors import TagferryError
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.exports.many import download_all
from tagferry.exports.outcome import ExportDone, ExportFailed, Outcome
from tagferry.rows.arrow import load
from tagferry.rows.convert import Converted
from tagferry.settings import Settings

if TYPE_CHECKING:
    from tagferry.cli.options import ExportOptions, Invocation

__all__ = ["Find", "Plan", "ferry", "run_exports"]

Find = Callable[[], Awaitable[list[Export]]]
"""Asks the open client which exports there are."""
Plan = Callable[[Settings, Emit], tuple[AbstractAsyncContextManager[Any], list[Export] | Find]]
"""Makes a client and its exports from the settings, or what finds them; sends nothing."""


def run_exports(plan: Plan, options: ExportOptions, invocation: Invocation) -> int:
    """Run exports as a command, and return the exit code.

    Raises:
        ConfigError: Something is wrong that shows before any request.
    """
    options.check()
    if options.to is not None:
        load()
    screen = Screen(invocation.redactor, live=options.progress == "on")
    settings = resolve(options, screen)
    view = open_view(options.progress, quiet=options.quiet, console=screen.console)
    client, exports = plan(settings, warning_on(screen, view.take))
    find = exports if callable(exports) else None
    report = Report([] if callable(exports) else exports)
    with logging_to(screen.console, options.log_level, screen.redactor), view:
        run_async(lambda: _run(client, find, report, options, view))
    _tell(report, options, invocation, screen, view)
    return report.exit_code


async def _run(
    client: AbstractAsyncContextManager[Any],
    find: Find | None,
    report: Report,
    options: ExportOptions,
    view: View,
) -> None:
    with stop_on_signals() as stop:
        if find is not None:
            async with client:
                report.exports = await find()
        await ferry(client, report, options, view)
    report.note_stop(stop.signal)


async def ferry(
    client: AbstractAsyncContextManager[Any], report: Report, options: ExportOptions, view: View
) -> None:
    """Bring the exports of a report to disk, and note how each ended."""
    view.expect(report.exports)
    tables = Tables(options.output, options.if_exists, view.take) if options.to is not None else None
    kept = {} if tables is None else await tables.find(report.exports)
    for export, table in kept.items():
        _settle(ExportDone(export, (), "skipped"), report, view, table)
    async with (
        client,
        download_all(
            [export for export in report.exports if export not in kept],
            options.output,
            concurrency=options.concurrency,
            deadline=options.deadline,
            if_exists=options.if_exists,
            resume=not options.no_resume,
        ) as outcomes,
    ):
        async for outcome in outcomes:
            await _finish(outcome, report, view, tables)


async def _finish(outcome: Outcome, report: Report, view: View, tables: Tables | None) -> None:
    """Note how an export ended, when the table of it is made too."""
    table: Converted | None = None
    if tables is not None and isinstance(outcome, ExportDone):
        report.has_files |= bool(outcome.files)
        try:
            table = await tables.make(outcome)
        except TagferryError as error:
            outcome = ExportFailed(outcome.export, error)
    _settle(outcome, report, view, table)


def _settle(outcome: Outcome, report: Report, view: View, table: Converted | None) -> None:
    report.settle(outcome, table)
    view.settle(outcome)


def _tell(report: Report, options: ExportOptions, invocation: Invocation, screen: Screen, view: View) -> None:
    if options.json:
        screen.give([dump(report.document(invocation.argv))])
    elif options.quiet:
        screen.give(str(path) for one in report.done for path in _paths(one, report.table(one.export)))
    else:
        screen.give(line for one in report.done for line in _show(one, report.table(one.export)))
    for export, error in report.failed:
        if error is not None:
            screen.fail_with(error, f"{export.kind} {export.id}")
    if not options.quiet:
        screen.say(_sum_up(report, view))
    if report.stopped is not None:
        screen.say(f"tagferry: stopped by {report.stopped.name}; what is on disk is kept")
    if report.can_go_on:
        screen.say(f"  to go on: {report.command(invocation.argv)}")


def _paths(done: ExportDone, table: Converted | None) -> list[Path]:
    return [file.path for file in done.files] if table is None else [table.path]


def _show(done: ExportDone, table: Converted | None) -> list[str]:
    name = plain(f"{done.export.kind} {done.export.id}")
    if not done.files and table is None:
        return [f"{name}: {done.state}, no users and so no file"]
    lines = [
        line
        for file in done.files
        for line in (f"{plain(file.path)}  {show_bytes(file.size)}", f"  sha256 {file.sha256}")
    ]
    if table is not None:
        lines.append(f"{plain(table.path)}  {show_bytes(table.size)}  {show_count(table.rows, 'row')}")
    return lines


def _sum_up(report: Report, view: View) -> str:
    took = show_seconds(view.clock() - view.started)
    size = show_bytes(view.board.bytes)
    skipped = sum(one.state == "skipped" for one in report.done)
    more = f" ({skipped} already there)" if skipped else ""
    total = show_count(len(report.exports), "export")
    return f"{len(report.done)} of {total} done{more}, {size} on disk, {took}"
