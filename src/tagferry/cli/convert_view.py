"""Shows conversions on standard error while they go on: a bar, or lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType

from tagferry.cli.pace import Pace
from tagferry.cli.showing import SUMMARY_SECONDS, Showing, choose, draw_bar, draw_line, make_live, stamped
from tagferry.cli.text import plain, show_bytes, show_seconds
from tagferry.events import ConvertProgress, Event

if TYPE_CHECKING:
    from tagferry.cli.conversions import Task
    from tagferry.cli.options import ProgressMode

__all__ = ["ConvertBar", "ConvertLines", "ConvertView", "open_convert_view"]


class ConvertView(Showing):
    """Gathers what happens and shows nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.total = 0
        """Bytes of the files of all outputs."""
        self.done = 0
        """Of these, those that are converted. A file that is read twice counts half each time."""
        self.what = ""
        """What is converted at present."""
        self._before = 0
        self._size = 0
        self._pace = Pace()

    def expect(self, tasks: Iterable[Task]) -> None:
        """Begin with these."""
        self.total = sum(task.size for task in tasks)
        self._pace.note(self.clock(), 0)

    def begin(self, task: Task) -> None:
        """Note that one begins, when the one before has ended; what failed of that is left out."""
        self.total -= self._before + self._size - self.done
        self._before, self._size = self.done, task.size
        more = f" and {len(task.sources) - 1} more" if len(task.sources) > 1 else ""
        self.what = plain(f"{task.sources[0]}{more} ({show_bytes(task.size)}) to {task.target}")
        self._move(0.0)

    def take(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, ConvertProgress):
            self._move(event.read / event.total)

    def eta(self) -> float | None:
        """Return the seconds that are left; None while nothing tells."""
        return self._pace.eta(self.clock(), self.done, self.total)

    def progress(self) -> str:
        """Return how far it is, in a few words."""
        text = f"{show_bytes(self.done)} of {show_bytes(self.total)}"
        rate = self._pace.rate(self.clock(), self.done)
        return f"{text} · {show_bytes(rate)}/s" if rate else text

    def _move(self, share: float) -> None:
        self.done = self._before + int(self._size * share)
        self._pace.note(self.clock(), self.done)


class ConvertLines(ConvertView):
    """Writes a line for each output, and now and then one that sums up."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._write = write
        self._last = self.started

    def begin(self, task: Task) -> None:
        """Write what begins."""
        super().begin(task)
        self._write(f"converting {self.what}")

    def take(self, event: Event) -> None:
        """Note an event."""
        super().take(event)
        now = self.clock()
        if now - self._last >= SUMMARY_SECONDS:
            self._last = now
            self._write(f"{self._sum_up()} · {show_seconds(now - self.started)} so far")

    def _sum_up(self) -> str:
        share = f"{100 * self.done // self.total}%" if self.total else ""
        left = "" if (eta := self.eta()) is None else f"about {show_seconds(eta)} left"
        return " · ".join(filter(None, [self.progress(), share, left]))


class ConvertBar(ConvertView):
    """Draws a bar that renews itself."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._live = make_live(self.draw, console)

    def draw(self) -> RenderableType:
        """Return the view as it is to be drawn now."""
        lines: list[RenderableType] = [
            draw_line(self.progress(), "bold"),
            draw_line(f"converting {self.what}"),
        ]
        if self.total:
            lines = [draw_bar(self.done, self.total, self.clock() - self.started, self.eta()), *lines]
        return Group(*lines)


def open_convert_view(mode: ProgressMode, *, quiet: bool, console: Console) -> ConvertView:
    """Return the view that suits the wish, and the place that standard error goes to."""
    match choose(mode, quiet=quiet):
        case "off":
            return ConvertView()
        case "on":
            return ConvertBar(console)
        case _:
            return ConvertLines(stamped(console))
