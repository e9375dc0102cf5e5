"""``tagferry convert``: exported files made into tables."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagferry.cli.conversions import Conversions, Task, check_tasks, plan_tasks
from tagferry.cli.convert_view import ConvertView, open_convert_view
from tagferry.cli.document import dump
from tagferry.cli.logs import logging_to
from tagferry.cli.options import Call, ConvertOptions, Invocation
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.text import plain, show_bytes, show_count, show_seconds
from tagferry.cli.words import read_path
from tagferry.errors import ConfigError, RecordError, TagferryError
from tagferry.events import Emit
from tagferry.files.disk import disk_errors
from tagferry.files.thread import in_thread
from tagferry.rows.arrow import load
from tagferry.rows.convert import Converted
from tagferry.rows.convert import convert as convert_files

__all__ = ["convert"]

Convert = Callable[[Task], Awaitable[Converted]]


def convert(
    *file: Annotated[Path, Parameter(converter=read_path, help="CSV or JSON Lines, plain or gzip.")],
    options: ConvertOptions,
    invocation: Call,
) -> int:
    """Convert files."""
    options.check()
    if not file:
        raise ConfigError("no FILE is given", hint="name the files to convert")
    if options.spreadsheet_safe and options.to != "csv":
        raise ConfigError("--spreadsheet-safe is for --to csv", hint="leave it out")
    if options.to == "parquet":
        load()
    tasks = plan_tasks(file, options.to, options.output)
    check_tasks(tasks, options.if_exists)
    screen = Screen(invocation.redactor, live=options.progress == "on")
    run = Conversions(tasks)
    view = open_convert_view(options.progress, quiet=options.quiet, console=screen.console)
    work = functools.partial(_convert, options=options, on_event=view.take)
    with logging_to(screen.console, options.log_level, screen.redactor), view:
        run_async(lambda: _run(run, work, view))
    _tell(run, options, invocation, screen, view.clock() - view.started)
    return run.exit_code


async def _convert(task: Task, *, options: ConvertOptions, on_event: Emit) -> Converted:
    return await convert_files(
        task.sources,
        options.to,
        output=task.target,
        dialect=options.dialect,
        spreadsheet_safe=options.spreadsheet_safe,
        replace=options.if_exists == "replace",
        on_error="raise" if options.bad_records == "error" else "skip",
        on_event=on_event,
    )


async def _run(run: Conversions, work: Convert, view: ConvertView) -> None:
    left = [task for task in run.tasks if task.end is None]
    view.expect(left)
    with stop_on_signals() as stop:
        for task in left:
            view.begin(task)
            try:
                await in_thread(_make_directory, task.target.parent)
                run.settle(task, await work(task))
            except TagferryError as error:
                if isinstance(error, RecordError) and error.hint is None and (error.line or 0) > 1:
                    # Line 1 may be a header, which cannot be left out.
                    error.hint = "--bad-records skip leaves such records out"
                run.settle(task, error)
    run.note_stop(stop.signal)


def _make_directory(directory: Path) -> None:
    with disk_errors(directory, "make the directory"):
        directory.mkdir(parents=True, exist_ok=True)


def _tell(
    run: Conversions, options: ConvertOptions, invocation: Invocation, screen: Screen, seconds: float
) -> None:
    if options.json:
        screen.give([dump(run.document(invocation.argv))])
    elif options.quiet:
        screen.give(str(task.target) for task in run.done)
    else:
        screen.give(map(_show, run.done))
    for task, error in run.failures:
        screen.fail_with(error, str(task.sources[0]) if len(run.tasks) > 1 else "")
    bad = sum(task.end.skipped for task in run.done if isinstance(task.end, Converted))
    if bad:
        screen.warn(f"{show_count(bad, 'bad record')} left out")
    if not options.quiet:
        took = show_seconds(seconds)
        screen.say(f"{len(run.done)} of {show_count(len(run.tasks), 'output')} made, {took}")
    if run.stopped is not None:
        screen.say(f"tagferry: stopped by {run.stopped.name}; outputs that are whole are kept")
    if run.can_go_on:
        screen.say(f"  to go on: {run.command(invocation.argv)}")


def _show(task: Task) -> str:
    if not isinstance(task.end, Converted):
        return f"{plain(task.target)}: skipped, it is there already"
    return f"{plain(task.target)}  {show_bytes(task.end.size)}  {show_count(task.end.rows, 'row')}"
