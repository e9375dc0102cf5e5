"""Shows exports on standard error while it goes on: a live view, or lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tagferry.cli.board import Board, Line
from tagferry.cli.showing import SUMMARY_SECONDS, Showing, choose, draw_line, make_live, stamped
from tagferry.cli.text import plain, show_bytes, show_seconds
from tagferry.events import Attached, Event, Polled, Progress, Submitted
from tagferry.exports.outcome import ExportFailed, Outcome

if TYPE_CHECKING:
    from tagferry.cli.options import ProgressMode
    from tagferry.exports.export import Export

__all__ = ["LineView", "LiveView", "View", "open_view"]

_NEWS_SECONDS = 4.0
MANY = 20
"""With more exports than this, lines tell the trouble only."""
_STYLES = {"done": "green", "failed": "red", "downloading": "cyan", "empty": "green", "skipped": "green"}
_BAR = 12
_SIZE = 15
_JUSTIFY: tuple[JustifyMethod, ...] = ("left", "left", "right", "left")


class View(Showing):
    """Gathers what happens and shows nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.board = Board()

    def expect(self, exports: Iterable[Export]) -> None:
        """Begin with these exports."""
        self.board.expect(exports)

    def take(self, event: Event) -> None:
        """Note an event."""
        if news := self.board.take(event, self.clock()):
            self.tell(news, trouble=not isinstance(event, (Polled, Progress, Submitted, Attached)))

    def settle(self, outcome: Outcome) -> None:
        """Note how an export ended."""
        self.tell(self.board.settle(outcome), trouble=isinstance(outcome, ExportFailed))

    def tell(self, news: str, *, trouble: bool) -> None:
        """Show one piece of news."""

    def sum_up(self) -> str:
        """Return the state of the whole run in one line."""
        now = self.clock()
        board = self.board
        counts = ", ".join(f"{count} {state}" for state, count in board.tally().items())
        facts = [counts, show_bytes(board.bytes)] if board.bytes else [counts]
        if rate := board.rate(now):
            facts.append(f"{show_bytes(rate)}/s")
        if board.open_lines() and (eta := board.eta(now)) is not None:
            facts.append(f"about {show_seconds(eta)} left")
        return " · ".join([*facts, f"{show_seconds(now - self.started)} so far"])


class LineView(View):
    """Writes a line for each change, and now and then one that sums up."""

    def __init__(
        self, write: Callable[[str], object], *, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._write = write
        self._every = every
        self._last = self.started

    def take(self, event: Event) -> None:
        """Note an event."""
        super().take(event)
        if self.clock() - self._last >= self._every:
            self._last = self.clock()
            self._write(self.sum_up())

    def tell(self, news: str, *, trouble: bool) -> None:
        """Write a line."""
        if trouble or len(self.board.lines) <= MANY:
            self._write(news)


class LiveView(View):
    """Draws a table that renews itself."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._live = make_live(self.draw, console)

    def draw(self) -> RenderableType:
        """Return the view as it is to be drawn now."""
        lines = list(self.board.lines.values())
        room = max(2, self._console.size.height - 5)
        shown = lines if len(lines) <= room else self.board.ranked()[: room - 1]
        table = Table.grid(padding=(0, 1, 0, 0))
        most = max(12, self._console.size.width // 3 + 1)
        names = _name_all(lines, most)
        widths = self._widths(min(max(map(cell_len, names.values()), default=0), most))
        for width, justify in zip(widths, _JUSTIFY, strict=True):
            table.add_column(no_wrap=True, overflow="ellipsis", width=width, justify=justify)
        for line in shown:
            name = _cut(names[line.kind, line.id], widths[0])
            table.add_row(Text(name), *_cells(line, self.clock()))
        hidden = len(lines) - len(shown)
        more = [Text(f"… and {hidden} more")] if hidden else []
        if (news := self.board.news) and self.clock() - news[0] < _NEWS_SECONDS:
            more.append(draw_line(news[1], "yellow"))
        return Group(table, *more, draw_line(self.sum_up(), "bold"))

    def _widths(self, name: int) -> tuple[int, ...]:
        # What is left is for notes; rich would take room from all columns alike.
        return name, _BAR, _SIZE, max(1, self._console.size.width - name - _BAR - _SIZE - 4)


def _name_all(lines: Iterable[Line], room: int) -> dict[tuple[str, str], str]:
    """Return what each export is called; without a kind that is the same for all and finds no room."""
    names = {(line.kind, line.id): line.name for line in lines}
    if len({kind for kind, _ in names}) > 1 or all(cell_len(name) <= room for name in names.values()):
        return names
    return {key: plain(key[1]) for key in names}


def _cells(line: Line, now: float) -> tuple[RenderableType, ...]:
    middle: RenderableType = Text(line.state, style=_STYLES.get(line.state, ""))
    if line.state == "downloading" and line.expected:
        middle = ProgressBar(total=line.expected, completed=min(line.bytes, line.expected), width=_BAR)
    return middle, Text(_sizes(line)), _note(line, now)


def _cut(name: str, width: int) -> str:
    """Cut a name at its beginning: what tells one export from the other stands at the end."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _note(line: Line, now: float) -> Text:
    if line.state == "failed":
        return Text(line.note, style="red")
    trouble = ", ".join(dict.fromkeys(line.troubles))
    if line.state == "polling" and not trouble and line.due is not None:
        return Text(f"asked {line.polls}×, next in {max(0.0, line.due - now):.0f} s", style="dim")
    if line.state == "downloading" and line.parts > 1 and not trouble:
        return Text(f"part {line.part} of {line.parts}", style="dim")
    return Text(trouble, style="yellow")


def _sizes(line: Line) -> str:
    if not line.received:
        return ""
    percent = f"{min(99, 100 * line.bytes / line.expected):.0f}% " if line.expected else ""
    return ("" if line.settled else percent) + show_bytes(line.bytes)


def open_view(mode: ProgressMode, *, quiet: bool, console: Console) -> View:
    """Return the view that suits the wish, and the place that standard error goes to."""
    match choose(mode, quiet=quiet):
        case "off":
            return View()
        case "on":
            return LiveView(console)
        case _:
            return LineView(stamped(console), every=SUMMARY_SECONDS)
