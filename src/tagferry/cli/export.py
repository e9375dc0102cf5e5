"""``tagferry export``: brings exports of any service to disk, and tells how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tagferry.cli.config import resolve
from tagferry.cli.document import dump
from tagferry.cli.insecure import warning_on
from tagferry.cli.logs import logging_to
from tagferry.cli.progress import View, open_view
from tagferry.cli.report import Report
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.text import plain, show_bytes, show_seconds
from tagferry.events import Emit
from tagferry.exports.export import Export
from tagferry.exports.many import download_all
from tagferry.exports.outcome import ExportDone
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
    async with (
        client,
        download_all(
            report.exports,
            options.output,
            concurrency=options.concurrency,
            deadline=options.deadline,
            if_exists=options.if_exists,
            resume=not options.no_resume,
        ) as outcomes,
    ):
        async for outcome in outcomes:
            report.settle(outcome)
            view.settle(outcome)


def _tell(report: Report, options: ExportOptions, invocation: Invocation, screen: Screen, view: View) -> None:
    if options.json:
        screen.give([dump(report.document(invocation.argv))])
    elif options.quiet:
        screen.give(str(file.path) for one in report.done for file in one.files)
    else:
        screen.give(line for one in report.done for line in _show(one))
    for export, error in report.failed:
        if error is not None:
            screen.fail_with(error, f"{export.kind} {export.id}")
    if not options.quiet:
        screen.say(_sum_up(report, view))
    if report.stopped is not None:
        screen.say(f"tagferry: stopped by {report.stopped.name}; what is on disk is kept")
    if report.can_go_on:
        screen.say(f"  to go on: {report.command(invocation.argv)}")


def _show(done: ExportDone) -> list[str]:
    name = plain(f"{done.export.kind} {done.export.id}")
    if not done.files:
        return [f"{name}: {done.state}, no users and so no file"]
    return [f"{plain(f.path)}  {show_bytes(f.size)}  sha256 {f.sha256}" for f in done.files]


def _sum_up(report: Report, view: View) -> str:
    took = show_seconds(view.clock() - view.started)
    size = show_bytes(sum(file.size for one in report.done for file in one.files))
    skipped = sum(one.state == "skipped" for one in report.done)
    more = f" ({skipped} already there)" if skipped else ""
    return f"{len(report.done)} of {len(report.exports)} exports done{more}, {size}, {took}"
