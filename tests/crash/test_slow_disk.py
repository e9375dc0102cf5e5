"""A disk that takes seconds for every sync: nothing but the files has to wait for it."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.emulator import serve_in_thread
from tests.exports.world import FAST, POLL, PROJECT

SYNC = 2.0
"""Seconds that every sync takes."""
AWAKE = SYNC / 4
"""Seconds: more than a busy machine takes for anything else, less than half of a sync."""
IDS = ("slow0001", "slow0002", "slow0003", "slow0004")
LATE = "late0001"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
def test_the_event_loop_and_the_polls_do_not_wait_for_a_slow_sync(tmp_path: Path) -> None:
    delay = f"inject=fsync:delay_enter={SYNC * 1e6:.0f}"
    # Only the syncs stop for strace; all else runs as fast as ever.
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", str(tmp_path / "calls"), "-e", "trace=fsync"]
    with serve_in_thread(replace(FAST, time_scale=1.0, rows=5000)) as emulator:
        # It is still asked about while the others are synced, and has no file in the end.
        for fault in ("status-word=doing x200", "no-links x3"):
            emulator.faults.add(f"{POLL}:{LATE}", fault)
        child = [sys.executable, "-m", "tests.crash.awake_child", emulator.base_url, str(tmp_path / "out")]
        command = [*trace, "-e", delay, *child, *IDS, LATE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        polls = [arrival.nanoseconds / 1e9 for arrival in emulator.seen.of(POLL, LATE)]
        for tag_id in IDS:
            path = tmp_path / "out" / f"growingio-tag-{PROJECT}-{tag_id}.csv"
            assert path.read_bytes() == emulator.source("growingio-tag", PROJECT, tag_id).bytes()
    # Of each export the file and then the directory.
    assert (tmp_path / "calls").read_text().count("(DELAYED)") == 2 * len(IDS)
    assert facts["done"] == len(IDS) + 1
    assert facts["looks"] > 2 * SYNC / AWAKE
    assert facts["latest"] < AWAKE
    assert len(polls) > 200
    assert polls[-1] - polls[0] > SYNC
    assert max(after - before for before, after in itertools.pairwise(polls)) < AWAKE
