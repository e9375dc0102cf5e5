"""How many calls a service allows in a time, and when the next one may go.

The promise: in any period, as the *server* counts it, at most ``calls`` calls arrive, whatever the
network does. A call takes one of ``calls`` tokens, and the token comes back one period (and a guard for
clock drift) after the *response* to that call. A call arrives before its response leaves, so of any
``calls + 1`` calls two share a token and arrive more than a period apart. The price is a use of
1 / (1 + round trip / period); releasing tokens by send time would be faster and wrong.
"""

from __future__ import annotations

import re
from collections import deque

import msgspec

from tagferry.errors import ConfigError

__all__ = ["Permit", "Quota", "Rate"]

SECOND = 1_000_000_000
GUARD = 2_000_000
"""Kept beyond the period, in ns: server and client clocks drift apart, and timers round."""
QUARANTINE = 4 * SECOND
"""Kept beyond the period, in ns, when no response came: the request may still be on its way."""
_SPACING = 0.7
"""In the first period, sends are at least this part of ``period / calls`` apart: a start is no burst."""
_CATCH_UP = 0.1
"""Later it is this part: tokens set the pace, and what a stall of the network held up is made up for at
once. At 0.7 a stall of 300 ms every 3.3 s cost 5 %: it gathers tokens in a bunch, and while that is spread
out again they lie idle."""
_PAUSE = 3
"""Periods without a send after which there is a start again. All tokens may come in one bunch, and then a
period and a round trip lie between the last of them and the first again."""
_SLOWER = 0.5
_SLOWEST = 1 / 16
_RECOVERY = 15 * SECOND
"""From standstill to the full pace, in ns: time and not calls, so that low rates recover as soon."""
_RATE = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,3})?s")


class Rate(msgspec.Struct, frozen=True):
    """At most so many calls in any period, written as ``"100/s"`` or ``"5/15s"``."""

    calls: int
    period: int = SECOND
    """The period in ns."""

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``"100/s"`` or ``"5/15s"``.

        Raises:
            ConfigError: The text is no rate.
        """
        if match := _RATE.fullmatch(f"{text}".strip()):
            return cls(int(match[1]), int(match[2] or 1) * SECOND)
        msg = f"rate {text!r} is not of the form CALLS/s or CALLS/SECONDSs"
        raise ConfigError(msg, hint="write it like 2/s, 100/s or 5/15s")

    def __str__(self) -> str:
        seconds = self.period // SECOND
        return f"{self.calls}/s" if seconds == 1 else f"{self.calls}/{seconds}s"


class Permit:
    """One token, taken for one request on the wire."""

    __slots__ = ("answered", "slot", "used")

    def __init__(self, slot: int | None) -> None:
        self.used = True
        self.slot = slot  # when the send before this one was due
        self.answered = False
        """Whether the response came, whatever becomes of it."""


class Quota:
    """The tokens of one rate. All times are ns of one monotonic clock, never decreasing.

    Args:
        rate: The rate to keep.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.pace = 1.0
        """The part of the rate in use: it halves when the service throttles and grows back steadily."""
        self._out = 0
        self._returns: deque[int] = deque()  # when each token that came back is free again; sorted
        self._slot: int | None = None  # when the latest send was due
        self._start = 0  # when the first send after a pause was due
        self._latest: Permit | None = None  # what it was taken for
        self._not_before: int | None = None
        self._silent = False
        self._probe: Permit | None = None  # the one call that may go after a silence
        self._slowed: int | None = None
        self._paced = 0  # when the pace changed last

    @property
    def out(self) -> int:
        """Tokens whose request is still on the wire."""
        return self._out

    def is_rested(self, now: int) -> bool:
        """Whether it knows nothing that a new one would not do as well without."""
        if self._out or self._silent or (self._returns and self._returns[-1] > now):
            return False
        if self._not_before is not None and self._not_before > now:
            return False
        return self._slowed is None or now - self._paced >= _RECOVERY

    def lower(self, rate: Rate) -> None:
        """Keep a lower rate from now on; a higher one changes nothing.

        Of two rates that are equal in the long run, the one with fewer calls at once is the lower.
        """
        ours, other = self.rate.calls * rate.period, rate.calls * self.rate.period
        if (other, rate.calls) < (ours, self.rate.calls):
            self.rate = rate

    def ready_at(self, now: int) -> int | None:
        """Return the earliest time for the next send, or None while only a response can tell."""
        while self._returns and self._returns[0] <= now:
            self._returns.popleft()
        if self._probe is not None:
            return None
        at = now
        busy = self._out + len(self._returns) - self.rate.calls
        if busy >= 0:
            if busy >= len(self._returns):
                return None
            at = self._returns[busy]
        if self._slot is not None:
            at = max(at, self._slot + self._spacing)
        return max(at, self._not_before) if self._not_before is not None else at

    def take(self, now: int) -> Permit:
        """Take a token for a request that is sent now; `ready_at` must have said so."""
        # A send that is late by less than a spacing does not move the ones after it.
        due = now if self._slot is None else self._slot + self._spacing
        permit = self._latest = Permit(self._slot)
        if self._slot is None or now - self._slot > _PAUSE * self.rate.period:
            self._start = now
        self._slot = min(now, max(due, now - self._spacing))
        self._out += 1
        if self._silent:
            self._probe = permit
        return permit

    def void(self, permit: Permit) -> None:
        """Take a token back whose request was not sent after all."""
        self._settle(permit)
        # Where another one was sent meanwhile, the next has to keep its distance from that.
        if permit is self._latest:
            self._slot = permit.slot

    def give_back(self, permit: Permit, now: int, *, answered: bool) -> None:
        """Give a token back, once.

        Args:
            permit: What `take` returned.
            now: When the response came, or when the connection was closed without one.
            answered: Whether a response came; without one the request may still reach the server.
        """
        if not self._settle(permit):
            return
        free = now + self.rate.period + GUARD + (0 if answered else QUARANTINE)
        where = len(self._returns)
        while where and self._returns[where - 1] > free:
            where -= 1
        self._returns.insert(where, free)

    def _settle(self, permit: Permit) -> bool:
        if not permit.used:
            return False
        permit.used = False
        self._out -= 1
        if self._probe is permit:
            # It told nothing, or the silence would be over: another one probes.
            self._probe = None
        return True

    def hold(self, until: int) -> None:
        """Send nothing before a time."""
        self._not_before = until if self._not_before is None else max(self._not_before, until)

    def silence(self, permit: Permit, now: int, wait: float) -> bool:
        """Send nothing for a wait in seconds, and then one call alone until it is accepted.

        Returns:
            Whether to try again after it; not if the call that was refused was already that one.
        """
        if not self._silent or permit is self._probe:
            # Calls that were on the wire together are refused together; the first of them says it for all.
            self.hold(now + int(wait * SECOND))
        self._silent = True
        return permit is not self._probe

    def slow_down(self, now: int, wait: float | None = None) -> None:
        """Halve the pace, at most once a period, and send nothing for a wait in seconds."""
        if wait:
            self.hold(now + int(wait * SECOND))
        if self._slowed is None or now - self._slowed >= self.rate.period:
            self._slowed = self._paced = now
            self.pace = max(self.pace * _SLOWER, _SLOWEST)

    def recover(self, now: int, permit: Permit | None = None) -> None:
        """Note a call that was accepted: the pace grows with the time since it changed."""
        if permit is not None and permit is self._probe:
            self._probe, self._silent = None, False
        if self.pace < 1.0:
            self.pace = min(1.0, self.pace + (now - self._paced) / _RECOVERY)
            self._paced = now

    @property
    def _spacing(self) -> int:
        starting = self._slot is None or self._slot - self._start < self.rate.period
        share = 1.0 / self.pace if self.pace < 1.0 else _SPACING if starting else _CATCH_UP
        return int(share * self.rate.period / self.rate.calls)
