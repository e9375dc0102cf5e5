"""One batch of accounts, from the question to an outcome for each of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tagferry.errors import ProtocolError, RefusedError, TagferryError, UnavailableError
from tagferry.events import BatchesHalved, OddAnswer, Retrying
from tagferry.lookups.outcome import AccountError, AccountFailed, Answers, Joined, Missing, Verdict, join
from tagferry.lookups.service import LookupService
from tagferry.wire.call import Tally

__all__ = ["Asker"]

_HOPELESS = 300
"""When so many accounts were refused and none was ever accepted, it is not for the accounts."""


class Asker:
    """Asks for batches of accounts; one bad account never fails the others.

    Args:
        service: Whom to ask.
    """

    def __init__(self, service: LookupService) -> None:
        self.tally = Tally()
        """The requests that were sent."""
        self._service = service
        self._size = service.batch
        self._accepted = False
        self._refused = 0
        self._told: set[str] = set()

    async def ask(self, accounts: Sequence[str]) -> Answers:
        """Return an outcome for each of some distinct accounts, in their order.

        Raises:
            TagferryError: A failure that is not for single accounts, and that no retry mends.
        """
        answers = await self._ask(accounts)
        if isinstance(answers, Answers):
            return answers
        if answers.again:
            await self._ask_again(answers)
        return answers.in_order(accounts)

    async def _ask(self, accounts: Sequence[str]) -> Answers | Joined:
        if len(accounts) <= self._size:
            try:
                answer = await self._service.ask(accounts, self.tally)
            except (RefusedError, ProtocolError) as error:
                failure = error
            else:
                self._accepted = True
                joined = join(accounts, answer, self._service.judge)
                if isinstance(joined, Joined):
                    self._tell(joined.oddities)
                return joined
            if alone := self._judge(accounts, failure):
                return alone
        return await self._ask_halves(accounts)

    async def _ask_halves(self, accounts: Sequence[str]) -> Joined:
        whole = Joined({}, {})
        middle = (len(accounts) + 1) // 2
        for half in accounts[:middle], accounts[middle:]:
            _merge(whole, await self._ask(half))
        return whole

    def _judge(self, accounts: Sequence[str], error: RefusedError | ProtocolError) -> Joined | None:
        """Return what a refusal means to a single account; None when fewer accounts are to be asked for."""
        several = len(accounts) > 1
        if several and self._service.is_too_large(error):
            self._halve(len(accounts))
            return None
        if not self._service.is_spoilt(error):
            raise error
        if several:
            return None
        self._refused += 1
        if self._refused >= _HOPELESS and not self._accepted:
            msg = f"{self._refused} accounts were refused one by one, and none was accepted: {error.message}"
            hint = "check that the accounts are of this application, and its settings"
            raise RefusedError(msg, service=error.service, code=error.code, hint=hint)
        account = accounts[0]
        if isinstance(error.code, int) and self._service.judge(error.code) is Verdict.MISSING:
            return Joined({account: Missing(account)}, {})
        return Joined({account: AccountFailed(account, AccountError(error.code, error.message))}, {})

    def _halve(self, asked: int) -> None:
        # Rounded up, as the first half is, or that one would be too large again.
        if (size := (asked + 1) // 2) < self._size:
            self._size = size
            self._service.emit(BatchesHalved(kind=self._service.kind, size=size))

    async def _ask_again(self, joined: Joined) -> None:
        """Ask again for accounts that may be answered later, until they are or there is no use."""
        failures, since = 0, self._service.backoff.clock.now()
        while joined.again:
            failures += 1
            error = self._unanswered(joined.again)
            note = functools.partial(self._note, error, failures)
            try:
                await self._service.backoff.pause(error, failures, since, note)
            except UnavailableError:
                break
            accounts = list(joined.again)
            joined.again = {}
            _merge(joined, await self._ask(accounts))
        for account, reason in joined.again.items():
            joined.outcomes[account] = AccountFailed(account, reason)

    def _unanswered(self, again: dict[str, AccountError]) -> UnavailableError:
        reason = next(iter(again.values()))
        who = "an account" if len(again) == 1 else f"{len(again)} accounts"
        msg = f"no answer came for {who} of a batch: {reason.message}"
        return UnavailableError(msg, service=self._service.name, code=reason.code)

    def _note(self, error: TagferryError, failures: int, delay: float) -> None:
        operation = self._service.kind
        self._service.emit(Retrying(operation=operation, failures=failures, delay=delay, error=error))

    def _tell(self, oddities: Sequence[str]) -> None:
        """Warn of each oddity once: a service that has one has it in every answer."""
        for what in oddities:
            if what not in self._told:
                self._told.add(what)
                self._service.emit(OddAnswer(kind=self._service.kind, what=what))


def _merge(whole: Joined, more: Answers | Joined) -> None:
    if isinstance(more, Answers):
        whole.outcomes.update((one.account, one) for one in more.outcomes)
    else:
        whole.outcomes |= more.outcomes
        whole.again |= more.again
