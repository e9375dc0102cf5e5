"""Waits before something is tried again, or gives up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tagferry.errors import TagferryError
from tagferry.wire.clock import Clock
from tagferry.wire.quota import SECOND
from tagferry.wire.retry import RetryBudget, RetryPolicy

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """The waits between the tries of one service's calls, or of its transfers."""

    policy: RetryPolicy
    budget: RetryBudget
    clock: Clock
    chance: Callable[[], float]

    async def pause(
        self, error: TagferryError, failures: int, since: int, note: Callable[[float], None]
    ) -> None:
        """Wait before the next try, and until the budget has a place for it.

        Args:
            error: What went wrong.
            failures: How many tries failed in a row, this one included.
            since: When the first of them failed, in ns.
            note: Told the wait in seconds before it begins.

        Raises:
            TagferryError: The error itself, when it is time to give up.
        """
        delay = self.policy.delay(error, failures, self.chance())
        if delay is None:
            raise error
        note(delay)
        await self.clock.sleep(delay)
        await self.wait_for_room(error, since)

    async def wait_for_room(self, error: TagferryError, since: int) -> None:
        """Wait until the budget has a place, which the sender takes when it sends.

        Raises:
            TagferryError: The error itself, when it would take too long.
        """
        while wait := self.budget.wait(self.clock.now()) / SECOND:
            # Each looks again at a time of its own: were all to look as soon as there may be room, those who
            # began together would stay together, and a service that is back would hear nobody for a minute.
            wait *= 2 - self.chance()
            # All retries share one budget; one that is too far behind in the queue gives up.
            if (self.clock.now() - since) / SECOND + wait > self.policy.patience:
                raise error
            await self.clock.sleep(wait)
