"""One call of a service: under its quota, with its credential, and with its retries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from tagferry.errors import AuthError, TagferryError, ThrottledError
from tagferry.events import Emit, Retrying, Throttled
from tagferry.wire.backoff import Backoff
from tagferry.wire.credential import Credential
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Reply, Request
from tagferry.wire.transport import Transport

__all__ = ["Caller"]

T = TypeVar("T")


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the calls of one client to one service."""

    transport: Transport
    limiter: Limiter
    credential: Credential
    authorize: Callable[[str], Mapping[str, str]]
    """Turns the token into request headers."""
    backoff: Backoff
    emit: Emit

    async def call(self, request: Request, read: Callable[[Reply], T], *, urgent: bool = False) -> T:
        """Send a request until it has an answer that `read` accepts, and return what it read.

        Args:
            request: A request that may safely be sent again.
            read: Turns a reply into a value or raises a `TagferryError`.
            urgent: Whether the request goes before the ones that are not.

        Raises:
            TagferryError: What `read` or the transport raised, when no retry is left or useful.
        """
        since = self.backoff.clock.now()
        self.backoff.budget.note_call(since)
        failures = 0
        while True:
            try:
                return await self._send(request, read, urgent=urgent, renew=True)
            except TagferryError as error:
                failure = error
            failures += 1
            note = functools.partial(self._note, request, failure, failures)
            await self.backoff.pause(failure, failures, since, note)

    def _note(self, request: Request, error: TagferryError, failures: int, delay: float) -> None:
        self.emit(Retrying(operation=request.operation, failures=failures, delay=delay, error=error))

    async def _send(self, request: Request, read: Callable[[Reply], T], *, urgent: bool, renew: bool) -> T:
        await self.credential.value()
        async with self.limiter.permit(urgent=urgent):
            # Only now: the token may have been renewed while this request waited for its turn.
            token = self.credential.latest
            reply = await self.transport.send(request, {**request.headers, **self.authorize(token)})
        try:
            value = read(reply)
        except ThrottledError as error:
            self.limiter.slow_down(error.retry_after)
            self.emit(Throttled(operation=request.operation, wait=error.retry_after))
            raise
        except AuthError:
            if not (renew and await self.credential.renew(token)):
                raise
        else:
            self.limiter.recover()
            return value
        return await self._send(request, read, urgent=urgent, renew=False)
