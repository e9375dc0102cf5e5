"""``tagferry list``: what can be exported, as a table, as lines, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from rich.console import Console

from tagferry.cli.config import resolve
from tagferry.cli.document import dump, failure_document
from tagferry.cli.insecure import warning_on
from tagferry.cli.logs import logging_to
from tagferry.cli.screen import Screen
from tagferry.cli.selection import keep_matching, match_hint
from tagferry.cli.stop import EXIT_CODES, Stop, run_async, stop_on_signals
from tagferry.cli.table import draw
from tagferry.cli.text import plain, show_count, show_seconds
from tagferry.deadline import within
from tagferry.errors import DeadlineError
from tagferry.events import Emit, Event, Retrying
from tagferry.services.growingio_listed import Listed
from tagferry.settings import Settings

if TYPE_CHECKING:
    from tagferry.cli.options import Invocation, ListOptions

__all__ = ["Work", "run_list", "show_lines", "show_table"]


class Work(NamedTuple):
    """A client, and what lists by it."""

    client: AbstractAsyncContextManager[Any]
    run: Callable[[], Awaitable[Sequence[Listed]]]


def run_list(
    plan: Callable[[Settings, Emit], Work], options: ListOptions, invocation: Invocation, *, service: str
) -> int:
    """Run a list as a command, and return the exit code.

    Args:
        plan: Makes the work from the settings; sends nothing.
        options: The options of the command.
        invocation: The command.
        service: The service that is asked, for errors.

    Raises:
        TagferryError: There is no list.
    """
    options.check()
    screen = Screen(invocation.redactor)
    settings = resolve(options, screen)
    work = plan(settings, warning_on(screen, lambda event: _tell(screen, event)))
    stop, items = Stop(), list[Listed]()

    async def run() -> None:
        nonlocal stop
        with stop_on_signals() as stop:
            async with work.client:
                items.extend(await _within(options.deadline, work, service))

    with logging_to(screen.console, options.log_level, screen.redactor):
        run_async(run)
    if stop.signal is not None:
        return _stopped(stop, options, screen)
    _give(items, options, screen)
    return 0


async def _within(deadline: float | None, work: Work, service: str) -> Iterable[Listed]:
    try:
        return await within(deadline, work.run, name="the list", service=service)
    except DeadlineError as error:
        # No part of a list is kept.
        error.hint = "run the same again with a longer deadline"
        raise


def _stopped(stop: Stop, options: ListOptions, screen: Screen) -> int:
    assert stop.signal is not None
    name = stop.signal.name
    if options.json:
        document = failure_document("Stopped", f"stopped by {name}", "run the same again", name, verb="list")
        screen.give([dump(document)])
    screen.say(f"tagferry: stopped by {name}")
    return EXIT_CODES[stop.signal]


def _give(items: Sequence[Listed], options: ListOptions, screen: Screen) -> None:
    chosen = keep_matching(items, options.match)
    terminal = sys.stdout.isatty()
    if options.json:
        facts = [msgspec.structs.asdict(one) for one in chosen]
        screen.give([dump({"v": 1, "outcome": "complete", "items": facts, "error": None})])
    elif options.quiet:
        screen.give(plain(one.key) for one in chosen)
    elif not terminal:
        screen.give(show_lines(chosen))
    elif chosen:
        screen.give(show_table(chosen, Console(file=sys.stdout).width))
    if not chosen and items and options.match is not None:
        count = show_count(len(items), "listed item")
        screen.say(f"nothing matches {plain(repr(options.match))} among {count}")
        screen.say(f"  next: {match_hint(options.match, 'without --match all are listed')}")
    elif not options.json and not options.quiet and (terminal or not chosen):
        more = f" of {len(items):,}" if len(chosen) < len(items) else ""
        screen.say(f"{len(chosen):,}{more} listed")


def show_lines(items: Sequence[Listed]) -> list[str]:
    """Return a line for each item, for programs: all columns, whole, with a TAB between."""
    return ["\t".join(map(_show, _columns(one).values())) for one in items]


def show_table(items: Sequence[Listed], room: int) -> list[str]:
    """Return a table for people: the columns that tell something, as wide as there is room."""
    rows = [_columns(one) for one in items]
    names = list(rows[0])[:-2]
    if all(row["state"] in {None, "FINISH"} for row in rows):
        names.remove("state")
    names = [name for name in names if name == "key" or any(row[name] is not None for row in rows)]
    first = "id" if all(one.key == one.id for one in items) else "key"
    header = [(first if name == "key" else name).upper() for name in names]
    texts = [[_show_short(name, row[name]) for name in names] for row in rows]
    return draw(header, texts, room, right=frozenset({names.index("users")} if "users" in names else ()))


def _columns(one: Listed) -> dict[str, str | int | None]:
    return {
        "key": one.key,
        "name": one.name,
        "type": one.type,
        "values": one.value_type,
        "users": one.count,
        "updated": one.updated,
        "state": one.state,
        "id": one.id,
        "description": one.description,
    }


def _show(value: str | int | None) -> str:
    return "" if value is None else plain(value)


def _show_short(name: str, value: str | int | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    # Of a time, the day is enough.
    return _show(value)[:10] if name == "updated" else _show(value)


def _tell(screen: Screen, event: Event) -> None:
    if isinstance(event, Retrying):
        screen.say(f"trying again in {show_seconds(event.delay)}: {plain(event.error.message)}")
