"""Limiters side by side, each alone on a service that counts strictly, behind a network with jitter."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.companion import companion
from benchmarks.compare import Settings
from benchmarks.figures import Aim, Figure, Table
from benchmarks.process import BenchmarkError
from benchmarks.process import run as run_process

__all__ = ["PEERS", "rate_of", "run"]

PEERS = ("aiolimiter", "pyrate-limiter", "throttled-py")
"""The names of their packages."""
_OURS = "tagferry"
_RATE = 100
_SCENES: Mapping[str, str] = {"jitter": "0", "jitter and stalls": "3.3"}
"""How often the network stalls, in seconds; 0 is never."""
_SECONDS, _QUICK_SECONDS = 11, 3
"""A bucket that does not count, and three stalls and what is between them."""
_MOST_ROUNDS = 3
_COLUMNS = (
    "",
    "network",
    "accepted a second",
    "of the possible, %",
    "refused",
    "most in any second",
    "CPU s",
)


@dataclass(frozen=True, slots=True)
class _Run:
    """One limiter, alone on a fresh server."""

    name: str
    scene: str
    accepted: Sequence[int]
    """When calls were accepted, in ns."""
    refused: int
    most: int
    """The most arrivals in any sliding second, refused ones too."""
    trip: float
    """The mean round trip, in seconds."""
    cpu: float

    @property
    def share(self) -> float:
        """Its rate as a part of what is possible without the risk of a refusal."""
        return rate_of(self.accepted) / (_RATE / (1 + self.trip))


def rate_of(times: Sequence[int]) -> float:
    """Return the calls in a second, the first hundred left out: a full bucket is no speed.

    Calls may come in bunches of a hundred, of which the end of a run cuts one somewhere. So the time is taken
    from each call to the one that is some hundreds later.

    Args:
        times: When calls were accepted, in ns.
    """
    calls = (len(times) - _RATE - 1) // _RATE * _RATE
    if calls < _RATE:
        raise BenchmarkError(f"{len(times)} accepted calls are too few to tell a rate")
    starts = range(_RATE, min(2 * _RATE, len(times) - calls))
    return calls * 1e9 / statistics.mean(times[start + calls] - times[start] for start in starts)


def run(settings: Settings) -> Table:
    """Let every limiter go as fast as it likes, and see what a strict service makes of it."""
    seconds, rounds = (
        (_QUICK_SECONDS, 1) if settings.quick else (_SECONDS, min(settings.rounds, _MOST_ROUNDS))
    )
    versions = {name: _version(name) for name in (_OURS, *PEERS)}
    names = [name for name, found in versions.items() if found]
    scenes = list(_SCENES)[:1] if settings.quick else list(_SCENES)
    groups: list[list[_Run]] = []
    for scene in scenes:
        fresh: list[list[_Run]] = [[] for _ in names]
        for number in range(1, rounds + 1):
            for group, name in zip(fresh, names, strict=True):
                group.append(_measure(name, scene, seconds))
            print(f"  {number}/{rounds} with {scene}", file=sys.stderr, flush=True)
        groups += fresh
    return Table(
        "limiter",
        f"{_RATE}/s on a strict sliding second, {seconds} s, {rounds} rounds: median (lowest-highest)",
        _COLUMNS,
        [_row(group, versions) for group in groups],
        [
            aim
            for group in groups
            if group[0].name == _OURS
            for aim in _aims(group, judged=not settings.quick)
        ],
        [asdict(one) for group in groups for one in group],
        _notes(versions),
    )


def _measure(name: str, scene: str, seconds: int) -> _Run:
    with (
        tempfile.TemporaryDirectory(prefix="tagferry-bench-") as directory,
        companion("benchmarks.limiter_server", _SCENES[scene]) as server,
    ):
        command = [sys.executable, "-m", "benchmarks.limiter_client", name, server.line, str(seconds)]
        usage, printed = run_process(command, Path(directory))
        counted = json.loads(server.end())
    return _Run(name, scene, **counted, trip=json.loads(printed)["trip"], cpu=usage.cpu)


def _row(group: Sequence[_Run], versions: Mapping[str, str | None]) -> list[str]:
    def figure(of: Callable[[_Run], float], scale: float = 1.0, digits: int = 0) -> str:
        return Figure.of(of(one) for one in group).text(scale, digits)

    name = group[0].name
    return [
        f"{name} {versions[name]}",
        group[0].scene,
        figure(lambda one: rate_of(one.accepted), digits=1),
        figure(lambda one: one.share, 0.01, 1),
        figure(lambda one: one.refused),
        figure(lambda one: one.most),
        figure(lambda one: one.cpu, digits=2),
    ]


def _aims(group: Sequence[_Run], *, judged: bool) -> list[Aim]:
    scene = group[0].scene
    lost = Figure.of(100 * (1 - one.share) for one in group).median
    return [
        Aim(f"ours, {scene}: refused, all rounds", sum(one.refused for one in group), 0, judged),
        Aim(f"ours, {scene}: most in any second", max(one.most for one in group), _RATE, judged),
        Aim(f"ours, {scene}: lost of the possible in %, median", lost, 2, judged),
    ]


def _notes(versions: Mapping[str, str | None]) -> list[str]:
    notes = [
        "a call and its answer take 10 to 30 ms each; every 3.3 s a stall holds calls up for 300 ms",
        f"possible are {_RATE} / (1 + mean round trip): more cannot be had without the risk of a refusal",
        "accepted calls count after the first hundred, refusals and the most in a second from the start",
    ]
    return notes + [f"{name} is not installed" for name, found in versions.items() if not found]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
