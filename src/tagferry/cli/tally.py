"""What is known of a fetch while it goes on, gathered from its events; pure."""

from __future__ import annotations

from collections import deque

from tagferry.cli.text import plain, show_seconds
from tagferry.events import (
    BatchesHalved,
    Event,
    Fetching,
    FetchPlanned,
    OddAnswer,
    Retrying,
    Throttled,
)

__all__ = ["FetchTally"]

_WINDOW = 10.0
"""Seconds over which the rate is taken."""


class FetchTally:
    """The state of one fetch."""

    def __init__(self) -> None:
        self.plan: FetchPlanned | None = None
        self.latest: Fetching | None = None
        self.retried = 0
        self._points: deque[tuple[float, int]] = deque()

    @property
    def done(self) -> int:
        """Accounts that are answered, or failed for good."""
        if (latest := self.latest) is not None:
            return latest.tagged + latest.missing + latest.failed
        return self.plan.distinct - self.plan.left if self.plan else 0

    def take(self, event: Event, now: float) -> str | None:
        """Note an event at a time in seconds; return it in words when it is news."""
        match event:
            case FetchPlanned():
                self.plan = event
                self._points.append((now, self.done))
                return _announce(event)
            case Fetching():
                self.latest = event
                self._points.append((now, self.done))
                while len(self._points) > 2 and self._points[1][0] < now - _WINDOW:
                    self._points.popleft()
            case Retrying():
                self.retried += 1
                return f"trying again in {show_seconds(event.delay)}: {plain(event.error.message)}"
            case Throttled():
                wait = f"; silent for {show_seconds(event.wait)}" if event.wait else ""
                return f"the service says it is asked too often: slowing down{wait}"
            case OddAnswer():
                return f"an answer was not as documented: {plain(event.what)}"
            case BatchesHalved():
                return f"calls have at most {event.size} accounts from now on"
            case _:
                pass
        return None

    def rate(self, now: float) -> float | None:
        """Return accounts a second over the last seconds."""
        if not self._points or now <= self._points[0][0]:
            return None
        return (self.done - self._points[0][1]) / (now - self._points[0][0])

    def eta(self, now: float) -> float | None:
        """Return the seconds that are left at this rate."""
        rate = self.rate(now)
        if not rate or self.plan is None:
            return None
        return (self.plan.distinct - self.done) / rate

    def sum_up(self, now: float) -> str:
        """Return the state in one line."""
        if self.plan is None:
            return "reading the accounts"
        total = self.plan.distinct
        percent = f" ({100 * self.done // total}%)" if total else ""
        facts = [f"{self.done:,} of {total:,} accounts{percent}"]
        if rate := self.rate(now):
            facts.append(f"{rate:,.0f}/s")
        if (latest := self.latest) is not None:
            counts = {"missing": latest.missing, "failed": latest.failed, "throttled": latest.throttled}
            facts += [f"{count:,} {name}" for name, count in counts.items() if count]
        if self.done < total and (eta := self.eta(now)) is not None:
            facts.append(f"about {show_seconds(eta)} left")
        return " · ".join(facts)


def _announce(plan: FetchPlanned) -> str:
    repeats = f" ({plan.accounts - plan.distinct:,} repeats dropped)" if plan.accounts > plan.distinct else ""
    text = f"{plan.distinct:,} accounts{repeats}"
    if plan.left < plan.distinct:
        text += f", {plan.left:,} of them left"
    return f"{text}: {plan.calls:,} calls, at least {show_seconds(max(plan.seconds, 1))}"
