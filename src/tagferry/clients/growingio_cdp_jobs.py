"""The export jobs of one GrowingIO CDP: made, attached to, and asked about."""

from __future__ import annotations

import msgspec

from tagferry.clients.connection import Connection
from tagferry.errors import AuthError, RefusedError, TagferryError
from tagferry.exports.export import Export
from tagferry.exports.job import Job, JobReport
from tagferry.services import growingio_cdp as cdp
from tagferry.wire.call import Caller, Intent
from tagferry.wire.message import Reply, Request

__all__ = ["Jobs"]

_NOT_FOUND = 404


class Jobs:
    """The jobs of one client.

    Args:
        base_url: The API's origin.
        download_url: The origin of the files.
        connection: Whether the client is open, and what time it is.
        caller: Makes the calls.
    """

    def __init__(self, base_url: str, download_url: str, connection: Connection, caller: Caller) -> None:
        self.caller = caller
        self._base_url = base_url
        self._download_url = download_url
        self._connection = connection
        self._specs: dict[str, cdp.ExportSpec] = {}
        self._below: bool | None = None  # whether this server tells of jobs below their project only

    def note(self, export: Export, spec: cdp.ExportSpec) -> None:
        """Take down what an export is of: its job is asked about by it."""
        self._specs[export.digest] = spec

    async def make(self, export: Export, intent: Intent) -> str:
        """Make a job, at most once, and return its id.

        Raises:
            SubmitUnknownError: Whether there is a job is not known.
            TagferryError: The service could not be asked, or refused.
        """
        self._connection.check_open()

        def read(reply: Reply) -> str:
            return cdp.read_submit(reply, what=export.name, now=self._now())

        def lost(error: TagferryError) -> TagferryError:
            return cdp.submit_unknown(export.name, error.message)

        return await self.caller.call(export.request, read, urgent=True, lost=lost, intent=intent)

    def attach(self, export: Export, job_id: str) -> Job:
        """Return the job of an export by its id."""
        spec = self._specs[export.digest]
        first, other = (cdp.ask_result(self._base_url, job_id, spec, other=one) for one in (False, True))
        return Job(job_id, first, other if other.url != first.url else None)

    async def ask(self, job: Job, what: str, urgent: bool) -> JobReport:  # noqa: FBT001
        """Ask for the state of a job once; see `tagferry.exports.service.AskJob`.

        Raises:
            TagferryError: The service could not be asked, or refused.
        """
        self._connection.check_open()
        first, second = job.request, job.other
        if second is not None and self._is_below(second) == self._below:
            first, second = second, first
        try:
            return await self._ask(first, what, urgent=urgent)
        except RefusedError as error:
            if error.code != _NOT_FOUND or second is None:
                raise
            refused = error
        # Versions differ in where they tell the state of a job of a project.
        try:
            report = await self._ask(second, what, urgent=urgent)
        except (RefusedError, AuthError):
            raise refused from None
        self._below = self._is_below(second)
        return report

    async def _ask(self, request: Request, what: str, *, urgent: bool) -> JobReport:
        def read(reply: Reply) -> JobReport:
            return cdp.read_result(reply, what=what, now=self._now())

        report = await self.caller.call(request, read, urgent=urgent)
        links = tuple(cdp.make_link(self._download_url, uri) for uri in report.links)
        return msgspec.structs.replace(report, links=links)

    def _is_below(self, request: Request) -> bool:
        return request.url.startswith(f"{self._base_url}/v1/api/projects/")

    def _now(self) -> float:
        return self._connection.clock.unix()
