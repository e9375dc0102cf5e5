"""``tagferry fetch`` and ``tagferry retry``: look-ups of any service, to a file or a stream."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from tagferry.cli.config import resolve
from tagferry.cli.document import dump
from tagferry.cli.fetch_end import FetchEnd
from tagferry.cli.fetch_view import FetchView, open_fetch_view
from tagferry.cli.insecure import warning_on
from tagferry.cli.logs import logging_to
from tagferry.cli.outlet import Letters, Outlet, Patience
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.text import plain, show_count
from tagferry.errors import ConfigError, DeadlineError, TagferryError
from tagferry.events import Emit
from tagferry.lookups.outcome import FetchReport
from tagferry.settings import Settings

if TYPE_CHECKING:
    from tagferry.cli.options import FetchOptions, Invocation

__all__ = ["Plan", "Streams", "Work", "run_fetch"]


class Streams(NamedTuple):
    """Where a fetch writes whose output is standard output."""

    output: BinaryIO
    dead_letters: BinaryIO


class Work(NamedTuple):
    """A client, and what is done with it."""

    client: AbstractAsyncContextManager[Any]
    run: Callable[[], Awaitable[FetchReport]]


Plan = Callable[[Settings, Emit, Streams | None], Work]
"""Makes the work from the settings; the streams are there when the output is standard output."""


def run_fetch(plan: Plan, options: FetchOptions, invocation: Invocation, *, source: str = "") -> int:
    """Run a fetch as a command, and return the exit code.

    Args:
        plan: What is to be done.
        options: The options of the command.
        invocation: The command.
        source: Where the accounts come from, as the user named it.

    Raises:
        ConfigError: Something is wrong that shows before any request.
    """
    options.check()
    to_stream, from_stream = str(options.output) == "-", source == "-"
    if to_stream and options.json:
        raise ConfigError("--json and --output - both want standard output", hint="leave one of them out")
    screen = Screen(invocation.redactor, live=options.progress == "on")
    settings = resolve(options, screen)
    # What reads the stream, such as head, may write to the terminal that the view is drawn on.
    view = open_fetch_view(options.progress, quiet=options.quiet, console=screen.console, shared=to_stream)
    patience = Patience(options.deadline)
    streams = _open_streams(screen, view, patience) if to_stream else None
    work = plan(settings, warning_on(screen, view.take), streams)
    end = FetchEnd(invocation.argv, view, to_stream=to_stream, from_stream=from_stream)
    if from_stream and sys.stdin.isatty():
        screen.say("type accounts, one a line; Ctrl-D at the beginning of a line ends them")
    with logging_to(screen.console, options.log_level, screen.redactor), view:
        run_async(lambda: _run(work, patience, end))
    _tell(end, options, screen)
    return end.exit_code


def _open_streams(screen: Screen, view: FetchView, patience: Patience) -> Streams:
    # They are no streams of the library, but have what is asked of one here.
    output = Outlet(sys.stdout.buffer, patience)
    letters = Letters(screen, sys.stderr.buffer, live=view.is_live, patience=patience)
    return Streams(cast("BinaryIO", output), cast("BinaryIO", letters))


async def _run(work: Work, patience: Patience, end: FetchEnd) -> None:
    with stop_on_signals() as patience.stop:
        try:
            async with work.client:
                end.report = await work.run()
        except BrokenPipeError:
            end.is_unread = True
        except TagferryError as error:
            end.error = error
    if patience.is_cut and end.report is not None:
        # All was answered, but not all was written: it was stopped in its last moment.
        end.report = None
        if patience.stop.signal is None:
            end.error = DeadlineError("the output was not read within the deadline")
    is_open = end.report is None and end.error is None and not end.is_unread
    end.stopped = patience.stop.signal if is_open else None


def _tell(end: FetchEnd, options: FetchOptions, screen: Screen) -> None:
    report = end.report
    if options.json:
        screen.give([dump(end.document())])
    elif report is not None and report.output is not None:
        screen.give([str(report.output)] if options.quiet else [_show(report)])
    if end.error is not None:
        screen.fail_with(end.error)
    if not options.quiet:
        for line in end.tell():
            screen.say(line)
    for line in end.tell_next():
        screen.say(line)


def _show(report: FetchReport) -> str:
    if report.state == "skipped":
        return f"{plain(report.output)}: skipped, it is there already"
    return f"{plain(report.output)}  {show_count(report.tagged + report.missing, 'account')}"
