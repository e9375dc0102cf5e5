"""Shows a fetch on standard error while it goes on: a bar, or lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tagferry.cli.progress import SUMMARY_SECONDS, stamped, wants_live
from tagferry.cli.tally import FetchTally
from tagferry.cli.text import show_seconds
from tagferry.events import Event, FetchPlanned, Retrying

if TYPE_CHECKING:
    from tagferry.cli.options import ProgressMode

__all__ = ["FetchBar", "FetchLines", "FetchView", "open_fetch_view"]

_NEWS_SECONDS = 4.0
_NEWS_TOLD = 5
"""Lines of news between two summaries; a service that is down would fill the log."""


class FetchView:
    """Gathers what happens and shows nothing."""

    is_live = False
    """Whether something is drawn that other writers must not write into."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = FetchTally()
        self.clock = clock
        self.started = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show nothing more."""

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
    """Draws a bar that renews itself; a thread draws, so a slow terminal slows no call."""

    is_live = True

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._news = ("", -1.0)
        """What was said last, and until when it is shown."""
        self._live = Live(
            get_renderable=self.draw,
            console=console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wipe the view."""
        self._live.__exit__(kind, error, trace)

    def tell(self, news: str, event: Event) -> None:
        """Show it for a while; what the fetch will cost stays on the screen."""
        if isinstance(event, FetchPlanned):
            self._live.refresh()
            self._console.out(news, highlight=False)
            return
        wait = event.delay if isinstance(event, Retrying) else 0.0
        self._news = (news, self.clock() + max(wait, _NEWS_SECONDS))

    def draw(self) -> RenderableType:
        """Return the view as it is to be drawn now."""
        now = self.clock()
        lines: list[RenderableType] = [_line(self.tally.progress(now), "bold")]
        if self.tally.total:
            lines = [self._draw_bar(now), *lines, _line(self.tally.troubles(zeros=True))]
        news, until = self._news
        if now < until:
            lines.append(_line(news, "yellow"))
        return Group(*lines)

    def _draw_bar(self, now: float) -> RenderableType:
        done, total = self.tally.done, self.tally.total
        spent, eta = show_seconds(now - self.started), self.tally.eta(now)
        left = "" if eta is None else f", about {show_seconds(eta)} left"
        # In a table, where it leaves room for what stands beside it.
        row = Table.grid(padding=(0, 1, 0, 0), expand=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(ProgressBar(total=total, completed=done), f"{100 * done // total}%  {spent}{left}")
        return row


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def open_fetch_view(mode: ProgressMode, *, quiet: bool, console: Console) -> FetchView:
    """Return the view that suits the wish, and the place that standard error goes to."""
    if mode == "off" or (quiet and mode == "auto"):
        return FetchView()
    return FetchBar(console) if wants_live(mode) else FetchLines(stamped(console))
