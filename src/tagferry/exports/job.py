"""What a service says of an export job, and what that means for the one who waits."""

from __future__ import annotations

import enum

import msgspec

from tagferry.errors import JobFailedError
from tagferry.wire.message import Request

__all__ = ["Job", "JobReport", "JobState", "JobWatch", "Ready"]

_LOOKS_AT_EMPTY = 3
"""How often "done" must come without a link before it is believed: links may appear a moment later."""
_ABSENT_LOOKS = 20
"""How often in a row a job may be absent: one that was made a moment ago is, for a while."""
_SECOND_CHANCES = 2
"""How often a job may fail with "try again later" and be asked for again."""


class JobState(enum.Enum):
    """The state of an export job."""

    RUNNING = "running"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a service about one job."""

    state: JobState
    links: tuple[str, ...] = ()
    """Where the files are, in order, as the service wrote them; secrets."""
    absent: bool = False
    """The service knows nothing of the job, yet or any more; the state is RUNNING, and `error` says so."""
    unknown: str | None = None
    """A status word that is not documented; the state is then RUNNING."""
    error: JobFailedError | None = None
    """Why the job failed, for the state FAILED, or is given up for absent."""

    def __repr__(self) -> str:
        return f"JobReport({self.state.value}, {len(self.links)} links)"


class Job(msgspec.Struct, frozen=True):
    """An export job at a service."""

    id: str | None
    """The service's id of it; None where asking for the export is asking for the job (GrowingIO SaaS)."""
    request: Request
    """Asks for its state."""
    other: Request | None = None
    """Asks for it in another way, which some versions of the service want."""


class Ready(msgspec.Struct, frozen=True):
    """A finished export: where its files are.

    The links are signed, short-lived and secret: whoever has one has the data.
    """

    job_id: str | None
    """The service's id of the job; None where the service has no such thing (GrowingIO SaaS)."""
    links: tuple[str, ...]
    """One link for each part, in order; empty when the audience is empty."""

    def __repr__(self) -> str:
        return f"Ready(job_id={self.job_id!r}, links=<{len(self.links)} hidden>)"


class JobWatch:
    """Judges the reports of one job, one after the other."""

    def __init__(self) -> None:
        self.answered = False
        """Whether the service has ever reported on the job."""
        self._empties = 0
        self._absences = 0
        self._failures = 0
        self._words: tuple[str, ...] = ()  # no set: thousands of jobs may be watched

    def judge(self, report: JobReport) -> JobState:
        """Return RUNNING to ask again later; DONE, EMPTY or FAILED are final."""
        self.answered = True
        self._absences = self._absences + 1 if report.absent else 0
        if self._absences >= _ABSENT_LOOKS:
            return JobState.FAILED
        if report.state is JobState.FAILED:
            self._failures += 1
            again = report.error is not None and report.error.retryable
            return JobState.RUNNING if again and self._failures <= _SECOND_CHANCES else JobState.FAILED
        if report.state is JobState.DONE and not report.links:
            self._empties += 1
            return JobState.EMPTY if self._empties >= _LOOKS_AT_EMPTY else JobState.RUNNING
        return report.state

    def is_news(self, word: str) -> bool:
        """Tell whether an unknown status word is seen for the first time."""
        if word in self._words:
            return False
        self._words += (word,)
        return True
