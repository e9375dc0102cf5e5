"""The arithmetic of a comparison: medians, spreads, and ratios pair by pair. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Aim", "Figure", "Pair", "Pairing", "Table", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one whole process took, its children included."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of user and system time."""
    rss: float
    """Peak resident memory of the largest process, in bytes."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of ours and the run of the peer right after it."""

    ours: Usage
    peer: Usage


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its spread."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """Return the median of values with the smallest and the largest.

        Raises:
            ValueError: There are no values.
        """
        ordered = sorted(values)
        if not ordered:
            msg = "no values to take a median of"
            raise ValueError(msg)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Return it as ``median (low-high)``."""
        median, low, high = (f"{value / scale:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ({low}-{high})"


@dataclass(frozen=True, slots=True)
class Pairing:
    """Alternating runs of ours and of one peer."""

    peer: str
    pairs: Sequence[Pair]

    def ratio(self, of: Callable[[Usage], float]) -> Figure:
        """Return ours over the peer's: a ratio for each pair, then their median.

        A machine that is slower for a while slows both runs of a pair, so it does not move the ratio.
        """
        return Figure.of(of(pair.ours) / of(pair.peer) for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound that a benchmark is to keep."""

    text: str
    value: float
    at_most: float
    judged: bool = True
    """False for a smoke, whose sizes say nothing about speed."""

    @property
    def verdict(self) -> str:
        """Whether the bound is kept, in one word or two."""
        if not self.judged:
            return "not judged"
        return "met" if self.value <= self.at_most else "MISSED"


@dataclass(frozen=True, slots=True)
class Table:
    """What one benchmark found."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    aims: Sequence[Aim]
    raw: object
    """Every single run, for the JSON file."""
    notes: Sequence[str] = ()
