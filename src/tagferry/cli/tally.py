"""What is known of a fetch while it goes on, gathered from its events; pure."""

from __future__ import annotations

from tagferry.cli.pace import Pace
from tagferry.cli.text import plain, show_count, show_seconds
from tagferry.errors import ThrottledError
from tagferry.events import (
    BatchesHalved,
    Checkpointed,
    Converting,
    Event,
    Fetching,
    FetchPlanned,
    OddAnswer,
    Retrying,
    Throttled,
)

__all__ = ["FetchTally"]

_COUNTS = ("tagged", "missing", "failed", "requests", "throttled")
_WATCHED = ("missing", "failed", "throttled", "retried")


class FetchTally:
    """The state of one fetch. All times are seconds on one clock."""

    def __init__(self) -> None:
        self.plan: FetchPlanned | None = None
        """What is to be done, as soon as the input is read."""
        self.retried = 0
        self.throttled = 0
        self._latest: Fetching | None = None
        self._saved = 0
        self._pace = Pace()

    @property
    def done(self) -> int:
        """Accounts that are answered, or failed for good."""
        if (latest := self._latest) is not None:
            return max(latest.tagged + latest.missing + latest.failed, self._saved)
        return max(self.plan.distinct - self.plan.left if self.plan else 0, self._saved)

    @property
    def total(self) -> int:
        """Distinct accounts of the input; 0 while it is read."""
        return self.plan.distinct if self.plan else 0

    def counts(self, seconds: float) -> dict[str, int | float]:
        """Return what was counted, by the names of the JSON document."""
        counts: dict[str, int | float] = {"seconds": seconds}
        if self.plan is not None:
            counts |= {"accounts": self.plan.accounts, "distinct": self.plan.distinct}
        if self._latest is not None:
            counts |= {name: getattr(self._latest, name) for name in _COUNTS}
        return counts

    def take(self, event: Event, now: float) -> str | None:
        """Note an event; return it in words when it is news."""
        match event:
            case FetchPlanned():
                self.plan = event
                self._pace.note(now, self.done)
                return _announce(event)
            case Fetching():
                self._latest = event
                self._pace.note(now, self.done)
            case Checkpointed(accounts=accounts):
                self._saved = accounts
            case Retrying(error=ThrottledError()):
                pass  # told by the event that says so
            case Retrying():
                self.retried += 1
                when = "at once" if event.delay < 0.1 else f"in {show_seconds(event.delay)}"
                return f"trying again {when}: {plain(event.error.message)}"
            case Throttled():
                self.throttled += 1
                wait = f", and silent for {show_seconds(event.wait)}" if event.wait else ""
                return f"the service says that it is asked too often: slower for a while{wait}"
            case _:
                return _word(event)
        return None

    def rate(self, now: float) -> float | None:
        """Return accounts a second over the last seconds."""
        return self._pace.rate(now, self.done)

    def eta(self, now: float) -> float | None:
        """Return the seconds that are left at this rate; None when nothing tells, or nothing is left."""
        return self._pace.eta(now, self.done, self.total)

    def progress(self, now: float) -> str:
        """Return how far it is, in a few words."""
        if self.plan is None:
            return "reading the accounts"
        if not self.total:
            return "no accounts to ask for"
        text = f"{self.done:,} of {show_count(self.total, 'account')}"
        return f"{text} · {rate:,.0f}/s" if (rate := self.rate(now)) else text

    def troubles(self, *, zeros: bool = False) -> str:
        """Return the counts that a user keeps an eye on; those that are 0 on request."""
        counts = dict.fromkeys(_WATCHED, 0) | self.counts(0) | {"retried": self.retried}
        # What the service says is known before the next report of the counts.
        counts["throttled"] = max(self.throttled, counts["throttled"])
        shown = [name for name in _WATCHED if counts[name] or (zeros and name != "retried")]
        return " · ".join(f"{counts[name]:,} {name}" for name in shown)

    def sum_up(self, now: float) -> str:
        """Return the state in one line."""
        percent = f"{100 * self.done // self.total}%" if self.total else ""
        left = "" if (eta := self.eta(now)) is None else f"about {show_seconds(eta)} left"
        return " · ".join(filter(None, [self.progress(now), percent, self.troubles(), left]))


def _announce(plan: FetchPlanned) -> str:
    text = show_count(plan.distinct, "account")
    if not plan.distinct:
        return text
    if plan.accounts > plan.distinct:
        text += f" ({show_count(plan.accounts - plan.distinct, 'repeat')} dropped)"
    if plan.left < plan.distinct:
        text += f", {plan.left:,} of them left"
    return f"{text}: {show_count(plan.calls, 'call')}, at least {show_seconds(max(plan.seconds, 1))}"


def _word(event: Event) -> str | None:
    """Return what to say about an event that changes no count."""
    match event:
        case OddAnswer():
            return f"an answer was not as documented: {plain(event.what)}"
        case BatchesHalved():
            return f"calls have at most {show_count(event.size, 'account')} from now on"
        case Converting():
            return f"all is answered; making {plain(event.output)}"
        case _:
            return None
