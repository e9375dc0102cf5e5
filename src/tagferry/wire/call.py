"""One call of a service: under its quota, with its credential, and with its retries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from tagferry.errors import AuthError, ConfigError, SubmitUnknownError, TagferryError, ThrottledError
from tagferry.events import Emit, Retrying, Throttled
from tagferry.wire.backoff import Backoff
from tagferry.wire.credential import Credential
from tagferry.wire.failure import NOT_SENT
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Reply, Request
from tagferry.wire.quota import Permit
from tagferry.wire.transport import Transport

__all__ = ["Caller", "Intent", "Tally"]

T = TypeVar("T")


class Tally(msgspec.Struct):
    """Counts what was sent."""

    requests: int = 0
    """Requests on the wire, retries included."""
    throttled: int = 0
    """Requests that were answered with "too fast"."""


class Intent(Protocol):
    """What is written down of a request that must not arrive twice, as long as it may have arrived."""

    async def declare(self) -> None:
        """Called when its turn has come, before a byte of it leaves; when this fails, none does."""
        ...

    async def withdraw(self) -> None:
        """Called when it is certain that it changed nothing at the service; it may be declared again."""
        ...


def _always(_: AuthError) -> bool:
    return True


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the calls of one client to one service."""

    transport: Transport
    limiter: Limiter
    credential: Credential
    sign: Callable[[Request, str], Request]
    """Puts the token into a request."""
    renewable: Callable[[AuthError], bool] = _always
    """Whether another token may help against a refusal."""
    backoff: Backoff
    emit: Emit

    async def call(
        self,
        request: Request,
        read: Callable[[Reply], T],
        *,
        urgent: bool = False,
        tally: Tally | None = None,
        lost: Callable[[TagferryError], TagferryError] | None = None,
        intent: Intent | None = None,
    ) -> T:
        """Send a request until it has an answer that `read` accepts, and return what it read.

        Args:
            request: A request that may safely be sent again, unless `lost` is given.
            read: Turns a reply into a value or raises a `TagferryError`. An `AuthError` with a `retry_after`
                means that the service hears nobody for so long; after it, one request goes alone, and when
                that one is refused as well, its error is raised.
            urgent: Whether the request goes before the ones that are not.
            tally: Where to count what is sent for this call.
            lost: For a request that must not arrive twice: turns the failure of one that may have arrived
                into the error that is raised.
            intent: For such a request: told before each time that it is sent, and when it came to nothing. A
                `SubmitUnknownError` says that it may have come to something.

        Raises:
            TagferryError: What `read` or the transport raised, when no retry is left or useful.
        """
        one = _Call(self, request, read, tally or Tally(), lost=lost, intent=intent, urgent=urgent)
        return await one.run()


class _Call(Generic[T]):
    """One call, with what went wrong on its way."""

    def __init__(
        self,
        caller: Caller,
        request: Request,
        read: Callable[[Reply], T],
        tally: Tally,
        *,
        lost: Callable[[TagferryError], TagferryError] | None,
        intent: Intent | None,
        urgent: bool,
    ) -> None:
        self._caller = caller
        self._request = request
        self._read = read
        self._tally = tally
        self._lost = lost
        self._intent = intent
        self._declared = False
        self._urgent = urgent
        self._failure: TagferryError | None = None
        self._failures = 0
        self._since = 0  # when the first of them failed, in ns
        self._counted = False  # whether the present try stands in the budget
        self._renewed = False
        self._silenced = False

    async def run(self) -> T:
        backoff = self._caller.backoff
        while True:
            try:
                return await self._try()
            except TagferryError as error:
                failure = self._failure = error
            # Now and not after the wait: whoever is killed in it has sent nothing.
            await self._withdraw(failure)
            self._since = self._since or backoff.clock.now()
            self._failures += 1
            self._counted = False
            await backoff.pause(failure, self._failures, self._since, functools.partial(self._note, failure))

    def _note(self, failure: TagferryError, delay: float) -> None:
        operation, failures = self._request.operation, self._failures
        self._caller.emit(Retrying(operation=operation, failures=failures, delay=delay, error=failure))

    async def _try(self) -> T:
        while True:
            token, result = await self._exchange()
            if not isinstance(result, TagferryError):
                return result
            await self._withdraw(result)
            if not (isinstance(result, AuthError) and await self._mend(result, token)):
                raise result

    async def _exchange(self) -> tuple[str, T | TagferryError]:
        """Send once, when the quota and the budget allow; return the token and what came of it."""
        caller = self._caller
        while True:
            await caller.credential.value()
            async with caller.limiter.permit(urgent=self._urgent) as permit:
                if self._may_go():
                    await self._declare(permit)
                    # Only now: the token may have been renewed while this request waited for its turn.
                    token = caller.credential.latest
                    self._tally.requests += 1
                    reply = await self._deliver(caller.sign(self._request, token))
                    permit.answered = True
                    return token, self._judge(reply, permit)
                caller.limiter.void(permit)
            assert self._failure is not None
            await caller.backoff.wait_for_room(self._failure, self._since)

    async def _declare(self, permit: Permit) -> None:
        if self._intent is None:
            return
        try:
            await self._intent.declare()
        except BaseException:
            self._caller.limiter.void(permit)
            raise
        self._declared = True

    async def _withdraw(self, failure: TagferryError) -> None:
        if self._intent is not None and self._declared and not isinstance(failure, SubmitUnknownError):
            self._declared = False
            await self._intent.withdraw()

    async def _deliver(self, request: Request) -> Reply:
        try:
            return await self._caller.transport.send(request)
        except TagferryError as error:
            # A client or a session that is closed sends nothing either.
            if self._lost is None or error.code in NOT_SENT or isinstance(error, ConfigError):
                raise
            failure = self._lost(error)
        raise failure

    def _may_go(self) -> bool:
        """Count a try at the moment it is sent; a retry needs a place in the budget."""
        if self._counted:
            return True
        backoff = self._caller.backoff
        now = backoff.clock.now()
        if self._failure is None:
            backoff.budget.note_call(now)
            self._counted = True
        else:
            self._counted = backoff.budget.take(now)
        return self._counted

    def _judge(self, reply: Reply, permit: Permit) -> T | TagferryError:
        """Read a reply, and tell the limiter what it means to the others."""
        limiter = self._caller.limiter
        try:
            value = self._read(reply)
        except ThrottledError as error:
            self._tally.throttled += 1
            limiter.slow_down(error.retry_after)
            self._throttled(error)
            return error
        except AuthError as error:
            # Asked now: the limiter has to hear it before the permit goes back.
            self._silenced = error.retry_after is not None and limiter.silence(permit, error.retry_after)
            if self._silenced:
                self._throttled(error)
            return error
        except TagferryError as error:
            return error
        limiter.recover(permit)
        return value

    def _throttled(self, error: TagferryError) -> None:
        self._caller.emit(Throttled(operation=self._request.operation, wait=error.retry_after))

    async def _mend(self, error: AuthError, token: str) -> bool:
        """Do what may help against a refused token, once; tell whether to send again."""
        renewed = False
        if not self._renewed and (self._silenced or self._caller.renewable(error)):
            self._renewed = True
            renewed = await self._caller.credential.renew(token)
        return renewed or self._silenced
