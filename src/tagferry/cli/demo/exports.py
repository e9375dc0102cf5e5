"""What the parts of the demo that export files have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from tagferry.cli.demo.part import Row, Stage
from tagferry.cli.export import ferry
from tagferry.cli.options import ExportOptions
from tagferry.cli.progress import View, open_view
from tagferry.cli.report import Report
from tagferry.events import Emit
from tagferry.exports.export import Export

__all__ = ["ExportsPart"]

Client = TypeVar("Client", bound=AbstractAsyncContextManager[Any])
_DEADLINE = 60.0
_TROUBLES = {
    "retried": "a request failed and was tried again",
    "renewed": "a link had expired and was renewed",
    "broken": "a transfer broke off",
}


class ExportsPart(ABC, Generic[Client]):
    """Exports of one service, as files."""

    service: str
    """Its name, for people."""

    def __init__(self) -> None:
        self._report = Report(())
        self._view = View()
        self._sources: dict[str, Any] = {}

    @property
    @abstractmethod
    def words(self) -> Sequence[str]:
        """Rows and faults of the exports."""

    @property
    @abstractmethod
    def introduction(self) -> str:
        """How many exports there are."""

    @abstractmethod
    def _open(self, environment: Mapping[str, str], on_event: Emit) -> Client:
        """Make a client of the service."""

    @abstractmethod
    def _choose(self, client: Client) -> list[Export]:
        """Describe what is exported."""

    async def play(self, stage: Stage) -> None:
        """Export everything."""
        shown = stage.options
        self._view = open_view(shown.progress, quiet=shown.quiet, console=stage.screen.console)
        client = self._open(stage.service.environment, self._view.take)
        self._report.exports = self._choose(client)
        options = ExportOptions(output=stage.directory, if_exists="replace", deadline=_DEADLINE)
        with self._view:
            await self._bring(client, options, stage)
        told = await stage.service.ask("exports")
        self._sources = {f"{one['kind']} {one['id']}": one["files"] for one in told}

    async def _bring(self, client: Client, options: ExportOptions, stage: Stage) -> None:  # noqa: ARG002  # for those who look at the service on the way
        await ferry(client, self._report, options, self._view)

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

    def document(self, stop: dict[str, Any] | None) -> Mapping[str, Sequence[Any]]:
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

    def troubles(self) -> Iterator[tuple[str, int]]:
        """Yield what the exports survived."""
        counts = self._view.board.counts
        for name, text in _TROUBLES.items():
            yield text, counts[name]

    def conclusion(self) -> Iterator[str]:
        """Say whether the files are those of the service."""
        if self.is_over and not self._report.failed:
            if self._is_same:
                yield f"Every file of {self.service} is the same as at the service."
            else:
                yield f"A file of {self.service} differs from the service's!"
