"""Exports of a CDP that are killed: each job is made once, or somebody was asked before it is made again."""

import hashlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.emulator import Emulator, serve_in_thread
from tagferry.exports.record import Submission
from tests.exports.cdp_world import DOWNLOAD, FAST, check_records, jobs_of, read_submission

EACH = 4
"""Exports of one round."""
KEYS = map("tag_{:05d}".format, range(4, FAST.cdp.tags))
"""Tags that no test has exported yet."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with serve_in_thread(replace(FAST, job_seconds=5.0, rows=3000, latency=0.01, jitter=0.01)) as emulator:
        yield emulator


def stem(key: str) -> str:
    return f"growingio-cdp-tag-{key}"


def command(emulator: Emulator, out: Path, wishes: list[str]) -> list[str]:
    return [sys.executable, "-m", "tests.crash.cdp_child", emulator.base_url, str(out), *wishes]


class Round:
    """Exports that are run, and killed, until all files are there."""

    def __init__(self, emulator: Emulator, out: Path, keys: list[str]) -> None:
        self.emulator = emulator
        self.out = out
        self.keys = keys
        self.wishes: dict[str, str] = {}
        """What somebody decided about jobs of which nobody knew."""
        self.anew: Counter[str] = Counter()
        self.told: set[str] = set()
        self.seen: Counter[str] = Counter()

    def words(self) -> list[str]:
        return [f"{key}={self.wishes[key]}" if key in self.wishes else key for key in self.keys]

    def kill(self, moment: int) -> bool:
        """Kill a run when the service has had so many requests more; False if the run ended before."""
        until = len(self.emulator.seen) + moment
        run = command(self.emulator, self.out, self.words())
        with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            while child.poll() is None and len(self.emulator.seen) < until:
                time.sleep(0.001)
            # Anywhere in what follows that request, too.
            time.sleep(random.uniform(0, 0.02))
            child.kill()
        killed = child.returncode == -signal.SIGKILL
        self.check()
        return killed

    def finish(self) -> None:
        """Run to the end, and settle what is not known as a user would, one time so and one time so."""
        for _ in range(4):
            before = {key for key in self.keys if read_submission(self.out, key) == Submission()}
            asked = self.emulator.seen.counts.copy()
            run = command(self.emulator, self.out, self.words())
            done = subprocess.run(run, check=False, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            self.check()
            failed = dict(line.split() for line in done.stdout.splitlines())
            # Only that, and only where a kill came between the request and the note of its answer.
            assert set(failed.values()) <= {"SubmitUnknownError"}, done.stderr
            assert set(failed) == before - set(self.wishes), done.stderr
            if len(failed) == len(self.keys):
                assert self.emulator.seen.counts == asked
            if not failed:
                break
            for key in failed:
                self.settle(key)
        for key in self.keys:
            (source,) = self.emulator.sources("growingio-cdp-tag", "", key)
            body = (self.out / f"{stem(key)}.csv").read_bytes()
            assert hashlib.sha256(body).hexdigest() == source.sha256
            assert len(jobs_of(self.emulator, key)) == 1 + self.anew[key], key
        assert sorted(path.name for path in self.out.iterdir()) == sorted(
            f"{stem(key)}.csv" for key in self.keys
        )

    def settle(self, key: str) -> None:
        jobs = jobs_of(self.emulator, key)
        self.told.add(key)
        if jobs and len(self.told) % 2:
            self.wishes[key] = jobs[-1]
            self.seen["attached"] += 1
        else:
            self.wishes[key] = "anew"
            self.anew[key] += bool(jobs)
            self.seen["made anew"] += 1

    def check(self) -> None:
        """What is written down of each job is true, whenever the process ended."""
        check_records(self.out)
        for key in self.keys:
            jobs = jobs_of(self.emulator, key)
            assert len(jobs) <= 1 + self.anew[key], key
            if (self.out / f"{stem(key)}.csv").exists():
                continue
            submission = read_submission(self.out, key)
            if submission is None:
                assert len(jobs) == self.anew[key] or key in self.wishes, key
            elif submission.job_id is not None:
                assert submission.job_id in jobs
            self.seen[
                f"found {'nothing' if submission is None else 'a job' if submission.job_id else 'no word'}"
            ] += 1


def run_kills(emulator: Emulator, out: Path, seed: int, kills: int) -> Counter[str]:
    """Kill runs at random moments; return what was seen."""
    dice = random.Random(seed)
    seen: Counter[str] = Counter()
    while seen["kills"] < kills:
        keys = list(itertools.islice(KEYS, EACH))
        emulator.faults.clear()
        for key in keys:
            emulator.faults.add(f"{DOWNLOAD}:{key}", f"drip@{dice.randrange(20_000)} bytes=4096 every=0.01")
        out.mkdir()
        round_ = Round(emulator, out, keys)
        # Most of the moments are those at which jobs are made.
        for _ in range(dice.randrange(2, 6)):
            if not round_.kill(dice.choice([*range(1, EACH + 3), *range(1, 5 * EACH)])):
                break
            seen["kills"] += 1
            if seen["kills"] == kills:
                break
        round_.finish()
        seen += round_.seen
        seen["rounds"] += 1
        shutil.rmtree(out)
    return seen


@pytest.mark.timeout(240)
def test_kill_at_random_moments_makes_no_job_twice_unasked(emulator: Emulator, tmp_path: Path) -> None:
    # By this seed the first kill strikes as jobs are made, and the next two as they are waited for.
    seen = run_kills(emulator, tmp_path / "out", seed=20261125, kills=3)
    assert seen["kills"] == 3
    assert seen["found a job"]


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_kills_make_no_job_twice_unasked(emulator: Emulator, tmp_path: Path) -> None:
    print(dict(run_kills(emulator, tmp_path / "out", seed=int(time.time()), kills=100)))


STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")


@STRACE
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("call", "numbers"),
    [
        # The last one that leaves the intent, and the first one that leaves the id.
        ("pwrite64", (3, 4)),
        pytest.param("pwrite64", range(1, 16), marks=pytest.mark.soak),
        pytest.param("fsync", range(1, 16), marks=pytest.mark.soak),
    ],
)
def test_kill_at_each_note_of_a_job(
    emulator: Emulator, tmp_path: Path, call: str, numbers: Sequence[int]
) -> None:
    """Between the two notes nobody knows whether there is a job; before and after, it is known."""
    emulator.faults.clear()
    found: list[str] = []
    for number in numbers:
        key, out = next(KEYS), tmp_path / f"{number}"
        out.mkdir()
        round_ = Round(emulator, out, [key])
        paths = ["-P", str(out), "-P", str(out / f"{stem(key)}.part.json")]
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", *paths]
        run = [*trace, "-e", f"inject={call}:signal=KILL:when={number}", *command(emulator, out, [key])]
        one_thread = {**os.environ, "ONE_THREAD": "1"}
        code = subprocess.run(run, check=False, capture_output=True, timeout=60, env=one_thread).returncode
        round_.check()
        found += [word.removeprefix("found ") for word in round_.seen]
        round_.finish()
        if code not in {-signal.SIGKILL, 128 + signal.SIGKILL}:
            break
    # The run gets further from kill to kill, so they come in this order.
    order = ["nothing", "no word", "a job"]
    assert found == sorted(found, key=order.index)
    assert {"no word", "a job"} <= set(found)


@STRACE
def test_the_intent_is_on_the_platter_before_the_request_and_the_id_after_it(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.clear()
    key, out, log = next(KEYS), tmp_path / "out", tmp_path / "calls"
    out.mkdir()
    trace = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "400",
        "-o",
        str(log),
        "-e",
        "trace=pwrite64,fsync,sendto,write,writev",
    ]
    subprocess.run([*trace, *command(emulator, out, [key])], check=True, capture_output=True, timeout=60)
    (job,) = jobs_of(emulator, key)
    steps: list[str] = []
    for line in log.read_text().splitlines():
        ours = f"{stem(key)}.part.json" in line
        if "POST /v1/api" in line:
            steps.append("post")
        elif ours and "pwrite64" in line:
            known = "id" if job in line else "intent" if '\\"job_id\\":null' in line else "other"
            steps.append(f"write {known}")
        elif "fsync" in line and (ours or f"<{out}>" in line):
            steps.append("sync" if ours else "sync the directory")
    begin = steps.index("write intent")
    assert steps[begin : begin + 6] == [
        "write intent",
        "sync",
        "sync the directory",
        "post",
        "write id",
        "sync",
    ]
    assert steps.count("post") == 1
