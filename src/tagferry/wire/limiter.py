"""Waits until a quota lets the next request go."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio

from tagferry.wire.clock import Clock
from tagferry.wire.quota import SECOND, Permit, Quota, Rate
from tagferry.wire.turns import Ticket, Turns

__all__ = ["Limiter", "shared_limiter"]

_LOOK_AGAIN = 0.05
"""Seconds after which a waiter looks again although nobody woke it: another event loop of this process
may have given a token back."""

_shared: dict[Hashable, tuple[Quota, weakref.WeakSet[Limiter]]] = {}
_guard = threading.Lock()


def shared_limiter(key: Hashable, rate: Rate, clock: Clock) -> Limiter:
    """Return a limiter of the one quota of this process for a key; of several rates the lowest is kept.

    A quota outlives its limiters until it has rested, so that whoever comes next finds what they used up.
    """
    with _guard:
        if key not in _shared:
            _forget(clock.now())
            _shared[key] = (Quota(rate), weakref.WeakSet())
        quota, users = _shared[key]
        quota.lower(rate)
        limiter = Limiter(quota, clock)
        users.add(limiter)
        return limiter


def _forget(now: int) -> None:
    """Drop the quotas that nobody uses and that have rested: each client may bring a key of its own."""
    for key in [key for key, (quota, users) in _shared.items() if not users and quota.is_rested(now)]:
        del _shared[key]


class Limiter:
    """Lets requests go in the order of their arrival, when their quota allows.

    Two urgent requests and one of the others take turns when both wait, so that neither starves the other.

    Args:
        quota: The quota to keep, possibly shared with limiters of other event loops.
        clock: Time and sleep.
    """

    def __init__(self, quota: Quota, clock: Clock) -> None:
        self._quota = quota
        self._clock = clock
        self._turns = Turns()
        self._head: Ticket | None = None
        self._changed = anyio.Event()

    def __repr__(self) -> str:
        return f"Limiter({self._quota.rate}, {self.waiting} waiting, {self._quota.out} on the wire)"

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._turns) + (self._head is not None)

    def permit(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Permit]:
        """Hold a token for one request on the wire; the block ends when its response has come.

        When the block ends with an exception or a cancellation and the permit was not marked as answered,
        no response came: the token is kept longer.
        """
        return _Block(self, urgent=urgent)

    async def take(self, *, urgent: bool = False) -> Permit:
        """Wait for a token and take it; `give_back` must follow, whatever happens."""
        return self._take_at_once() or await self._wait(urgent=urgent)

    def give_back(self, permit: Permit) -> None:
        """Give a token back: its response has come if it is marked as answered, or will not come."""
        with _guard:
            self._quota.give_back(permit, self._clock.now(), answered=permit.answered)
        self._changed.set()

    def void(self, permit: Permit) -> None:
        """Take a permit back at once, since its request is not sent after all."""
        with _guard:
            self._quota.void(permit)

    def slow_down(self, wait: float | None = None) -> None:
        """Tell the quota that the service throttles; wait in seconds."""
        with _guard:
            self._quota.slow_down(self._clock.now(), wait)

    def silence(self, permit: Permit, wait: float) -> bool:
        """Let nothing go for a wait in seconds, then one request alone; see `Quota.silence`."""
        with _guard:
            return self._quota.silence(permit, self._clock.now(), wait)

    def hold(self, wait: float) -> None:
        """Let nothing go for a wait in seconds."""
        with _guard:
            self._quota.hold(self._clock.now() + int(wait * SECOND))

    def recover(self, permit: Permit | None = None) -> None:
        """Tell the quota that a call was accepted."""
        with _guard:
            self._quota.recover(self._clock.now(), permit)

    def _take_at_once(self) -> Permit | None:
        """Take a token when one is free and nobody waits for it: most requests, at a low load."""
        if self._head is not None:
            return None
        with _guard:
            now = self._clock.now()
            at = self._quota.ready_at(now)
            return self._quota.take(now) if at is not None and at <= now else None

    async def _wait(self, *, urgent: bool) -> Permit:
        ticket = self._turns.join(urgent=urgent)
        if self._head is None:
            self._next()
        try:
            await ticket
            return await self._take_as_head()
        finally:
            # Whatever happened to this waiter, the ones behind it go on.
            if self._head is ticket:
                self._next()
            else:
                self._turns.leave(ticket)

    async def _take_as_head(self) -> Permit:
        while True:
            # Only the head waits for it. A new one each time, since an event belongs to one event loop.
            changed = self._changed = anyio.Event()
            with _guard:
                now = self._clock.now()
                at = self._quota.ready_at(now)
                if at is not None and at <= now:
                    return self._quota.take(now)
            with anyio.move_on_after(_LOOK_AGAIN if at is None else (at - now) / SECOND):
                await changed.wait()

    def _next(self) -> None:
        """Give the turn to the next waiter."""
        self._head = self._turns.call()


class _Block:
    """Holds a token while a block runs; as a generator it would take twice the time of all the rest."""

    __slots__ = ("_limiter", "_permit", "_urgent")

    def __init__(self, limiter: Limiter, *, urgent: bool) -> None:
        self._limiter = limiter
        self._urgent = urgent

    async def __aenter__(self) -> Permit:
        self._permit = await self._limiter.take(urgent=self._urgent)
        return self._permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        permit = self._permit
        permit.answered = permit.answered or kind is None
        self._limiter.give_back(permit)
