"""``tagferry demo``: the main jobs, end to end, against an emulator that misbehaves on purpose."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tagferry.cli.demo.growingio import GrowingIOPart
from tagferry.cli.demo.growingio_cdp import GrowingIOCDPPart
from tagferry.cli.demo.lookups import LookupsPart
from tagferry.cli.demo.part import Part, Stage
from tagferry.cli.demo.service import open_service
from tagferry.cli.document import describe_stop, dump
from tagferry.cli.logs import logging_to
from tagferry.cli.options import TRANSFER, Call, ViewOptions
from tagferry.cli.report import PARTIAL
from tagferry.cli.screen import Screen
from tagferry.cli.stop import EXIT_CODES, run_async, stop_on_signals
from tagferry.cli.table import draw
from tagferry.cli.words import read_place
from tagferry.files.disk import check_directory

__all__ = ["PARTS", "demo"]

PARTS: tuple[Callable[[], Part], ...] = (GrowingIOPart, GrowingIOCDPPart, LookupsPart)
"""What is shown, one after the other; a further service adds its own here."""
_INTRODUCTION = "This runs against services on this machine that fail on purpose."
_HEADER = ("FILE", "ROWS", "SIZE", "SHA-256", "SAME")
_NUMBERS = frozenset({1, 2})


def demo(
    *,
    output: Annotated[
        Path | None,
        Parameter(
            converter=read_place,
            allow_leading_hyphen=True,
            metavar="DIR",
            group=TRANSFER,
            help="Keep the files, in this directory.",
        ),
    ] = None,
    options: ViewOptions = ViewOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Export files and look accounts up at services that run on this machine and fail on purpose."""
    options.check()
    if output is not None:
        check_directory(output)
    screen = Screen(invocation.redactor, live=options.progress == "on")
    show = _Show([make() for make in PARTS], options, screen, kept=output)
    with _directory(output) as directory:
        with logging_to(screen.console, options.log_level, screen.redactor):
            run_async(lambda: show.play(directory))
        show.tell()
    return show.exit_code


@contextmanager
def _directory(output: Path | None) -> Generator[Path]:
    if output is not None:
        yield output
    else:
        with tempfile.TemporaryDirectory(prefix="tagferry-demo-") as name:
            yield Path(name)


class _Show:
    """All parts, and how they ended."""

    def __init__(
        self, parts: Sequence[Part], options: ViewOptions, screen: Screen, *, kept: Path | None
    ) -> None:
        self._parts = parts
        self._options = options
        self._screen = screen
        self._kept = kept
        self._stopped: signal.Signals | None = None

    async def play(self, directory: Path) -> None:
        """Play the parts; a signal ends them."""
        with stop_on_signals() as stop:
            async with open_service([word for part in self._parts for word in part.words]) as service:
                self._say(_INTRODUCTION)
                for part in self._parts:
                    self._say(part.introduction)
                    await part.play(Stage(service, directory, self._options, self._screen))
        self._stopped = stop.signal if not all(part.is_over for part in self._parts) else None

    @property
    def exit_code(self) -> int:
        """The code of a signal, or else the first of the parts that is not 0."""
        if self._stopped is not None:
            return EXIT_CODES[self._stopped]
        return next((part.exit_code for part in self._parts if part.exit_code), 0)

    def tell(self) -> None:
        """Write how it went."""
        rows = [row for part in self._parts for row in part.rows]
        if self._options.json:
            self._screen.give([dump(self._document())])
        elif self._options.quiet:
            self._screen.give(str(row.path) for row in rows)
        elif rows:
            width = self._screen.console.size.width
            self._screen.give(draw(_HEADER, [row.cells for row in rows], width, right=_NUMBERS))
        for part in self._parts:
            for message, hint in part.failures():
                self._screen.fail(message, hint)
        if not self._options.json:
            for line in self._conclude():
                self._say(line)

    def _document(self) -> dict[str, Any]:
        outcome = {0: "complete", PARTIAL: "partial"}.get(self.exit_code, "failed")
        stop = self._describe_stop()
        facts: dict[str, list[Any]] = {}
        for part in self._parts:
            for name, values in part.document(stop).items():
                facts.setdefault(name, []).extend(values)
        return {"v": 1, "outcome": outcome, **facts, "error": stop}

    def _describe_stop(self) -> dict[str, Any] | None:
        return None if self._stopped is None else describe_stop(self._stopped, "run tagferry demo again")

    def _conclude(self) -> Iterator[str]:
        if self._stopped is not None:
            yield f"tagferry: stopped by {self._stopped.name}"
        troubles = Counter[str]()
        for part in self._parts:
            for text, count in part.troubles():
                troubles[text] += count
        if troubles.total():
            yield "What went wrong on the way:"
            yield from (f"  - {text} ({count}×)" for text, count in troubles.items() if count)
        for part in self._parts:
            yield from part.conclusion()
        if self._kept is None:
            yield "The files are removed again; tagferry demo --output DIR keeps them."
        else:
            yield f"The files are in {self._kept}."
        if not self.exit_code:
            yield "Yours: tagferry list --help, tagferry export --help, tagferry fetch --help"

    def _say(self, line: str) -> None:
        if not self._options.quiet:
            self._screen.say(line)
