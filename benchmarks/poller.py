"""Waiting for many exports under the documented 2 polls a second, against an oracle and common loops."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import Settings
from benchmarks.figures import Aim, Figure, Table
from benchmarks.process import run as run_process

__all__ = ["PEERS", "run"]

PEERS = ("tenacity", "backoff")
"""The names of their packages."""
_OURS, _PROMPT, _QUICKEST = "tagferry", "oracle, ends first", "oracle, starts first"
_RATE = 2
_COLUMNS = (
    "",
    "exports",
    "all known after s",
    "each known after s",
    "late s",
    "polls an export",
    "most polls in a second",
)

_ALL_AT_MOST, _EACH_AT_MOST = 1.2, 1.35
"""Bounds of our own, near to what was found: virtual time passes alike on every machine."""
_NOTES = (
    "a sixth of the exports takes 2.7 times the median and more; a poll and its answer take 50 to 150 ms",
    "the first poll starts a job; all ways wait at our limiter, which keeps the quota for each of them",
    "each: from the start of the run, on average; late: after the end of its job, on average",
    "the delays of ours, tenacity and backoff grow to 30 s",
    "to start a thousand exports takes 550 s; loops and one oracle do so first, and no file comes meanwhile",
    "the other oracle looks at each job as it ends, and for that starts the last ones late, which end late",
    "ours goes between them, two first polls for one other; many others come too soon when jobs are slow",
    "with ten exports the quota is idle: `every 5 s` knows sooner, by half as many polls again as ours",
)

_Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""What each way to wait took, run by run."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """Exports that are asked for at once."""

    exports: int
    median: int
    """Of their durations, in seconds."""

    @property
    def text(self) -> str:
        return f"{self.exports:,} of {self.median} s"


_SCENES = (_Scene(1000, 60), _Scene(1000, 300), _Scene(10, 60))
_QUICK_SCENES = (_Scene(200, 60), _Scene(10, 60))


def run(settings: Settings) -> Table:
    """Let every way wait for the same exports, in virtual time."""
    scenes, rounds = (_QUICK_SCENES, 1) if settings.quick else (_SCENES, settings.rounds)
    found = [(scene, _measure(scene, rounds)) for scene in scenes]
    return Table(
        "poller",
        f"log-normal durations, {_RATE} polls/s, virtual time, {rounds} draws: median (lowest-highest)",
        _COLUMNS,
        [_row(name, scene, runs[name]) for scene, runs in found for name in runs],
        [aim for scene, runs in found for aim in _aims(scene, runs, judged=not settings.quick)],
        [{"scene": scene.text, "runs": runs} for scene, runs in found],
        _notes(found[0][1]),
    )


def _measure(scene: _Scene, rounds: int) -> _Runs:
    words = [str(scene.exports), str(scene.median), str(rounds)]
    with tempfile.TemporaryDirectory(prefix="tagferry-bench-") as directory:
        _, printed = run_process([sys.executable, "-m", "benchmarks.poller_task", *words], Path(directory))
    print(f"  {scene.text}", file=sys.stderr, flush=True)
    runs: _Runs = json.loads(printed)
    return runs


def _column(runs: Sequence[Mapping[str, float]], what: str) -> list[float]:
    return [one[what] for one in runs]


def _row(name: str, scene: _Scene, runs: Sequence[Mapping[str, float]]) -> list[str]:
    def figure(what: str, scale: float, digits: int) -> str:
        return Figure.of(_column(runs, what)).text(scale, digits)

    return [
        name,
        scene.text,
        figure("all", 1, 0),
        figure("each", 1, 0),
        figure("late", 1, 1),
        figure("polls", scene.exports, 1),
        figure("most", 1, 0),
    ]


def _aims(scene: _Scene, runs: _Runs, *, judged: bool) -> list[Aim]:
    def aim(what: str, text: str, oracle: str, at_most: float) -> Aim:
        pairs = zip(runs[_OURS], runs[oracle], strict=True)
        ratio = Figure.of(ours[what] / best[what] for ours, best in pairs).median
        return Aim(f"ours / {oracle}, {scene.text}: {text}, median of the draws", ratio, at_most, judged)

    return [
        Aim(
            f"ours, {scene.text}: most polls in any second", max(_column(runs[_OURS], "most")), _RATE, judged
        ),
        aim("all", "until all are known", _QUICKEST, _ALL_AT_MOST),
        aim("each", "until each is known", _PROMPT, _EACH_AT_MOST),
    ]


def _notes(runs: _Runs) -> list[str]:
    missing = [name for name in PEERS if not any(way.startswith(name) for way in runs)]
    return [*_NOTES, *(f"{name} is not installed" for name in missing)]
