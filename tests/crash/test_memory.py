"""A process with little memory, and one that runs out of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.emulator import Emulator, Source, serve_in_thread
from tagferry.exports.record import Record
from tests.exports.world import DOWNLOAD, FAST, PROJECT, TAG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what this measures")

MB = 1_000_000
ROOM = 100 * MB
"""Most of it is the stacks of threads, which are never filled."""
ROWS = 12_000_000
STEM = f"growingio-tag-{PROJECT}-{TAG}"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with serve_in_thread(replace(FAST, time_scale=1.0, rows=ROWS)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def source(emulator: Emulator) -> Source:
    source = emulator.source("growingio-tag", PROJECT, TAG)
    assert source.size > 3 * ROOM
    return source


def start(emulator: Emulator, out: Path, *squeeze: int) -> subprocess.Popen[str]:
    words = [emulator.base_url, str(out), TAG, str(ROOM), *map(str, squeeze)]
    command = [sys.executable, "-m", "tests.crash.memory_child", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_file_far_larger_than_the_memory_comes_whole(
    emulator: Emulator, source: Source, tmp_path: Path
) -> None:
    child = start(emulator, tmp_path / "out")
    told, errors = child.communicate(timeout=50)
    assert child.returncode == 0, errors
    facts = json.loads(told)
    assert facts["limited"], "the limit limits nothing"
    assert facts["sha256"] == source.sha256 == digest(tmp_path / "out" / f"{STEM}.csv")
    shutil.rmtree(tmp_path / "out")
    # Two blocks, what lies in the socket, and what the libraries keep for themselves.
    assert facts["grown"] < 40 * MB


@pytest.mark.parametrize("left", [100_000, 2 * MB], ids=["nothing", "no-thread"])
def test_memory_that_runs_out_loses_and_doubles_nothing(
    emulator: Emulator, source: Source, tmp_path: Path, left: int
) -> None:
    """With nothing left the process dies of it; with too little for a new thread it goes on without."""
    out = tmp_path / "out"
    child = start(emulator, out, 50 * MB, left)
    try:
        child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        # Neither does it get on nor does it die: then the system kills it.
        child.kill()
        child.communicate()
    # One that died when the file had its name already has no record, and nothing to go on with.
    if child.returncode and not (out / f"{STEM}.csv").exists():
        record = Record.read((out / f"{STEM}.part.json").read_bytes())
        assert record is not None
        assert 50 * MB <= record.parts[0].offset <= (out / f"{STEM}.csv.part").stat().st_size
        child = start(emulator, out)
        _, errors = child.communicate(timeout=50)
        assert child.returncode == 0, errors
        assert emulator.seen.of(DOWNLOAD)[-1].values("Range") == [f"bytes={record.parts[0].offset}-"]
    assert digest(out / f"{STEM}.csv") == source.sha256
    assert [path.name for path in out.iterdir()] == [f"{STEM}.csv"]
    shutil.rmtree(out)
