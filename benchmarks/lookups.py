"""The tags of a million accounts: ours, with output and ledger, against loops that write nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.companion import companion
from benchmarks.compare import MB, Settings
from benchmarks.download import loop_name
from benchmarks.figures import Aim, Figure, Table, Usage
from benchmarks.lookups_task import Task
from benchmarks.process import BenchmarkError, own_peak
from benchmarks.process import run as run_process
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, DEMO_SECRET_KEY
from tagferry.services.tencent_usersig import LIFETIME, make_user_sig

__all__ = ["OURS", "measure_lookups", "run", "task_at"]

_ACCOUNTS = 1_000_000
_QUICK_ACCOUNTS = 20_000
_CONNECTIONS = (16, 100)
OURS, _BARE, _PLAIN, _THREADS = "tagferry", "bare aiohttp + msgspec", "aiohttp + json", "requests + json"
_MODULES = {OURS: "ours", _BARE: "bare", _PLAIN: "plain", _THREADS: "threads"}
_COLUMNS = (
    "",
    "connections",
    "wall s",
    "CPU s, all",
    "CPU s, look-ups",
    "CPU s, spool",
    "peak MB",
    "ours / it, look-ups",
)


@dataclass(frozen=True, slots=True)
class _Run:
    """One whole process."""

    name: str
    accounts: int
    connections: int
    usage: Usage
    tagged: int
    """Accounts that had an entry in an answer."""
    cpu: Mapping[str, float]
    """Seconds by stage; the start of Python with the imports is one."""


def run(settings: Settings) -> Table:
    """Compare the look-ups of ours with those of others, and measure the memory of ours."""
    accounts, rounds = (_QUICK_ACCOUNTS, 1) if settings.quick else (_ACCOUNTS, settings.rounds)
    groups: list[list[_Run]] = []
    with companion("benchmarks.lookups_server") as server:
        for connections in _CONNECTIONS[:1] if settings.quick else _CONNECTIONS:
            task = task_at(server.line, accounts, connections, settings)
            groups += _rounds(task, rounds, settings.directory)
    return Table(
        "lookups",
        f"tags of {accounts:,} accounts, from the emulator; {rounds} rounds: median (lowest-highest)",
        _COLUMNS,
        [_row(group, groups) for group in groups],
        _aims(groups, judged=not settings.quick),
        [asdict(one) for group in groups for one in group],
        _notes(groups, loop_name(settings.loop)),
    )


def task_at(url: str, accounts: int, connections: int, settings: Settings) -> Task:
    """Return the task of look-ups at a server."""
    loop = loop_name(settings.loop)
    return Task(url, accounts, connections, str(DEMO_SDKAPPID), DEMO_IDENTIFIER, "", loop)


def _rounds(task: Task, rounds: int, place: Path | None) -> list[list[_Run]]:
    """Let all contestants run in turn, some times, after a short turn that does not count."""
    names = [name for name in _MODULES if name != _THREADS or importlib.util.find_spec("requests")]
    groups: list[list[_Run]] = [[] for _ in names]
    if rounds > 1:
        for name in names:
            measure_lookups(name, replace(task, accounts=_QUICK_ACCOUNTS), place)
    for number in range(1, rounds + 1):
        for group, name in zip(groups, names, strict=True):
            group.append(measure_lookups(name, task, place))
        if len(tagged := {group[-1].tagged for group in groups}) > 1:
            raise BenchmarkError(f"they found tags of different numbers of accounts: {tagged}")
        print(f"  {number}/{rounds} with {task.connections} connections", file=sys.stderr, flush=True)
    return groups


def measure_lookups(name: str, task: Task, place: Path | None) -> _Run:
    """Run a contestant once and check what it did.

    Args:
        name: Who runs.
        task: What it has to do; its credential is added.
        place: Where it writes.

    Raises:
        BenchmarkError: It failed, or did not do the job.
    """
    with tempfile.TemporaryDirectory(prefix="tagferry-bench-", dir=place) as directory:
        output = Path(directory, "tags.jsonl")
        if name == OURS:
            words = [str(output), *replace(task, credential=DEMO_SECRET_KEY).words]
        else:
            signature = make_user_sig(
                DEMO_SDKAPPID, DEMO_SECRET_KEY, DEMO_IDENTIFIER, lifetime=LIFETIME, now=time.time()
            )
            words = replace(task, credential=signature).words
        module = f"benchmarks.lookups_{_MODULES[name]}"
        usage, printed = run_process([sys.executable, "-m", module, *words], Path(directory))
        if name == OURS and (lines := _count_lines(output)) != task.accounts:
            raise BenchmarkError(f"ours wrote {lines} lines for {task.accounts} accounts")
    told = json.loads(printed)
    return _Run(name, task.accounts, task.connections, usage, told["tagged"], told["cpu"])


def _count_lines(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(MB), b""))


def _row(group: Sequence[_Run], groups: Sequence[Sequence[_Run]]) -> list[str]:
    first = group[0]

    def figure(of: Callable[[_Run], float], scale: float = 1.0, digits: int = 2) -> str:
        return Figure.of(of(one) for one in group).text(scale, digits)

    ours = _find(groups, OURS, first.connections)
    return [
        first.name,
        str(first.connections),
        figure(lambda one: one.usage.wall),
        figure(lambda one: one.usage.cpu),
        figure(lambda one: one.cpu["look-ups"]),
        figure(lambda one: one.cpu["spool"]) if "spool" in first.cpu else "",
        figure(lambda one: one.usage.rss, MB, 0),
        "1" if first.name == OURS else _ratio(ours, group, "look-ups").text(),
    ]


def _find(groups: Sequence[Sequence[_Run]], name: str, connections: int) -> Sequence[_Run]:
    """Return the runs of one contestant."""
    return next(group for group in groups if (group[0].name, group[0].connections) == (name, connections))


def _ratio(ours: Sequence[_Run], peers: Sequence[_Run], stage: str) -> Figure:
    """Return a stage of ours over the look-ups of a peer, round by round."""
    return Figure.of(one.cpu[stage] / peer.cpu["look-ups"] for one, peer in zip(ours, peers, strict=True))


def _aims(groups: Sequence[Sequence[_Run]], *, judged: bool) -> list[Aim]:
    aims: list[Aim] = []
    for floor in groups:
        first = floor[0]
        ours = _find(groups, OURS, first.connections)
        if first.name == _BARE:
            for stage, at_most in (("look-ups", 1.3), ("spool", 0.5)):
                text = (
                    f"CPU of ours, {stage} / {_BARE}, {first.connections} connections, median of the rounds"
                )
                aims.append(Aim(text, _ratio(ours, floor, stage).median, at_most, judged))
        elif first.name == OURS:
            text = f"peak MB of ours, {first.accounts:,} accounts, {first.connections} connections, highest"
            aims.append(Aim(text, max(one.usage.rss for one in ours) / MB, 100, judged))
    return aims


def _notes(groups: Sequence[Sequence[_Run]], loop: str) -> list[str]:
    notes = [
        "only ours writes, checks and can resume; the others drop what they read",
        "CPU of look-ups is without the start of Python and the imports; the spool stands apart",
        f"ours and the bare loop run on {loop}, {_PLAIN} on asyncio",
        f"no peak can be below the {own_peak() / MB:.0f} MB of the benchmark's own process",
    ]
    for floor in groups:
        if floor[0].name == _BARE:
            ours = _find(groups, OURS, floor[0].connections)
            lowest = min(one.cpu["look-ups"] for one in ours) / min(one.cpu["look-ups"] for one in floor)
            notes.append(
                f"{floor[0].connections} connections: lowest of ours / lowest of the floor {lowest:.2f}"
            )
    if not importlib.util.find_spec("requests"):
        notes.append("requests is not installed")
    return notes
