"""What is known of a run while it goes on, gathered from events and outcomes; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tagferry.cli.text import plain
from tagferry.events import (
    Attached,
    Converting,
    ConvertProgress,
    Event,
    LinkRenewed,
    PartRestarted,
    PartSaved,
    Polled,
    Progress,
    Resumed,
    Retrying,
    Submitted,
    Throttled,
    TransferBroken,
    UnknownStatus,
)
from tagferry.exports.outcome import ExportDone, Outcome

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = ["Board", "Line"]

_WINDOW = 5.0
"""Seconds over which the rate is taken."""
ACTIVE = ("downloading", "failed", "ready", "polling", "waiting", "done", "empty", "skipped")
"""The states in the order in which they deserve a line of a small screen."""
SETTLED = {"done", "empty", "skipped", "failed"}


class _HasExport(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...


@dataclass(slots=True)
class Line:
    """One export on its way."""

    kind: str
    id: str
    state: str = "waiting"
    note: str = ""
    """Why it failed."""
    troubles: list[str] = field(default_factory=list[str])
    """What was survived, in a word each."""
    polls: int = 0
    due: float | None = None
    """When the service is asked again, on the board's clock."""
    parts: int = 1
    received: dict[int, int] = field(default_factory=dict[int, int])
    totals: dict[int, int | None] = field(default_factory=dict[int, "int | None"])

    @property
    def name(self) -> str:
        """The export, in the words of the command line."""
        return plain(f"{self.kind} {self.id}")

    @property
    def settled(self) -> bool:
        """Whether nothing more will come."""
        return self.state in SETTLED

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(self.received.values())

    @property
    def expected(self) -> float | None:
        """Bytes of all parts; estimated from the known ones, when there are any."""
        known = [size for size in self.totals.values() if size is not None]
        return sum(known) / len(known) * self.parts if known else None

    @property
    def part(self) -> int:
        """The part that comes at present."""
        return max(self.received, default=1)


class Board:
    """All exports of a run."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}
        self.counts: dict[str, int] = dict.fromkeys(
            ("renewed", "resumed", "broken", "retried", "throttled"), 0
        )
        self.news: tuple[float, str] | None = None
        """What was last said that belongs to no single export, and when."""
        self._moves: deque[tuple[float, int]] = deque()

    def expect(self, exports: Iterable[Export]) -> None:
        """Begin with these exports."""
        self.lines = {(one.kind, one.id): Line(one.kind, one.id) for one in exports}

    def take(self, event: Event, now: float) -> str | None:
        """Note an event at a time in seconds; return what to say about it, if it is news."""
        match event:
            case Polled():
                return self._polled(self._line(event), event, now)
            case Progress():
                return self._progress(self._line(event), event, now)
            case Resumed(part=part, offset=offset):
                self.counts["resumed"] += 1
                line = self._line(event)
                line.received[part] = offset
                line.troubles.append("taken up again")
                return f"{line.name}: going on at byte {offset:,}"
            case Submitted() | Attached() | UnknownStatus():
                return self._of_job(self._line(event), event)
            case LinkRenewed():
                self.counts["renewed"] += 1
                line = self._line(event)
                line.state = "downloading"
                line.troubles.append("link renewed")
                return f"{line.name}: the link had expired; the service gave a fresh one"
            case TransferBroken(part=part, received=received, error=error):
                self.counts["broken"] += 1
                line = self._line(event)
                self._move(line, part, received, now)
                line.state = "downloading"
                line.troubles.append("broke off")
                return f"{line.name}: broke off, trying again: {plain(error.message)}"
            case PartRestarted(part=part):
                line = self._line(event)
                line.received[part] = 0
                line.troubles.append("begun anew")
                return f"{line.name}: the file is another one now, or was damaged: it is fetched anew"
            case PartSaved(part=part, size=size):
                line = self._line(event)
                self._move(line, part, size, now)
                line.totals[part] = size
            case ConvertProgress(output=output, read=read, total=total):
                self.news = now, f"making {plain(output)}: {100 * read // total}%"
            case _:
                return self._general(now, news) if (news := self._word(event)) else None
        return None

    def settle(self, outcome: Outcome) -> str:
        """Note how an export ended; return what to say about it."""
        line = self._line(outcome.export)
        if isinstance(outcome, ExportDone):
            line.state = outcome.state
            for part, file in enumerate(outcome.files, 1):
                line.received[part] = line.totals[part] = file.size
            line.parts = len(outcome.files)
            return f"{line.name}: {line.state}"
        line.state, line.note = "failed", plain(outcome.error.message)
        return f"{line.name}: failed: {line.note}"

    def rate(self, now: float) -> float:
        """Bytes a second over the last seconds."""
        while self._moves and self._moves[0][0] < now - _WINDOW:
            self._moves.popleft()
        if not self._moves:
            return 0.0
        return sum(size for _, size in list(self._moves)) / max(now - self._moves[0][0], 0.5)

    def eta(self, now: float) -> float | None:
        """Seconds until all is done; None while nothing is known of some."""
        rate = self.rate(now)
        left = 0.0
        for line in self.open_lines():
            if line.expected is None or rate <= 0:
                return None
            left += max(0.0, line.expected - line.bytes)
        return left / rate if rate else None

    def open_lines(self) -> list[Line]:
        """The exports that are not settled."""
        return [line for line in self.lines.values() if not line.settled]

    def ranked(self) -> list[Line]:
        """The exports, those first on which most happens."""
        return sorted(self.lines.values(), key=lambda line: ACTIVE.index(line.state))

    def tally(self) -> dict[str, int]:
        """How many exports are in each state, without the states that none is in."""
        states = [line.state for line in self.lines.values()]
        return {state: states.count(state) for state in ACTIVE if state in states}

    @property
    def bytes(self) -> int:
        """Bytes on disk of all exports."""
        return sum(line.bytes for line in self.lines.values())

    def _line(self, of: _HasExport) -> Line:
        return self.lines.setdefault((of.kind, of.id), Line(of.kind, of.id))

    def _polled(self, line: Line, event: Polled, now: float) -> str | None:
        line.polls += 1
        line.due = None if event.delay is None else now + event.delay
        if event.state == "running" and line.state in {"waiting", "polling"}:
            line.state = "polling"
            return f"{line.name}: the service works on it" if line.polls == 1 else None
        if event.state == "done" and line.state in {"waiting", "polling"}:
            line.state = "ready"
        return None

    def _of_job(self, line: Line, event: Submitted | Attached | UnknownStatus) -> str:
        if line.state == "waiting":
            line.state = "polling"
        if isinstance(event, Submitted):
            return f"{line.name}: job {plain(event.job_id)} is made"
        if isinstance(event, Attached):
            line.troubles.append("taken up again")
            return f"{line.name}: going on with job {plain(event.job_id)} of an earlier run"
        return f"{line.name}: the service says {plain(event.word)}, which is not documented; waiting on"

    def _progress(self, line: Line, event: Progress, now: float) -> str | None:
        self._move(line, event.part, event.received, now)
        line.parts = event.parts
        line.totals[event.part] = event.total
        if line.state == "downloading":
            return None
        line.state = "downloading"
        return f"{line.name}: downloading"

    def _word(self, event: Event) -> str | None:
        """Return what to say about an event that belongs to no single export."""
        match event:
            case Retrying(operation=operation, error=error):
                self.counts["retried"] += 1
                return f"{plain(operation)}: trying again: {plain(error.message)}"
            case Throttled(operation=operation):
                self.counts["throttled"] += 1
                return f"{plain(operation)}: the service asks to go slower"
            case Converting(output=output):
                return f"making {plain(output)}"
            case _:
                return None

    def _general(self, now: float, news: str) -> str:
        self.news = now, news
        return news

    def _move(self, line: Line, part: int, received: int, now: float) -> None:
        if (gained := received - line.received.get(part, 0)) > 0:
            self._moves.append((now, gained))
        line.received[part] = received
