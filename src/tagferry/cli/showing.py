"""What the views of all verbs have in common: when they are drawn, and how."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tagferry.cli.text import show_seconds

if TYPE_CHECKING:
    from tagferry.cli.options import ProgressMode

__all__ = ["SUMMARY_SECONDS", "Showing", "choose", "draw_bar", "draw_line", "make_live", "stamped"]

SUMMARY_SECONDS = 30.0
"""The least time between two summary lines."""


class Showing:
    """Shows a run from the beginning of its block to the end.

    Args:
        clock: Gives the time in seconds.
    """

    _live: Live | None = None
    """What draws, if something is to be drawn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wipe what is drawn."""
        if self._live is not None:
            self._live.stop()

    def redraw(self) -> None:
        """Draw at once what is new."""
        if self._live is not None:
            self._live.refresh()

    @property
    def is_live(self) -> bool:
        """Whether something is drawn that other writers must not write into."""
        return self._live is not None


def make_live(draw: Callable[[], RenderableType], console: Console) -> Live:
    """Return what draws a view that renews itself; a thread draws, so a slow terminal slows no work."""
    return Live(
        get_renderable=draw, console=console, refresh_per_second=8, transient=True, redirect_stdout=False
    )


def draw_bar(done: int, total: int, seconds: float, eta: float | None) -> RenderableType:
    """Return a bar as wide as the terminal, with the share that is done and the time.

    Args:
        done: What is done.
        total: What is to be done; more than 0.
        seconds: How long it took.
        eta: How many seconds are left, if anything tells.
    """
    left = "" if eta is None else f", about {show_seconds(eta)} left"
    # In a table, where it leaves room for what stands beside it.
    row = Table.grid(padding=(0, 1, 0, 0), expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    row.add_row(
        ProgressBar(total=total, completed=done), f"{100 * done // total}%  {show_seconds(seconds)}{left}"
    )
    return row


def draw_line(text: str, style: str = "") -> Text:
    """Return a text that stays on one line."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def choose(mode: ProgressMode, *, quiet: bool, shared: bool = False) -> ProgressMode:
    """Return ``on``, ``log`` or ``off``: what suits the wish, and the place that standard error goes to.

    Args:
        mode: The wish.
        quiet: Whether nothing is to be shown that was not wished for.
        shared: Whether others may write to the same terminal meanwhile.
    """
    if mode == "auto":
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not shared
        return "off" if quiet else "on" if terminal else "log"
    return mode


def stamped(console: Console) -> Callable[[str], None]:
    """Return what writes a line with the time before it."""

    def write(news: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        console.out(f"{stamp} {news}", highlight=False)

    return write
