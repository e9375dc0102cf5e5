"""The part of the demo that exports files from GrowingIO CDP, where each job must be made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tagferry.cli.demo.exports import ExportsPart
from tagferry.cli.demo.part import Stage
from tagferry.cli.export import ferry
from tagferry.cli.options import ExportOptions
from tagferry.cli.report import Report
from tagferry.clients.growingio_cdp import GrowingIOCDP
from tagferry.errors import SubmitUnknownError
from tagferry.events import Emit
from tagferry.exports.export import Export

__all__ = ["GrowingIOCDPPart"]

PROJECT = "WlGk4Daj"
PROPERTIES = ("id_$basic_userId", "usr_gender", "tag_rfm")
# The emulator has these, under Chinese names; with the rows of each.
CSV_TAGS = {"tag_rfm": 120_000, "tag_awkward": 90_000}
JSON_TAGS = {"tag_encrypted": 60_000}
SEGMENTS = {"seg_00007": 40_000, "seg_00008": 10_000}
FAULTS = (
    # The job is made, and nobody hears of it.
    "growingio-cdp.submit:tag_rfm=lost",
    "growingio-cdp.submit:seg_00007=status=429 retry-after=1",
    "growingio-cdp.poll:tag_encrypted=status=502",
    "growingio-cdp.download:tag_awkward=cut@2000000",
    "growingio-cdp.download:tag_encrypted=drip@0 bytes=300000 every=0.05",
)


class GrowingIOCDPPart(ExportsPart[GrowingIOCDP]):
    """Tags and segments of GrowingIO CDP, as CSV and as JSON Lines."""

    service = "GrowingIO CDP"

    def __init__(self) -> None:
        super().__init__()
        self._found = 0
        self._made: Mapping[str, int] = {}

    @property
    def words(self) -> Sequence[str]:
        """Rows and faults of the exports."""
        rows = [f"--rows-of={name}={count}" for name, count in (CSV_TAGS | JSON_TAGS | SEGMENTS).items()]
        return [*rows, *(f"--fault={fault}" for fault in FAULTS)]

    @property
    def introduction(self) -> str:
        """How many exports there are, and what is special about their links."""
        count = len(CSV_TAGS | JSON_TAGS | SEGMENTS)
        return f"{count} exports from GrowingIO CDP, whose links hold encoded Chinese names:"

    def _open(self, environment: Mapping[str, str], on_event: Emit) -> GrowingIOCDP:
        return GrowingIOCDP(
            token=environment["TAGFERRY_CDP_TOKEN"],
            base_url=environment["TAGFERRY_CDP_BASE_URL"],
            on_event=on_event,
        )

    def _choose(self, client: GrowingIOCDP) -> list[Export]:
        return [
            *(client.tag_users(key, properties=PROPERTIES, csv_header="name") for key in CSV_TAGS),
            *(client.tag_users(key, properties=PROPERTIES, file_format="json") for key in JSON_TAGS),
            *(client.segment_users(key, project=PROJECT, properties=PROPERTIES) for key in SEGMENTS),
        ]

    async def _bring(self, client: GrowingIOCDP, options: ExportOptions, stage: Stage) -> None:
        await super()._bring(client, options, stage)
        failed = self._report.failed
        lost = [export for export, error in failed if isinstance(error, SubmitUnknownError)]
        if lost:
            await self._settle(client, lost, options, stage)
        self._made = (await stage.service.ask("cdp"))["jobs"]

    async def _settle(
        self, client: GrowingIOCDP, lost: Sequence[Export], options: ExportOptions, stage: Stage
    ) -> None:
        """Do what the hint of the error says: look for the jobs at the service, and go on with them."""
        found: list[Export] = []
        jobs: Mapping[str, Sequence[str]] = (await stage.service.ask("cdp"))["ids"]
        for export in lost:
            name = f"{export.kind} {export.id}"
            if made := jobs.get(name):
                found.append(client.attach(made[-1], export))
                del self._report.outcomes[export.kind, export.id]
                self._view.tell(f"{name}: its job is there; going on with it", trouble=True)
        again = Report(found)
        await ferry(client, again, options, self._view)
        for outcome in again.outcomes.values():
            self._report.settle(outcome)
        self._found = len(again.done)

    @property
    def exit_code(self) -> int:
        """That of an export command, or 8 if a file differs or a job was made twice."""
        return super().exit_code or (0 if self._is_once else 8)

    @property
    def _is_once(self) -> bool:
        return len(self._made) == len(self._report.exports) and set(self._made.values()) == {1}

    def troubles(self) -> Iterator[tuple[str, int]]:
        """Yield what the exports survived."""
        yield "nobody heard that a job was made; it was found, and not made again", self._found
        yield from super().troubles()

    def conclusion(self) -> Iterator[str]:
        """Say whether the files are those of the service, and each job was made once."""
        yield from super().conclusion()
        if self.is_over and not self._report.failed:
            once = f"Each of its {len(self._report.exports)} jobs was made once."
            yield once if self._is_once else "A job was made more than once!"
