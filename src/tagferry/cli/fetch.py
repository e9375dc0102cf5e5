"""``tagferry fetch`` and ``tagferry retry``: look-ups of any service, to a file or a stream."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tagferry.cli.config import resolve
from tagferry.cli.fetch_view import FetchView, open_fetch_view
from tagferry.cli.logs import logging_to
from tagferry.cli.report import PARTIAL, describe_error, dump, exit_code, goes_on
from tagferry.cli.screen import Screen
from tagferry.cli.stop import EXIT_CODES, run_async, stop_on_signals
from tagferry.cli.text import plain, show_seconds
from tagferry.errors import ConfigError, TagferryError
from tagferry.events import Emit
from tagferry.lookups.outcome import FetchReport
from tagferry.settings import Settings

if TYPE_CHECKING:
    from tagferry.cli.options import FetchOptions, Invocation

__all__ = ["Work", "run_fetch"]

Work = tuple[AbstractAsyncContextManager[Any], Callable[[], Awaitable[FetchReport]]]
"""A client, and what is done with it."""


_COUNTS = ("tagged", "missing", "failed", "requests", "throttled")


class _Run:
    """How a fetch ended."""

    def __init__(self) -> None:
        self.report: FetchReport | None = None
        self.error: TagferryError | None = None
        self.stopped: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        if self.report is None:
            if self.error is None:
                return EXIT_CODES[self.stopped] if self.stopped else 1
            return exit_code(self.error)
        if not self.report.failed:
            return 0
        # All dead letters and no answer: the service refused.
        return PARTIAL if self.report.tagged or self.report.missing else 7

    @property
    def outcome(self) -> str:
        return {0: "complete", PARTIAL: "partial"}.get(self.exit_code, "failed")


def run_fetch(plan: Callable[[Settings, Emit], Work], options: FetchOptions, invocation: Invocation) -> int:
    """Run a fetch as a command, and return the exit code.

    Raises:
        ConfigError: Something is wrong that shows before any request.
    """
    options.check()
    to_stream = str(options.output) == "-"
    if to_stream and options.json:
        raise ConfigError("--json and --output - both want standard output", hint="leave one of them out")
    screen = Screen(invocation.redactor, live=options.progress == "on")
    settings = resolve(options, screen)
    view = open_fetch_view(options.progress, quiet=options.quiet, console=screen.console)
    client, work = plan(settings, view.take)
    run = _Run()
    with logging_to(screen.console, options.log_level, screen.redactor), view:
        run_async(lambda: _run(client, work, run))
    _tell(run, view, options, invocation, screen)
    return run.exit_code


async def _run(
    client: AbstractAsyncContextManager[Any], work: Callable[[], Awaitable[FetchReport]], run: _Run
) -> None:
    with stop_on_signals() as stop:
        try:
            async with client:
                run.report = await work()
        except TagferryError as error:
            run.error = error
    run.stopped = stop.signal if run.report is None and run.error is None else None


def _tell(run: _Run, view: FetchView, options: FetchOptions, invocation: Invocation, screen: Screen) -> None:
    report = run.report
    if options.json:
        screen.give([dump(_document(run, view, invocation.argv))])
    elif report is not None and report.output is not None:
        screen.give([str(report.output)] if options.quiet else [_show(report)])
    if run.error is not None:
        screen.fail_with(run.error)
    if not options.quiet and (report or view.tally.plan):
        screen.say(_sum_up(report) if report else view.tally.sum_up(view.clock()))
    if report is not None and report.dead_letters is not None:
        kind = invocation.argv[1] if len(invocation.argv) > 1 else ""
        screen.say(f"  what failed: {plain(report.dead_letters)}")
        screen.say(f"  to ask again: {shlex.join(['tagferry', 'retry', kind, str(report.dead_letters)])}")
    if run.stopped is not None:
        screen.say(f"tagferry: stopped by {run.stopped.name}; what is on disk is kept")
    if run.stopped is not None or (run.error is not None and goes_on(run.error)):
        screen.say(f"  to go on: {_command(invocation.argv)}")


def _show(report: FetchReport) -> str:
    if report.state == "skipped":
        return f"{plain(report.output)}: skipped, it is there already"
    return f"{plain(report.output)}  {report.tagged + report.missing:,} accounts"


def _sum_up(report: FetchReport) -> str:
    if report.state == "skipped":
        return "nothing to do"
    counts = {"tagged": report.tagged, "missing": report.missing, "failed": report.failed}
    facts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    throttled = f" ({report.throttled:,} throttled)" if report.throttled else ""
    calls = f"{report.requests:,} requests{throttled}"
    rate = (report.distinct / report.seconds) if report.seconds else 0.0
    speed = f", {rate:,.0f} accounts/s" if rate else ""
    return f"{report.distinct:,} accounts: {facts}; {calls} in {show_seconds(report.seconds)}{speed}"


def _command(argv: Sequence[str]) -> str:
    words = [word for word in argv if word != "--no-resume"]
    command = shlex.join(["tagferry", *words])
    # What came through standard input is on disk by now, and does not come again.
    return f"{command} </dev/null" if "-" in words and not sys.stdin.isatty() else command


def _document(run: _Run, view: FetchView, argv: Sequence[str]) -> dict[str, Any]:
    report, latest, plan = run.report, view.tally.latest, view.tally.plan
    facts: dict[str, Any] = {"v": 1, "outcome": run.outcome}
    if report is not None:
        facts |= {name: getattr(report, name) for name in ("accounts", "distinct", *_COUNTS, "seconds")}
        facts["output"] = str(report.output)
        facts["dead_letters"] = None if report.dead_letters is None else str(report.dead_letters)
        facts["error"] = None
        return facts
    facts |= {"accounts": plan.accounts if plan else 0, "distinct": plan.distinct if plan else 0}
    facts |= {name: getattr(latest, name) if latest else 0 for name in _COUNTS}
    facts |= {"seconds": round(view.clock() - view.started, 3), "output": None, "dead_letters": None}
    facts["error"] = describe_error(run.error) if run.error else _stop(run, argv)
    return facts


def _stop(run: _Run, argv: Sequence[str]) -> dict[str, Any]:
    name = run.stopped.name if run.stopped else "SIGINT"
    hint = f"to go on, run: {_command(argv)}"
    return {"type": "Stopped", "code": name, "message": f"stopped by {name}", "hint": hint}
