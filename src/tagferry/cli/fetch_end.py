"""How a fetch ended: the exit code, the JSON document, and the words for people."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tagferry.cli.document import describe_error, describe_stop, fetch_document
from tagferry.cli.fetch_view import FetchView
from tagferry.cli.report import PARTIAL, exit_code, goes_on
from tagferry.cli.stop import EXIT_CODES
from tagferry.cli.text import plain, show_count, show_seconds
from tagferry.errors import DeadlineError, RefusedError, TagferryError, ThrottledError
from tagferry.lookups.outcome import FetchReport

__all__ = ["FetchEnd"]

_MEASURABLE = 1.0
"""Seconds from which on the speed of a whole run is told."""


class FetchEnd:
    """The end of one run of a fetch; filled in when it is known.

    Args:
        argv: The words of the command.
        view: What was seen on the way.
        to_stream: Whether the output is standard output, which cannot be gone on with.
        from_stream: Whether the accounts come through standard input, which cannot be read again.
    """

    def __init__(self, argv: Sequence[str], view: FetchView, *, to_stream: bool, from_stream: bool) -> None:
        self._argv = argv
        self._view = view
        self._to_stream = to_stream
        self._from_stream = from_stream
        self.report: FetchReport | None = None
        self.stopped: signal.Signals | None = None
        self.is_unread = False
        """Whether the reader of the output went away."""
        self._error: TagferryError | None = None

    @property
    def error(self) -> TagferryError | None:
        """What went wrong, if anything did."""
        if (report := self.report) is None or not report.failed or report.tagged or report.missing:
            return self._error
        letters = f"read {report.dead_letters}" if report.dead_letters else "read the lines above"
        return RefusedError(
            "the service answered for none of the accounts",
            hint=f"{letters}: the reason stands beside each account",
        )

    @error.setter
    def error(self, error: TagferryError) -> None:
        if self._to_stream and isinstance(error, DeadlineError):
            error.hint = "run the same again with a longer --deadline; a stream cannot be gone on with"
        elif error.hint is None and error.retryable:
            slower = isinstance(error, ThrottledError)
            error.hint = "run it again with a lower --rate" if slower else "run it again later: this may pass"
        self._error = error

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        if self.is_unread:
            return 0
        if self.error is not None:
            return exit_code(self.error)
        if self.report is None:
            return EXIT_CODES[self.stopped] if self.stopped else 1
        return PARTIAL if self.report.failed else 0

    @property
    def outcome(self) -> str:
        """The outcome in one word of the JSON document."""
        return {0: "complete", PARTIAL: "partial"}.get(self.exit_code, "failed")

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        report, tally = self.report, self._view.tally
        if report is not None:
            error = describe_error(self.error) if self.error else None
            counts = msgspec.structs.asdict(report)
            return fetch_document(self.outcome, counts, error, report.output, report.dead_letters)
        seconds = round(self._view.clock() - self._view.started, 3)
        return fetch_document(self.outcome, tally.counts(seconds), self._describe())

    def tell(self) -> Iterator[str]:
        """Yield what people want to know at the end, in lines."""
        report, tally = self.report, self._view.tally
        if self.is_unread:
            asked = f"{tally.done:,} of {show_count(tally.total, 'account')}"
            yield f"tagferry: the reader has gone; stopped at {asked}"
        elif report is not None:
            yield from _sum_up(report)
            if self._to_stream and report.failed:
                yield "  what failed is among the lines above"
        elif tally.plan is not None:
            yield tally.sum_up(self._view.clock())

    def tell_next(self) -> Iterator[str]:
        """Yield what the user can do next, in lines."""
        if self.stopped is not None:
            kept = "what is on disk is kept" if self._is_kept else "nothing is kept for a next run"
            yield f"tagferry: stopped by {self.stopped.name}; {kept}"
        if self.report is not None and self.report.dead_letters is not None:
            letters = self.report.dead_letters
            yield f"  what failed: {plain(letters)}"
            yield f"  to ask again: {shlex.join(['tagferry', 'retry', self._argv[1], str(letters)])}"
        elif self.stopped is not None or (self._error is not None and self._is_kept):
            yield f"  {self._go_on()}"

    @property
    def _is_kept(self) -> bool:
        # Before there is a plan, what was read of the input is dropped.
        return self._view.tally.plan is not None and not self._to_stream

    def _go_on(self) -> str:
        words = self._argv if self._to_stream else [word for word in self._argv if word != "--no-resume"]
        command = shlex.join(["tagferry", *words])
        if self._is_kept:
            mended = self._error is not None and not goes_on(self._error)
            # What came through standard input is on disk by now, and does not come again.
            when = ", when that is mended" if mended else ""
            return f"to go on{when}: {command}{' </dev/null' if self._from_stream else ''}"
        return f"to start over{', with the accounts piped in again' if self._from_stream else ''}: {command}"

    def _describe(self) -> dict[str, Any] | None:
        if self._error is not None:
            return describe_error(self._error)
        return None if self.stopped is None else describe_stop(self.stopped, self._go_on())


def _sum_up(report: FetchReport) -> Iterator[str]:
    if report.state == "skipped":
        yield "nothing to do"
        return
    if not report.distinct:
        yield "tagferry: warning: the input has no accounts, and so has the output"
        return
    counts = {"tagged": report.tagged, "missing": report.missing, "failed": report.failed}
    facts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    yield f"{show_count(report.distinct, 'account')}: {facts}"
    calls = f"{show_count(report.requests, 'request')} in {show_seconds(report.seconds)}"
    # The first calls leave together: of a shorter time, a mean would be more than the app may ask.
    speed = f", {report.distinct / report.seconds:,.0f} accounts/s" if report.seconds >= _MEASURABLE else ""
    throttled = f", {report.throttled:,} throttled" if report.throttled else ""
    yield f"  {calls}{speed}{throttled}"
