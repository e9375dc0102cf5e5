"""How a run ended: its exit code, its JSON document, and the command that goes on."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tagferry.cli.document import describe_error, describe_stop
from tagferry.cli.stop import EXIT_CODES
from tagferry.errors import (
    AuthError,
    ConfigError,
    DeadlineError,
    DiskError,
    IntegrityError,
    JobFailedError,
    LinkExpiredError,
    ProtocolError,
    RecordError,
    RefusedError,
    SubmitUnknownError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.exports.outcome import ExportDone, Outcome
from tagferry.rows.convert import Converted

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = [
    "PARTIAL",
    "Report",
    "add_option",
    "exit_code",
    "first_code",
    "goes_on",
]

PARTIAL = 3
_CODES: dict[type[TagferryError], int] = {
    ConfigError: 2,
    AuthError: 4,
    ThrottledError: 5,
    UnavailableError: 5,
    SubmitUnknownError: 5,
    LinkExpiredError: 5,
    DeadlineError: 6,
    RefusedError: 7,
    JobFailedError: 7,
    ProtocolError: 7,
    IntegrityError: 8,
    RecordError: 8,
    DiskError: 9,
}
_FIRST = (4, 8, 9, 7, 6, 5, 2, 1)
"""Which code stands for a run in which nothing succeeded."""
_AGAIN = {5, 6, 8, 9}
"""Codes of failures after which the same command goes on."""


def exit_code(error: TagferryError) -> int:
    """Return the exit code that stands for an error."""
    if isinstance(error, ProtocolError) and error.retryable:
        # Somebody answers in the service's place, for a while.
        return 5
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1)


def first_code(codes: Iterable[int]) -> int:
    """Return the exit code of a run whose failures have these codes."""
    found = set(codes)
    return next((code for code in _FIRST if code in found), 1)


def goes_on(error: TagferryError) -> bool:
    """Tell whether the same command, run again, may go on where an error stopped it."""
    return exit_code(error) in _AGAIN


@dataclass
class Report:
    """The exports of a run and how they ended."""

    exports: Sequence[Export]
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict[tuple[str, str], Outcome])
    """How exports ended, by kind and id."""
    stopped: signal.Signals | None = None
    has_files: bool = False
    """Whether there are whole files of exports that are not done: a table was to be made of them."""
    _tables: dict[tuple[str, str], Converted] = field(default_factory=dict[tuple[str, str], Converted])

    def settle(self, outcome: Outcome, table: Converted | None = None) -> None:
        """Note how an export ended, and the table that was made of it."""
        self.outcomes[outcome.export.kind, outcome.export.id] = outcome
        if table is not None:
            self._tables[outcome.export.kind, outcome.export.id] = table

    def table(self, export: Export) -> Converted | None:
        """Return the table of an export, if there is one."""
        return self._tables.get((export.kind, export.id))

    def note_stop(self, number: signal.Signals | None) -> None:
        """Note that a signal came; one that came when all was settled changes nothing."""
        unsettled = not self.exports or len(self.outcomes) < len(self.exports)
        self.stopped = number if unsettled else None

    def of(self, export: Export) -> Outcome | None:
        """Return how an export ended; None while it has not."""
        return self.outcomes.get((export.kind, export.id))

    @property
    def done(self) -> list[ExportDone]:
        """The exports that succeeded, in the order in which they were asked for."""
        return [one for export in self.exports if isinstance(one := self.of(export), ExportDone)]

    @property
    def failed(self) -> list[tuple[Export, TagferryError | None]]:
        """The exports that did not succeed, and why; None for one that was stopped."""
        ends = [(export, self.of(export)) for export in self.exports]
        return [
            (export, None if end is None else end.error)
            for export, end in ends
            if not isinstance(end, ExportDone)
        ]

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        if self.stopped is not None:
            return EXIT_CODES[self.stopped]
        if not self.failed:
            return 0
        if self.done:
            return PARTIAL
        return first_code(exit_code(error) for _, error in self.failed if error is not None)

    @property
    def outcome(self) -> str:
        """The outcome in one word of the JSON document."""
        if self.stopped is None and not self.failed:
            return "complete"
        return "partial" if self.done else "failed"

    @property
    def can_go_on(self) -> bool:
        """Whether the same command, run again, may bring what is missing."""
        # Of a job of which nobody knows, and of a bad record, it would say the same again.
        errors = [
            error for _, error in self.failed if not isinstance(error, (SubmitUnknownError, RecordError))
        ]
        codes = {exit_code(error) for error in errors if error is not None}
        return self.stopped is not None or bool(codes & _AGAIN)

    def command(self, argv: Sequence[str]) -> str:
        """Return the command that goes on where this run ended."""
        words = [word for word in argv if word != "--no-resume"]
        if (self.done or self.has_files) and not any(word.startswith("--if-exists") for word in words):
            # What is done already would be in the way.
            words = add_option(words, "--if-exists", "skip")
        return shlex.join(["tagferry", *words])

    def document(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the JSON document."""
        stop = self._describe_stop(argv)
        exports = [_describe(export, self.of(export), stop, self.table(export)) for export in self.exports]
        return {"v": 1, "outcome": self.outcome, "exports": exports, "error": stop}

    def _describe_stop(self, argv: Sequence[str]) -> dict[str, Any] | None:
        hint = f"to go on, run: {self.command(argv)}"
        return None if self.stopped is None else describe_stop(self.stopped, hint)


def add_option(words: list[str], name: str, value: str) -> list[str]:
    """Return the words of a command with one more option."""
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], name, value, *words[place:]]


def _describe(
    export: Export, outcome: Outcome | None, stop: dict[str, Any] | None, table: Converted | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": export.kind,
        "id": export.id,
        "state": "failed",
        "files": [],
        "error": stop,
    }
    if isinstance(outcome, ExportDone):
        files = [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in outcome.files]
        facts.update(state=outcome.state, files=files, error=None)
    elif outcome is not None:
        facts["error"] = describe_error(outcome.error)
    if table is not None:
        facts["table"] = {"path": str(table.path), "size": table.size, "rows": table.rows}
    return facts
