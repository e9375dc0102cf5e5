"""Who comes next, of those who wait for the same thing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

__all__ = ["Ticket", "Turns"]

Ticket = asyncio.Future[None]
"""Done when its turn has come. Thousands may wait, and an event weighs six times as much as this."""


class Turns:
    """Two lanes of waiters, each served in order of arrival.

    When both wait they take turns, so that neither starves the other.
    """

    def __init__(self) -> None:
        self._lanes: tuple[OrderedDict[Ticket, None], OrderedDict[Ticket, None]]
        self._lanes = (OrderedDict(), OrderedDict())
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def join(self, *, urgent: bool) -> Ticket:
        """Wait at the end of a lane."""
        ticket = asyncio.get_running_loop().create_future()
        self._lanes[0 if urgent else 1][ticket] = None
        return ticket

    def leave(self, ticket: Ticket) -> bool:
        """Give up waiting; tell whether the ticket was still waiting."""
        return any(lane.pop(ticket, self) is None for lane in self._lanes)

    def call(self) -> Ticket | None:
        """Call the next ticket, if anyone waits."""
        first, second = self._lanes[self._next], self._lanes[1 - self._next]
        lane = first or second
        if not lane:
            return None
        self._next = 1 if lane is self._lanes[0] else 0
        ticket = lane.popitem(last=False)[0]
        if not ticket.done():
            ticket.set_result(None)
        return ticket
