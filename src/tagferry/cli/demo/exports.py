"""The part of the demo that exports files from GrowingIO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tagferry.cli.demo.part import Row, Stage
from tagferry.cli.export import ferry
from tagferry.cli.options import ExportOptions
from tagferry.cli.progress import View, open_view
from tagferry.cli.report import Report
from tagferry.clients.growingio import GrowingIO
from tagferry.exports.export import Export

__all__ = ["ExportsPart"]

PROJECT = "demo0001"
# Names that look like the service's own ids, with the rows of each.
TAGS = {"vipvalue": 1_000_000, "citytier": 250_000, "lastseen": 90_000, "newusers": 1_000}
SEGMENTS = {"lapsed30": 300_000, "loyal365": 250_000, "bigspend": 40_000}
FAULTS = (
    # The pace of a real network, so that there is something to watch.
    "growingio-saas.download:vipvalue=drip@0 bytes=400000 every=0.05 x2",
    "growingio-saas.download:citytier=expired",
    "growingio-saas.download:citytier=drip@0 bytes=200000 every=0.1",
    "growingio-saas.download:loyal365=cut@2500000",
    "growingio-saas.download:loyal365=drip@0 bytes=50000 every=0.1",
    "growingio-saas.poll:lapsed30=status=503",
)
_DEADLINE = 60.0
_TROUBLES = {
    "retried": "a request failed and was tried again",
    "renewed": "a link had expired and was renewed",
    "broken": "a transfer broke off",
}


class ExportsPart:
    """Tags and segments of GrowingIO, as files."""

    def __init__(self) -> None:
        self._report = Report(())
        self._view = View()
        self._sources: dict[str, Any] = {}

    @property
    def words(self) -> Sequence[str]:
        """Rows, parts and faults of the exports."""
        rows = [f"--rows-of={name}={count}" for name, count in (TAGS | SEGMENTS).items()]
        return ["--parts-of=vipvalue=2", *rows, *(f"--fault={fault}" for fault in FAULTS)]

    @property
    def introduction(self) -> str:
        """How many exports there are."""
        return f"{len(TAGS | SEGMENTS)} exports from GrowingIO:"

    async def play(self, stage: Stage) -> None:
        """Export everything."""
        shown, environment = stage.options, stage.service.environment
        self._view = open_view(shown.progress, quiet=shown.quiet, console=stage.screen.console)
        client = GrowingIO(
            token=environment["TAGFERRY_GROWINGIO_TOKEN"],
            base_url=environment["TAGFERRY_GROWINGIO_BASE_URL"],
            on_event=self._view.take,
        )
        self._report.exports = _choose(client)
        options = ExportOptions(output=stage.directory, if_exists="replace", deadline=_DEADLINE)
        with self._view:
            await ferry(client, self._report, options, self._view)
        told = await stage.service.ask("exports")
        self._sources = {f"{one['kind']} {one['id']}": one["files"] for one in told}

    @property
    def is_over(self) -> bool:
        """Whether every export was settled."""
        return 0 < len(self._report.exports) == len(self._report.outcomes)

    @property
    def exit_code(self) -> int:
        """That of an export command, or 8 if a file differs."""
        return self._report.exit_code or (0 if self._is_same else 8)

    @property
    def rows(self) -> Sequence[Row]:
        """The saved files beside those that the emulator holds."""
        return [
            Row(
                file.path,
                source["rows"],
                file.size,
                file.sha256,
                (file.sha256, file.size) == (source["sha256"], source["size"]),
            )
            for one in self._report.done
            for file, source in zip(one.files, self._truth_of(one.export), strict=False)
        ]

    @property
    def _is_same(self) -> bool:
        counts = [(len(one.files), len(self._truth_of(one.export))) for one in self._report.done]
        return all(row.same for row in self.rows) and all(ours == theirs for ours, theirs in counts)

    def _truth_of(self, export: Export) -> Sequence[Any]:
        files: Sequence[Any] = self._sources.get(f"{export.kind} {export.id}", ())
        return files

    def document(self, stop: dict[str, Any] | None) -> dict[str, Any]:
        """Return the exports, as an export command does."""
        exports = self._report.document(())["exports"]
        open_ones = [one for one in exports if one["state"] == "failed" and one["error"] is None]
        for one in open_ones:
            one["error"] = stop
        return {"exports": exports}

    def failures(self) -> Iterator[tuple[str, str | None]]:
        """Yield the exports that failed."""
        for export, error in self._report.failed:
            if error is not None:
                yield f"{export.kind} {export.id}: {error.message}", error.hint

    def troubles(self) -> Iterator[str]:
        """Yield what the exports survived."""
        counts = self._view.board.counts
        for name, text in _TROUBLES.items():
            if counts[name]:
                yield f"{text} ({counts[name]}×)"

    def conclusion(self) -> Iterator[str]:
        """Say whether the files are those of the service."""
        if self.is_over and not self._report.failed:
            same = self._is_same
            yield (
                "Every file is the same as at the service." if same else "A file differs from the service's!"
            )


def _choose(client: GrowingIO) -> list[Export]:
    tags = [client.tag_users(PROJECT, name) for name in TAGS]
    return [*tags, *(client.segment_users(PROJECT, name) for name in SEGMENTS)]
