"""How many exports are asked about and downloaded at once, in one call for many."""

from __future__ import annotations

import asyncio
from types import TracebackType

import anyio

from tagferry.wire.turns import Turns

__all__ = ["Admission", "Slots"]

_LEAST = 8


class Slots:
    """Places for downloads, and admissions to the questions whose answer may need a place.

    A job that is seen to be done has links, and links age while they wait for a place. So only a few more
    jobs are asked about than there are places; while enough of them wait, the rest is not hurried.

    Args:
        places: Downloads at once.
    """

    def __init__(self, places: int) -> None:
        self.places = anyio.Semaphore(places)
        self._free = max(_LEAST, 2 * places)
        self._turns = Turns()

    async def admit(self, *, urgent: bool) -> None:
        """Wait for an admission."""
        if self._free:
            self._free -= 1
            return
        ticket = self._turns.join(urgent=urgent)
        try:
            await ticket
        except asyncio.CancelledError:
            if not self._turns.leave(ticket):
                # It was called in the same moment: the turn goes on to the next.
                self.dismiss()
            raise

    def dismiss(self) -> None:
        """Give an admission back."""
        if self._turns.call() is None:
            self._free += 1


class Admission:
    """The way of one export through the slots: asked about, waiting for a place, downloaded.

    As an async context manager it holds a place.
    """

    __slots__ = ("_held", "_slots")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._held = False

    async def ask(self, *, urgent: bool) -> None:
        """Wait until the export may be asked about."""
        if not self._held:
            await self._slots.admit(urgent=urgent)
            self._held = True

    def done(self) -> None:
        """Note that the answer needs no place; may be called at any time."""
        if self._held:
            self._held = False
            self._slots.dismiss()

    async def __aenter__(self) -> None:
        await self._slots.places.acquire()
        self.done()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.places.release()
