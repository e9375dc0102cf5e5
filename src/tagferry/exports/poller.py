"""Waits for export jobs: asks again and again, less and less often, one asker for equal exports."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import anyio

from tagferry.errors import TagferryError
from tagferry.events import Polled, Retrying, UnknownStatus
from tagferry.exports.job import Job, JobReport, JobState, JobWatch
from tagferry.wire.quota import SECOND

if TYPE_CHECKING:
    from tagferry.exports.export import Export
    from tagferry.exports.service import ExportService
    from tagferry.exports.slots import Admission

__all__ = ["Poller"]


class _Flight:
    """Equal exports that are waited for at the same time."""

    __slots__ = ("asking", "changed", "outcome", "users")

    def __init__(self) -> None:
        self.users = 0
        self.asking = False
        self.changed: anyio.Event | None = None  # made for the second user only: there may be thousands
        self.outcome: tuple[str, ...] | TagferryError | None = None


class Poller:
    """Waits for the jobs of one client.

    The waiting is done by the callers' own tasks; the quota of the service gives them their turns in the
    order in which their delays ended, and two first questions, which start jobs, go for one of the others.
    """

    def __init__(self, service: ExportService) -> None:
        self._service = service
        self._flights: dict[str, _Flight] = {}

    async def wait(self, export: Export, job: Job, *, admission: Admission | None = None) -> tuple[str, ...]:
        """Return the links of a finished export; none when the audience is empty.

        Args:
            export: The export to wait for.
            job: Its job.
            admission: Bounds how many are asked about at once; held when this returns links.

        Raises:
            JobFailedError: The service gave up on the job.
            TagferryError: The service could not be asked.
        """
        flight = self._flights.setdefault(job.request.url, _Flight())
        flight.users += 1
        try:
            while flight.asking:
                flight.changed = flight.changed or anyio.Event()
                await flight.changed.wait()
            if flight.outcome is None:
                flight.outcome = await self._lead(flight, export, job, admission)
        finally:
            flight.users -= 1
            if not flight.users:
                del self._flights[job.request.url]
        if isinstance(flight.outcome, TagferryError):
            raise copy.copy(flight.outcome) from flight.outcome.__cause__
        return flight.outcome

    async def _lead(
        self, flight: _Flight, export: Export, job: Job, admission: Admission | None
    ) -> tuple[str, ...] | TagferryError:
        """Ask for all who wait; when this is cancelled, one of the others goes on."""
        flight.asking = True
        try:
            return await self._poll(export, job, dead=None, admission=admission)
        except TagferryError as error:
            return error
        finally:
            flight.asking = False
            if flight.changed is not None:
                flight.changed.set()
                flight.changed = None

    async def renew(self, export: Export, job: Job, dead: str | None) -> tuple[str, ...]:
        """Return fresh links of an export, of which a lapsed one may be known.

        Until it notes that the link lapsed, the service gives the same one: then it is asked again.
        """
        return await self._poll(export, job, dead=dead, admission=None)

    async def _poll(
        self, export: Export, job: Job, *, dead: str | None, admission: Admission | None
    ) -> tuple[str, ...]:
        watch = JobWatch()
        clock = self._service.backoff.clock
        delay: float | None = None
        began: int | None = None
        while True:
            urgent = delay is None or dead is not None
            if admission is not None:
                await admission.ask(urgent=urgent)
            age = 0.0 if began is None else (clock.now() - began) / SECOND
            delay = self._service.schedule.after(delay, self._service.backoff.chance(), age)
            report = await self._ask(export, job, watch, urgent=urgent, delay=delay)
            began = clock.now() if began is None else began
            if report is not None:
                state = watch.judge(report)
                if state is JobState.FAILED:
                    self._note(export, state, report, watch, None)
                    assert report.error is not None
                    raise report.error
                # A dead link again is no answer yet.
                if state is not JobState.RUNNING and not (dead and dead in report.links):
                    self._note(export, state, report, watch, None)
                    return report.links
                self._note(export, JobState.RUNNING, report, watch, delay)
            if admission is not None:
                admission.done()
            await clock.sleep(delay)

    async def _ask(
        self, export: Export, job: Job, watch: JobWatch, *, urgent: bool, delay: float
    ) -> JobReport | None:
        """Ask once; None when there was no answer, but the job is known to exist."""
        try:
            return await self._service.ask_job(job, export.name, urgent)
        except TagferryError as error:
            # An outage in the middle says nothing about the job: the deadline bounds it.
            if error.retryable and watch.answered:
                self._service.emit(Retrying(operation=export.kind, failures=1, delay=delay, error=error))
                return None
            raise

    def _note(
        self, export: Export, state: JobState, report: JobReport, watch: JobWatch, delay: float | None
    ) -> None:
        emit = self._service.emit
        if report.unknown is not None and watch.is_news(report.unknown):
            emit(UnknownStatus(kind=export.kind, id=export.id, word=report.unknown))
        emit(Polled(kind=export.kind, id=export.id, state=state.value, delay=delay))
