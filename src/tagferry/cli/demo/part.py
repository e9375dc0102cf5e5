"""What every part of the demo has: something it brings from a service, and a comparison with the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tagferry.cli.demo.service import Service
from tagferry.cli.options import ViewOptions
from tagferry.cli.screen import Screen
from tagferry.cli.text import show_bytes

__all__ = ["Part", "Row", "Stage"]


class Stage(NamedTuple):
    """Where a part is played."""

    service: Service
    directory: Path
    options: ViewOptions
    screen: Screen


class Row(NamedTuple):
    """A file beside the truth of the service."""

    path: Path
    lines: int
    size: int
    sha256: str
    same: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        size, same = show_bytes(self.size), "yes" if self.same else "NO"
        return self.path.name, f"{self.lines:,}", size, self.sha256[:8], same


class Part(Protocol):
    """One part of the demo."""

    @property
    def words(self) -> Sequence[str]:
        """What the emulator is told, as on its command line."""
        ...

    @property
    def introduction(self) -> str:
        """What is about to be seen."""
        ...

    async def play(self, stage: Stage) -> None:
        """Do it; what a service or a disk has against it is kept, and not raised."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether it came to an end, whatever that was."""
        ...

    @property
    def exit_code(self) -> int:
        """The exit code of what ended; 8 for anything that is not as it is at the service."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The files."""
        ...

    def document(self, stop: dict[str, Any] | None) -> Mapping[str, Sequence[Any]]:
        """Return what it adds to the lists of the JSON document; `stop` is the error of what was stopped."""
        ...

    def failures(self) -> Iterator[tuple[str, str | None]]:
        """Yield what failed, and the hint of each."""
        ...

    def troubles(self) -> Iterator[tuple[str, int]]:
        """Yield what may go wrong on the way and is survived, and how often it did."""
        ...

    def conclusion(self) -> Iterator[str]:
        """Yield what the comparison with the service says."""
        ...
