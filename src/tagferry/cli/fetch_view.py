"""Shows a fetch on standard error while it goes on: a bar, or lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType

from tagferry.cli.showing import SUMMARY_SECONDS, Showing, choose, draw_bar, draw_line, make_live, stamped
from tagferry.cli.tally import FetchTally
from tagferry.cli.text import show_seconds
from tagferry.events import Event, FetchPlanned, Retrying

if TYPE_CHECKING:
    from tagferry.cli.options import ProgressMode

__all__ = ["FetchBar", "FetchLines", "FetchView", "open_fetch_view"]

_NEWS_SECONDS = 4.0
_NEWS_TOLD = 5
"""Lines of news between two summaries; a service that is down would fill the log."""


class FetchView(Showing):
    """Gathers what happens and shows nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.tally = FetchTally()

    def take(self, event: Event) -> None:
        """Note an event."""
        if news := self.tally.take(event, self.clock()):
            self.tell(news, event)

    def tell(self, news: str, event: Event) -> None:
        """Show one piece of news."""


class FetchLines(FetchView):
    """Writes a line for what is new, and now and then one that sums up."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._write = write
        self._last = self.started
        self._told = 0

    def take(self, event: Event) -> None:
        """Note an event."""
        super().take(event)
        now = self.clock()
        if now - self._last >= SUMMARY_SECONDS:
            self._last, self._told = now, 0
            self._write(f"{self.tally.sum_up(now)} · {show_seconds(now - self.started)} so far")

    def tell(self, news: str, event: Event) -> None:
        """Write a line; of much news between two summaries, the first pieces only."""
        if isinstance(event, FetchPlanned):
            self._write(news)
            return
        self._told += 1
        if self._told < _NEWS_TOLD:
            self._write(news)
        elif self._told == _NEWS_TOLD:
            self._write(f"{news} (and more of the like, which the next summary counts)")


class FetchBar(FetchView):
    """Draws a bar that renews itself."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._news = ("", -1.0)
        """What was said last, and until when it is shown."""
        self._live = make_live(self.draw, console)

    def tell(self, news: str, event: Event) -> None:
        """Show it for a while; what the fetch will cost stays on the screen."""
        if isinstance(event, FetchPlanned):
            self.redraw()
            self._console.out(news, highlight=False)
            return
        wait = event.delay if isinstance(event, Retrying) else 0.0
        self._news = (news, self.clock() + max(wait, _NEWS_SECONDS))

    def draw(self) -> RenderableType:
        """Return the view as it is to be drawn now."""
        now = self.clock()
        lines: list[RenderableType] = [draw_line(self.tally.progress(now), "bold")]
        if self.tally.total:
            bar = draw_bar(self.tally.done, self.tally.total, now - self.started, self.tally.eta(now))
            lines = [bar, *lines, draw_line(self.tally.troubles(zeros=True))]
        news, until = self._news
        if now < until:
            lines.append(draw_line(news, "yellow"))
        return Group(*lines)


def open_fetch_view(mode: ProgressMode, *, quiet: bool, console: Console, shared: bool = False) -> FetchView:
    """Return the view that suits the wish, and the place that standard error goes to."""
    match choose(mode, quiet=quiet, shared=shared):
        case "off":
            return FetchView()
        case "on":
            return FetchBar(console)
        case _:
            return FetchLines(stamped(console))
