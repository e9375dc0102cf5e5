"""What the server needs of a service; each service is one module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tagferry.emulator.audience import Source
    from tagferry.emulator.faults import Plan
    from tagferry.emulator.quota import Window
    from tagferry.emulator.wire import Reply, Request


@dataclass(frozen=True, slots=True)
class Export:
    """What an export is keyed on, the token aside."""

    kind: str
    project: str
    id: str
    parameters: tuple[str, ...] = ()


class Service(Protocol):
    """One emulated service."""

    @property
    def operations(self) -> frozenset[str]:
        """The names that faults and the log know its requests by."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of exports it makes; none for a service that only answers."""
        ...

    @property
    def windows(self) -> Mapping[tuple[str, str], Window]:
        """Its quotas, by their name and the caller."""
        ...

    def route(self, request: Request) -> tuple[str, str] | None:
        """The operation and export id that a request is for, when it is for this service."""
        ...

    def refuse(self, request: Request) -> Reply | None:
        """The answer to a caller without good credentials, or over the quota."""
        ...

    def answer(self, request: Request, plan: Plan) -> Reply:
        """The answer to a caller who may ask."""
        ...

    def exports(self) -> list[Export]:
        """Every export that was asked for."""
        ...

    def sources(self, export: Export, *, parts: int | None = None, version: int = 0) -> tuple[Source, ...]:
        """The files of an export, whether it was asked for or not."""
        ...
