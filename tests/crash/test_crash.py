"""Processes that are killed: nothing is lost, nothing doubled, nothing wrong under a final name."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.emulator import Emulator, serve_in_thread
from tests.exports.world import DOWNLOAD, FAST, PROJECT

IDS = ("kill0001", "kill0002", "kill0003")
PARTS = {"kill0002": 3}
ROWS = {"kill0001": 200_000, "kill0002": 150_000, "kill0003": 10}
CALLS = (
    "openat",
    "pwrite64",
    "writev",
    "ftruncate",
    "fsync",
    "linkat,link",
    "unlink,unlinkat",
    "flock",
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    settings = replace(FAST, rows_by_export=ROWS, parts_by_export=PARTS, time_scale=1.0, latency=0.002)
    with serve_in_thread(settings) as emulator:
        yield emulator


def command(emulator: Emulator, out: Path, if_exists: str = "skip") -> list[str]:
    return [sys.executable, "-m", "tests.crash.child", emulator.base_url, str(out), if_exists, *IDS]


def sources(emulator: Emulator, tag_id: str) -> list[str]:
    found = emulator.sources("growingio-tag", PROJECT, tag_id, parts=PARTS.get(tag_id, 1))
    return [source.sha256 for source in found]


def check_finals(emulator: Emulator, out: Path) -> None:
    """Every final name, now or at the end, is the whole of a part."""
    good = {sha for tag_id in IDS for sha in sources(emulator, tag_id)}
    for path in out.glob("*.csv"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in good, path.name


def finish(emulator: Emulator, out: Path) -> None:
    """A last run that nobody disturbs leaves all files and nothing else."""
    done = subprocess.run(command(emulator, out), timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_finals(emulator, out)
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == sum(PARTS.get(tag_id, 1) for tag_id in IDS), names
    assert all(name.endswith(".csv") for name in names)


def kill_at_random(emulator: Emulator, out: Path, dice: random.Random, kills: int) -> int:
    """Kill runs at random moments until one gets through or enough were killed; return the kills."""
    for killed in range(kills):
        child = subprocess.Popen(command(emulator, out))
        try:
            child.wait(dice.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            check_finals(emulator, out)
        else:
            return killed
    return kills


def run_kills(emulator: Emulator, out: Path, seed: int, kills: int) -> dict[str, int]:
    dice = random.Random(seed)
    done = rounds = 0
    whole = sum(
        source.size
        for tag_id in IDS
        for source in emulator.sources("growingio-tag", PROJECT, tag_id, parts=PARTS.get(tag_id, 1))
    )
    while done < kills:
        emulator.seen.clear()
        # Slow enough that a run is killed several times on its way.
        for _ in range(200):
            emulator.faults.add(DOWNLOAD, f"drip@{dice.randrange(1, 900_000)} bytes=65536 every=0.02")
        killed = kill_at_random(emulator, out, dice, min(12, kills - done))
        emulator.faults.clear()
        finish(emulator, out)
        sent = sum(arrival.sent for arrival in emulator.seen.of(DOWNLOAD) if arrival.status in {200, 206})
        # A kill may cost what was gathered, what was being written, and what lay in the sockets.
        assert sent <= whole + (killed + 1) * 3 * 8 * 1024 * 1024
        shutil.rmtree(out)
        done += killed
        rounds += 1
    return {"kills": done, "rounds": rounds}


def test_kill_at_random_moments(emulator: Emulator, tmp_path: Path) -> None:
    assert run_kills(emulator, tmp_path / "out", seed=20261122, kills=8)["kills"] >= 8


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_kills_lose_and_double_nothing(emulator: Emulator, tmp_path: Path) -> None:
    print(run_kills(emulator, tmp_path / "out", seed=int(time.time()), kills=1000))


def kill_at_calls(
    emulator: Emulator, out: Path, calls: tuple[str, ...], most: int, if_exists: str = "skip"
) -> int:
    """Kill a run at the first, second, ... of each system call on the directory and what is in it."""
    kills = 0
    for call in calls:
        for number in range(1, most + 1):
            out.mkdir(exist_ok=True)
            paths = [arg for name in final_paths(out) for arg in ("-P", str(name))]
            inject = f"inject={call}:signal=KILL:when={number}"
            trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(out), *paths, "-e", inject]
            run = [*trace, *command(emulator, out, if_exists)]
            one_thread = {**os.environ, "ONE_THREAD": "1"}
            code = subprocess.run(run, check=False, timeout=60, env=one_thread).returncode
            killed = code in {-signal.SIGKILL, 128 + signal.SIGKILL}
            check_finals(emulator, out)
            finish(emulator, out)
            shutil.rmtree(out)
            kills += killed
            if not killed:
                break
        assert number > 1 or killed, f"no {call} was ever seen"
    return kills


def final_paths(out: Path) -> list[Path]:
    """All paths that a run writes to."""
    paths: list[Path] = []
    for tag_id in IDS:
        stem = f"growingio-tag-{PROJECT}-{tag_id}"
        paths.append(out / f"{stem}.part.json")
        count = PARTS.get(tag_id, 1)
        names = [stem] if count == 1 else [f"{stem}-{n:05d}" for n in range(1, count + 1)]
        paths += [out / f"{name}.csv{ending}" for name in names for ending in ("", ".part")]
    return paths


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
@pytest.mark.timeout(120)
def test_kill_at_the_first_calls_of_the_commit(emulator: Emulator, tmp_path: Path) -> None:
    assert kill_at_calls(emulator, tmp_path / "out", ("fsync", "linkat,link", "unlink,unlinkat"), 1) == 3


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
def test_kill_at_the_renames_of_a_replacement(emulator: Emulator, tmp_path: Path) -> None:
    assert kill_at_calls(emulator, tmp_path / "out", ("rename,renameat",), 2, "replace") == 2


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kill_at_every_writing_call(emulator: Emulator, tmp_path: Path) -> None:
    kills = kill_at_calls(emulator, tmp_path / "out", CALLS, 40)
    kills += kill_at_calls(emulator, tmp_path / "out", ("rename,renameat", "unlink,unlinkat"), 40, "replace")
    print({"kills at system calls": kills})


def test_two_processes_with_one_target_give_one_whole_file(emulator: Emulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    children = [subprocess.Popen(command(emulator, out)) for _ in range(2)]
    codes = [child.wait(60) for child in children]
    # For each export at least one of the two got through; the other was told.
    assert sum(codes) <= len(IDS)
    check_finals(emulator, out)
    finish(emulator, out)


def test_two_processes_give_whole_files_even_where_locks_mean_nothing(
    emulator: Emulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    lie = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:retval=0"]
    children = [subprocess.Popen([*lie, *command(emulator, out)]) for _ in range(2)]
    for child in children:
        child.wait(60)
    check_finals(emulator, out)
    finish(emulator, out)


def test_disk_full_keeps_what_came_and_goes_on_when_there_is_room(emulator: Emulator, tmp_path: Path) -> None:
    """A file size limit stands for a full disk: no root is needed, and the error comes at the same call."""
    out = tmp_path / "out"
    out.mkdir()
    limit = [sys.executable, "-c", LIMITED, *command(emulator, out)[1:]]
    assert subprocess.run(limit, check=False, timeout=60).returncode > 0
    assert any(path.suffix == ".part" and path.stat().st_size for path in out.iterdir())
    check_finals(emulator, out)
    finish(emulator, out)


LIMITED = """
import os, resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
sys.argv = sys.argv[2:]
runpy.run_module("tests.crash.child", run_name="__main__")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_no_space_on_a_real_file_system(emulator: Emulator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(out)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount")
    try:
        assert subprocess.run(command(emulator, out), check=False, timeout=60).returncode > 0
        check_finals(emulator, out)
        subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
        finish(emulator, out)
    finally:
        subprocess.run(["umount", str(out)], check=True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
def test_the_order_of_system_calls_survives_a_power_cut(emulator: Emulator, tmp_path: Path) -> None:
    """Bytes are on the platter before their name, and names before the record that could bring them back."""
    out, log = tmp_path / "out", tmp_path / "calls"
    calls = "trace=writev,fsync,link,linkat,rename,unlink,unlinkat"
    trace = ["strace", "-f", "-y", "-qq", "-s", "300", "-o", str(log), "-e", calls]
    assert subprocess.run([*trace, *command(emulator, out)], check=False, timeout=60).returncode == 0
    steps = [step for line in log.read_text().splitlines() if (step := read_call(line, out))]
    for tag_id in IDS:
        stem = f"growingio-tag-{PROJECT}-{tag_id}"
        mine = [step for step in steps if step[1].startswith(stem) or step == ("fsync", "")]
        named = [name for call, name in mine if call == "link"]
        assert len(named) == PARTS.get(tag_id, 1)
        for name in named:
            written = last(mine, ("writev", f"{name}.part"))
            assert written < mine.index(("fsync", f"{name}.part")) < mine.index(("link", name))
        forgotten = mine.index(("unlink", f"{stem}.part.json"))
        assert any(
            step == ("fsync", "") and last(mine, ("link", named[-1])) < place < forgotten
            for place, step in enumerate(mine)
        ), "the directory was not synced between the names and the end of the record"


def read_call(line: str, out: Path) -> tuple[str, str] | None:
    """Read a line of strace: the call, and the name in the directory that it is about."""
    call = re.search(r"\b(writev|fsync|link|linkat|rename|unlink|unlinkat)\(", line)
    paths = re.findall(rf'[<"]{re.escape(str(out))}/?([^>"]*)[>"]', line)
    if call is None or not paths:
        return None
    name = call[1].removesuffix("at")
    return name, paths[-1]


def last(steps: list[tuple[str, str]], step: tuple[str, str]) -> int:
    return max(place for place, one in enumerate(steps) if one == step)
