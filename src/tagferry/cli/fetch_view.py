"""Shows a fetch on standard error while it goes on: a bar, or lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from tagferry.cli.progress import SUMMARY_SECONDS, stamped, wants_live
from tagferry.cli.tally import FetchTally
from tagferry.cli.text import show_seconds
from tagferry.events import Event, Fetching, FetchPlanned

if TYPE_CHECKING:
    from tagferry.cli.options import ProgressMode

__all__ = ["FetchView", "open_fetch_view"]

_NEWS_SECONDS = 4.0
_RETRIES_TOLD = 5
"""Lines for retries between two summaries; a service that is down would fill the log."""


class FetchView:
    """Gathers what happens and shows nothing."""

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

    def sum_up(self) -> str:
        """Return the state of the run in one line."""
        now = self.clock()
        return f"{self.tally.sum_up(now)} · {show_seconds(now - self.started)} so far"


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
        if isinstance(event, Fetching) and self.clock() - self._last >= SUMMARY_SECONDS:
            self._last, self._told = self.clock(), 0
            self._write(self.sum_up())

    def tell(self, news: str, event: Event) -> None:
        """Write a line."""
        self._told += 1
        if self._told <= _RETRIES_TOLD or isinstance(event, FetchPlanned):
            self._write(news)


class FetchBar(FetchView):
    """Draws a bar that renews itself; a thread draws, so a slow terminal slows no call."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._news = ("", -_NEWS_SECONDS)
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
            self._console.out(news, highlight=False)
        else:
            self._news = (news, self.clock())

    def draw(self) -> RenderableType:
        """Return the view as it is to be drawn now."""
        plan = self.tally.plan
        lines: list[RenderableType] = []
        if plan is not None:
            lines.append(ProgressBar(total=max(plan.distinct, 1), completed=self.tally.done))
        news, since = self._news
        if self.clock() - since < _NEWS_SECONDS:
            lines.append(Text(news, style="yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*lines, Text(self.sum_up(), style="bold", no_wrap=True, overflow="ellipsis"))


def open_fetch_view(mode: ProgressMode, *, quiet: bool, console: Console) -> FetchView:
    """Return the view that suits the wish, and the place that standard error goes to."""
    if mode == "off" or (quiet and mode == "auto"):
        return FetchView()
    return FetchBar(console) if wants_live(mode) else FetchLines(stamped(console))
