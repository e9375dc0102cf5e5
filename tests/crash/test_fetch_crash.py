"""A fetch that is killed: no account is lost, none is there twice, and little is asked for again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tagferry.emulator import Emulator, serve_in_thread
from tagferry.emulator.asked import Asked
from tagferry.errors import DiskError
from tagferry.lookups.target import Target
from tests.lookups.fetches import (
    Memory,
    check_done,
    check_unfinished,
    names_in,
    read_answers,
    read_checkpoint,
    read_dead,
)
from tests.lookups.world import FAST, make_accounts

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
BAD = ("code90020-a", "poison1")


@dataclass
class Scene:
    """An emulator that remembers which accounts it was asked for, and what a child is told."""

    emulator: Emulator
    directory: Path
    asked: list[str]
    every: float = 0.05
    cool: float = 0.05
    rate: str = "100/s"
    options: dict[str, Any] = field(default_factory=dict)
    accounts: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.output = self.directory / "out" / "tags.jsonl"
        self.list = self.directory / "accounts.txt"

    def set_out(self, accounts: Sequence[str]) -> None:
        self.accounts = accounts
        self.list.write_text("\n".join(accounts))

    def command(self, name: str, **options: Any) -> list[str]:
        order = {
            "base_url": self.emulator.base_url,
            "output": str(self.output),
            "accounts": str(self.list),
            "rate": self.rate,
            "every": self.every,
            "cool": self.cool,
        }
        text = json.dumps(order | self.options | options)
        return [sys.executable, "-m", "tests.crash.fetch_child", name, text]

    def finish(self) -> None:
        """A last run that nobody disturbs has all accounts in the files, and nothing else is there."""
        done = subprocess.run(self.command("run"), timeout=60, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.check_done()

    def check_done(self) -> None:
        check_done(self.output, self.accounts, set(BAD) & set(self.accounts))

    def safe(self) -> set[str]:
        """The accounts that no later run may ask for again."""
        target = Target.of(self.output)
        if self.output.exists() or (target.table.exists() and not target.part.exists()):
            return set(self.accounts)
        check_unfinished(self.output) if self.output.parent.exists() else None
        checkpoint = read_checkpoint(target)
        if checkpoint is None:
            return set()
        letters = target.dead if target.dead.exists() else target.dead_part
        texts = (target.part, checkpoint.output_size), (letters, checkpoint.dead_size)
        lines = b"".join(path.read_bytes()[:size] for path, size in texts)
        return {json.loads(line)["account"] for line in lines.splitlines()}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    asked: list[str] = []
    add = Asked.add

    def note(self: Asked, accounts: Sequence[str]) -> None:
        asked.extend(accounts)
        add(self, accounts)

    monkeypatch.setattr(Asked, "add", note)
    settings = replace(FAST, time_scale=1.0, latency=0.005)
    with serve_in_thread(settings) as emulator:
        yield Scene(emulator, tmp_path, asked)


@contextmanager
def forks(scene: Scene) -> Iterator[Callable[[float], bool]]:
    """Give what starts a run, and kills it after some seconds; tell whether it was killed."""
    command = scene.command("forks")
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert parent.stdin is not None
    assert parent.stdout is not None

    def run(seconds: float) -> bool:
        parent.stdin.write("go\n")
        child = int(parent.stdout.readline())
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        parent.stdin.write("wait\n")
        status = int(parent.stdout.readline())
        assert status in {0, signal.SIGKILL}, status
        return status == signal.SIGKILL

    with parent:
        yield run
        parent.stdin.close()


def kill_at_random(scene: Scene, dice: random.Random, kills: int, *, longest: float, most: int) -> int:
    """Kill runs of one fetch until one gets through or enough were killed; return the kills."""
    safe: set[str] = set()
    with forks(scene) as run:
        for number in range(kills):
            before = len(scene.asked)
            killed = run(dice.uniform(0.0, longest))
            asked = set(scene.asked[before:])
            assert not asked & safe, "an account was asked for again that was on disk"
            now = scene.safe()
            assert now >= safe, "an account was on disk, and is no longer"
            assert len(asked - now) <= most
            safe = now
            if not killed:
                scene.check_done()
                return number
    return kills


def run_kills(scene: Scene, seed: int, kills: int, *, longest: float, most: int) -> dict[str, int]:
    dice = random.Random(seed)
    scene.set_out([*make_accounts(30_000), *BAD])
    done = rounds = again = 0
    while done < kills:
        scene.asked.clear()
        done += kill_at_random(scene, dice, kills - done, longest=longest, most=most)
        scene.finish() if not scene.output.exists() else None
        again += len(scene.asked) - len(set(scene.asked))
        rounds += 1
        shutil.rmtree(scene.output.parent)
    return {"kills": done, "rounds": rounds, "asked again": again}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("ordered", [False, True])
def test_kill_at_random_moments(scene: Scene, ordered: bool) -> None:
    scene.options["ordered"] = ordered
    # A hundred calls go in a second: what lies between two checkpoints, and on the wire, is much less.
    facts = run_kills(scene, seed=20261123 + ordered, kills=12, longest=0.4, most=15_000)
    print(facts)
    assert facts["kills"] >= 12


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_hundred_kills_lose_and_double_nothing(scene: Scene) -> None:
    scene.every, scene.cool = 1.0, 1.1
    print(run_kills(scene, seed=int(time.time()), kills=200, longest=6.0, most=22_000))


def all_paths(output: Path) -> list[Path]:
    """All paths that a run writes to."""
    target = Target.of(output)
    logs = [target.ledger.with_name(target.ledger.name + ending) for ending in ("-wal", "-journal")]
    return [output.parent, *target.unfinished, target.ledger, *logs, target.output, target.dead]


def kill_at_calls(scene: Scene, calls: Sequence[str], most: int, begin: Path | None = None) -> int:
    """Kill a run at the first, second, ... of each system call on its files; return the kills."""
    kills, out = 0, scene.output.parent
    filters = [arg for path in all_paths(scene.output) for arg in ("-P", str(path))]
    for call in calls:
        for number in range(1, most + 1):
            if begin is not None:
                shutil.copytree(begin, out)
            inject = f"inject={call}:signal=KILL:when={number}"
            trace = ["strace", "-f", "-qq", "-o", "/dev/null", *filters, "-e", inject]
            code = subprocess.run([*trace, *scene.command("run")], check=False, timeout=60).returncode
            killed = code in {-signal.SIGKILL, 128 + signal.SIGKILL}
            assert killed or code == 0
            before, safe = len(scene.asked), scene.safe()
            scene.finish() if not (scene.output.exists() and names_in(out) <= finals(scene)) else None
            assert not set(scene.asked[before:]) & safe
            scene.check_done()
            shutil.rmtree(out)
            kills += killed
            if not killed:
                break
        assert number > 1 or killed, f"no {call} was ever seen"
    return kills


def finals(scene: Scene) -> set[str]:
    target = Target.of(scene.output)
    return {target.output.name, target.dead.name}


@needs_strace
@pytest.mark.timeout(150)
def test_kill_at_every_naming_call_of_the_end(scene: Scene) -> None:
    assert kill_at_the_end(scene, ("link,linkat", "unlink,unlinkat")) >= 4


@needs_strace
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kill_at_every_writing_call_of_the_end(scene: Scene) -> None:
    calls = ("openat", "write,pwrite64", "ftruncate", "fsync,fdatasync", "link,linkat", "unlink,unlinkat")
    print({"kills at system calls": kill_at_the_end(scene, calls)})


@needs_strace
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_kill_at_every_naming_call_of_a_table(scene: Scene) -> None:
    scene.output = scene.output.with_suffix(".parquet")
    assert kill_at_the_end(scene, ("link,linkat", "unlink,unlinkat", "fsync")) >= 6


def kill_at_the_end(scene: Scene, calls: Sequence[str]) -> int:
    """All is answered and on disk, so that nothing is asked for any more."""
    scene.set_out([*make_accounts(20), *BAD])
    done = subprocess.run(scene.command("stop"), check=False, timeout=60, capture_output=True, text=True)
    assert "END" in done.stderr
    begin = scene.directory / "begin"
    # Of a table, the making is a part of the end.
    Target.of(scene.output).table.unlink(missing_ok=True)
    scene.output.parent.rename(begin)
    asked = len(scene.asked)
    kills = kill_at_calls(scene, calls, 40, begin)
    assert len(scene.asked) == asked
    return kills


@needs_strace
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kill_at_every_writing_call(scene: Scene) -> None:
    scene.set_out([*make_accounts(1000), *BAD])
    scene.every = 0.01
    calls = (
        *("openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync"),
        *("link,linkat", "unlink,unlinkat", "mkdir,mkdirat", "fcntl"),
    )
    print({"kills at system calls": kill_at_calls(scene, calls, 60)})


@needs_strace
def test_the_order_of_system_calls_survives_a_power_cut(scene: Scene) -> None:
    """Lines are on the platter before the ledger counts them, and names before the ledger is gone."""
    scene.set_out([*make_accounts(500), *BAD])
    log = scene.directory / "calls"
    calls = "trace=write,pwrite64,fsync,fdatasync,link,linkat,rename,renameat,unlink,unlinkat"
    trace = ["strace", "-f", "-y", "-qq", "-s", "300", "-o", str(log), "-e", calls]
    done = subprocess.run([*trace, *scene.command("run")], check=False, timeout=60)
    assert done.returncode == 0
    out = scene.output.parent
    steps = [step for line in log.read_text().splitlines() if (step := read_call(line, out))]
    target = Target.of(scene.output)
    log_name = f"{target.ledger.name}-wal"
    spooled = steps.index(("fsync", target.spool.name))
    planned = [place for place, step in enumerate(steps) if step == ("fdatasync", log_name)]
    assert spooled < steps.index(("fsync", "")) < planned[-1]
    for part, name in ((target.part, target.output), (target.dead_part, target.dead)):
        written = last(steps, ("write", part.name))
        synced = last(steps, ("fdatasync", part.name))
        counted = next(place for place in planned if place > synced)
        named = steps.index(("link", name.name))
        assert written < synced < counted < named
        assert named < last(steps, ("fsync", "")) < steps.index(("unlink", target.ledger.name))
    scene.check_done()


def read_call(line: str, out: Path) -> tuple[str, str] | None:
    """Read a line of strace: the call, and the name in the directory that it is about."""
    call = re.search(r"\b(write|pwrite64|fsync|fdatasync|link|linkat|rename|unlink|unlinkat)\(", line)
    paths = re.findall(rf'[<"]{re.escape(str(out))}/?([^>"]*)[>"]', line)
    return (call[1].removesuffix("at"), paths[-1]) if call and paths else None


def last(steps: list[tuple[str, str]], step: tuple[str, str]) -> int:
    return max(place for place, one in enumerate(steps) if one == step)


def test_two_processes_with_one_output_give_one_whole_file(scene: Scene) -> None:
    scene.set_out([*make_accounts(20_000), *BAD])
    children = [subprocess.Popen(scene.command("run"), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [child.communicate(timeout=50)[1] for child in children]
    assert sorted(child.returncode for child in children) == [0, 1], told
    # The second one may have come when the first was done.
    assert any(text in "".join(told) for text in ("another run is writing this output", "is already there"))
    scene.check_done()
    assert len(scene.asked) == len(set(scene.asked))


def test_a_limit_of_the_file_size_keeps_what_came(scene: Scene) -> None:
    """It stands for a full disk: no root is needed, and the error comes at the same call."""
    scene.set_out([*make_accounts(12_000), *BAD])
    limited = subprocess.run(
        scene.command("run", file_size=300_000), check=False, timeout=60, capture_output=True, text=True
    )
    assert limited.returncode == 1
    assert limited.stderr.startswith("EFBIG")
    before, safe = len(scene.asked), scene.safe()
    assert 0 < len(safe) < 12_000
    scene.finish()
    assert not set(scene.asked[before:]) & safe


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Give what mounts a disk of some kB, or changes its size."""
    out = tmp_path / "disk"
    out.mkdir()
    mounted = False

    def resize(size: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(out)], check=True)
        mounted = True
        return out

    yield resize
    if mounted:
        subprocess.run(["umount", str(out)], check=True)


def can_mount() -> bool:
    """Tell whether this process may mount a file system."""
    inside = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(inside, check=False, capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="mounting a small file system needs root")
MANY = [f"{'bad' if number % 50 == 0 else 'user'}{number}" for number in range(20_000)]


@needs_mount
@pytest.mark.parametrize("size", [340, 500, 900])
def test_a_full_disk_keeps_what_came_and_goes_on_when_there_is_room(
    small_disk: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take_time(_: Sequence[str]) -> None:
        await asyncio.sleep(0.002)

    monkeypatch.setattr("tagferry.lookups.saver._EVERY", 0.01)
    disk = small_disk(size)
    output = disk / "tags.jsonl"
    memory = Memory(batch=100, before=take_time)
    with pytest.raises(DiskError) as caught:
        asyncio.run(memory.fetch(MANY, output))
    assert caught.value.code == "ENOSPC"
    assert "free some space" in str(caught.value.hint)
    safe = check_unfinished(output)
    assert size < 400 or safe
    small_disk(20_000)
    before = memory.asked.total()
    asyncio.run(memory.fetch(MANY, output))
    assert memory.asked.total() - before == len(MANY) - safe
    bad = [one for one in MANY if one.startswith("bad")]
    check_done(output, MANY, bad, truth=Memory.truth_of(MANY))


@needs_mount
@pytest.mark.parametrize("size", [12, 40, 100])
def test_a_disk_that_is_too_small_for_the_input_is_left_empty(small_disk: Any, size: int) -> None:
    disk = small_disk(size)
    memory = Memory(batch=100)
    with pytest.raises(DiskError) as caught:
        asyncio.run(memory.fetch(MANY, disk / "tags.jsonl"))
    assert caught.value.code == "ENOSPC"
    assert memory.calls == 0
    assert names_in(disk) == set()


@needs_mount
def test_a_full_disk_at_the_very_end_ends_right_when_there_is_room(small_disk: Any) -> None:
    """The ledger itself finds no room for the word that all is answered."""
    disk = small_disk(20_000)
    output = disk / "tags.jsonl"
    filler = disk / "filler"

    async def fill(accounts: Sequence[str]) -> None:
        if MANY[-1] in accounts:
            await asyncio.sleep(1.5)  # the others are on disk by now
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

    memory = Memory(batch=100, before=fill)
    with pytest.raises(DiskError) as caught:
        asyncio.run(memory.fetch(MANY, output))
    assert caught.value.code == "ENOSPC"
    filler.unlink()
    safe = check_unfinished(output)
    assert len(MANY) - 400 <= safe < len(MANY)
    memory.before = None
    asyncio.run(memory.fetch(MANY, output))
    bad = [one for one in MANY if one.startswith("bad")]
    check_done(output, MANY, bad, truth=Memory.truth_of(MANY))
    assert read_answers(output).keys() | read_dead(Target.of(output).dead).keys() == set(MANY)
