"""What one more costs: exports that wait together, from ten to ten thousand, and accounts of one fetch."""

from __future__ import annotations

import itertools
import json
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.companion import companion
from benchmarks.compare import MB, Contestant, Settings, measure
from benchmarks.download import floor, loop_name
from benchmarks.figures import Aim, Figure, Table, Usage
from benchmarks.lookups import OURS, measure_lookups, task_at
from benchmarks.process import BenchmarkError

__all__ = ["Size", "Step", "aims_of", "run"]

_EXPORTS, _QUICK_EXPORTS = (10, 100, 1_000, 10_000), (10, 100)
_ACCOUNTS, _QUICK_ACCOUNTS, _LARGE = (100_000, 1_000_000), (2_000, 20_000), 10_000_000
_POLLS = 500
"""Polls a second: with the documented two, ten thousand exports would take three hours."""
_JOB_SECONDS, _QUICK_JOB_SECONDS = 30, 0
"""So long that all ten thousand wait together."""
_CONNECTIONS = 100
_MOST_ROUNDS = 3
_PEAKS = {(10_000, "exports"): 150, (1_000_000, "accounts"): 100, (10_000_000, "accounts"): 200}
"""The peak memory in MB, at most."""
_DEARER = 1.5
"""The CPU time of one more at a size over that at a tenth of it, at most."""
_COLUMNS = ("", "wall s", "CPU s", "peak MB", "CPU of one more, µs", "memory of one more, bytes")


@dataclass(frozen=True, slots=True)
class Size:
    """Runs of one size."""

    count: int
    what: str
    runs: Sequence[Usage]

    @property
    def text(self) -> str:
        return f"{self.count:,} {self.what}" if self.count else "the imports alone"


@dataclass(frozen=True, slots=True)
class Step:
    """From one size to the next."""

    before: Size
    after: Size

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that one more takes."""
        return self._more(operator.attrgetter("cpu"))

    @property
    def memory(self) -> float:
        """Bytes that one more takes at the peak."""
        return self._more(operator.attrgetter("rss"))

    def _more(self, of: Callable[[Usage], float]) -> float:
        before, after = (Figure.of(map(of, size.runs)).median for size in (self.before, self.after))
        return (after - before) / (self.after.count - self.before.count)


def run(settings: Settings) -> Table:
    """Measure whole processes at growing sizes."""
    rounds = 1 if settings.quick else min(settings.rounds, _MOST_ROUNDS)
    base = Size(0, "", [measure(floor(settings.loop), settings.directory) for _ in range(rounds)])
    exports, accounts = _exports(settings, rounds), _accounts(settings, rounds)
    ways = [list(map(Step, [base, *sizes], sizes)) for sizes in (exports, accounts)]
    return Table(
        "growth",
        f"whole processes of ours, {rounds} runs each: median (lowest-highest)",
        _COLUMNS,
        [_row(base), *(_row(step.after, step) for steps in ways for step in steps)],
        aims_of(ways, judged=not settings.quick),
        [asdict(size) for size in (base, *exports, *accounts)],
        [
            "of one more: the difference to the row before, or for the first ones to the imports alone",
            f"exports of ten rows, {_POLLS} polls/s in place of the documented two, from poll to synced file",
            "accounts: from the emulator, with output and ledger; 10,000,000 of them with --large",
        ],
    )


def _exports(settings: Settings, rounds: int) -> list[Size]:
    counts, seconds = (_QUICK_EXPORTS, _QUICK_JOB_SECONDS) if settings.quick else (_EXPORTS, _JOB_SECONDS)
    sizes: list[Size] = []
    for count in counts:
        sizes.append(Size(count, "exports", [_export(settings, count, seconds) for _ in range(rounds)]))
        print(f"  {sizes[-1].text}", file=sys.stderr, flush=True)
    return sizes


def _export(settings: Settings, count: int, seconds: float) -> Usage:
    def check(out: Path, printed: str) -> None:
        files = sum(1 for _ in out.iterdir())
        if (files, printed.strip()) != (count, str(count)):
            raise BenchmarkError(f"{files} files and {printed.strip()} done, of {count} exports")

    with companion("benchmarks.growth_server", str(_POLLS), str(seconds)) as server:
        words = (server.line, f"{_POLLS}/s", str(count), "{out}", loop_name(settings.loop))
        command = (sys.executable, "-m", "benchmarks.growth_exports", *words)
        usage = measure(Contestant(OURS, command, check), settings.directory)
        counted: Mapping[str, int] = json.loads(server.end())
    if counted["refused"]:
        raise BenchmarkError(f"the service refused {counted['refused']} polls, {counted['most']} in a second")
    return usage


def _accounts(settings: Settings, rounds: int) -> list[Size]:
    counts = _QUICK_ACCOUNTS if settings.quick else _ACCOUNTS
    sizes: list[Size] = []
    with companion("benchmarks.lookups_server") as server:
        for count in (*counts, _LARGE) if settings.large else counts:
            task = task_at(server.line, count, _CONNECTIONS, settings)
            # Once is enough for what takes minutes.
            times = 1 if count == _LARGE else rounds
            runs = [measure_lookups(OURS, task, settings.directory).usage for _ in range(times)]
            sizes.append(Size(count, "accounts", runs))
            print(f"  {sizes[-1].text}", file=sys.stderr, flush=True)
    return sizes


def _row(size: Size, step: Step | None = None) -> list[str]:
    return [
        size.text,
        Figure.of(run.wall for run in size.runs).text(),
        Figure.of(run.cpu for run in size.runs).text(),
        Figure.of(run.rss for run in size.runs).text(MB, 0),
        f"{step.cpu * 1e6:.1f}" if step else "",
        f"{step.memory:.0f}" if step else "",
    ]


def aims_of(ways: Sequence[Sequence[Step]], *, judged: bool) -> list[Aim]:
    """Return what is aimed at: of each way to grow no step dearer than the one before, and bounded peaks."""
    aims: list[Aim] = []
    for steps in ways:
        for small, large in itertools.pairwise(steps):
            # What differs by less than chance does says nothing about growth.
            if small.cpu > 0:
                text = f"CPU of one more up to {large.after.text} / up to {small.after.text}"
                aims.append(Aim(text, large.cpu / small.cpu, _DEARER, judged))
        for size in (step.after for step in steps):
            if at_most := _PEAKS.get((size.count, size.what)):
                peak = max(run.rss for run in size.runs) / MB
                aims.append(Aim(f"{size.text}, highest peak in MB", peak, at_most, judged))
    return aims
