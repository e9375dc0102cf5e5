"""A million accounts at the documented rate, with the command that users run, and five kills on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    Emulator,
    Settings,
    TencentSettings,
    serve_in_thread,
    tags_of,
)
from tests.lookups.world import APPLICATIONS, SECRET_KEY, make_accounts

COUNT = 1_000_000
KILLS = 5
BAD = {"code90020-a", "poison1"}


def facts_of(emulator: Emulator) -> dict[str, Any]:
    (facts,) = emulator.tencent.statistics()
    return facts


class Run:
    """One run of the command; what it says goes to a file, as from cron."""

    def __init__(self, environment: Mapping[str, str], directory: Path, number: int) -> None:
        self.log = directory / f"run{number}.log"
        command = [sys.executable, "-m", "tagferry", "fetch", "tencent-tags", "accounts.txt"]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [*command, "--output", "out/tags.jsonl", "--json"],
                cwd=directory,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def kill_after(self, seconds: float) -> None:
        time.sleep(seconds)
        self.child.send_signal(signal.SIGKILL)
        self.child.communicate()
        assert self.child.returncode == -signal.SIGKILL, self.log.read_text()

    def finish(self) -> tuple[dict[str, Any], float]:
        """Wait for the end; return the document that it printed, and the peak of its memory in MB."""
        peak = 0
        while self.child.poll() is None:
            # What `wait4` tells begins with the memory of this process.
            status = Path(f"/proc/{self.child.pid}/status").read_text()
            peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)])
            time.sleep(0.1)
        assert self.child.stdout is not None
        with self.child.stdout as output:
            return json.load(output), peak / 1024


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_million_accounts_at_the_documented_rate_come_once_over_five_kills(tmp_path: Path) -> None:
    dice = random.Random(20261123)
    accounts = [*make_accounts(COUNT - len(BAD)), *BAD]
    (tmp_path / "accounts.txt").write_text("\n".join(accounts))
    (tmp_path / "out").mkdir()
    settings = Settings(latency=0.02, tencent=TencentSettings(applications=APPLICATIONS))
    with serve_in_thread(settings) as emulator:
        environment = {
            **os.environ,
            "TAGFERRY_TENCENT_SDKAPPID": str(DEMO_SDKAPPID),
            "TAGFERRY_TENCENT_IDENTIFIER": DEMO_IDENTIFIER,
            "TAGFERRY_TENCENT_SECRET_KEY": SECRET_KEY,
            "TAGFERRY_TENCENT_BASE_URL": emulator.base_url,
        }
        again = []
        start = time.monotonic()
        for number in range(KILLS):
            run = Run(environment, tmp_path, number)
            run.kill_after(dice.uniform(5, 22))
            again.append(facts_of(emulator)["asked"])
        begun = time.monotonic()
        run = Run(environment, tmp_path, KILLS)
        document, megabytes = run.finish()
        seconds, last = time.monotonic() - start, time.monotonic() - begun
        facts = facts_of(emulator)
    print(
        {
            "accounts": COUNT,
            "kills": KILLS,
            "seconds": round(seconds, 1),
            "calls": facts["calls"],
            "refused": facts["refused"],
            "most in a second": facts["max_in_any_second"],
            "asked again": facts["asked_again"],
            "calls a second of the last run": round((facts["asked"] - again[-1]) / 100 / last, 1),
            "MB": round(megabytes),
        }
    )
    assert run.child.returncode == 3, run.log.read_text()
    assert (document["accounts"], document["distinct"], document["failed"]) == (COUNT, COUNT, len(BAD))
    assert facts["refused"] == 0
    assert facts["max_in_any_second"] <= 100
    # A kill may cost what was in flight, and what was answered in the second since the last checkpoint.
    assert facts["asked"] - facts["accounts"] <= KILLS * 15_000 + 500
    check_lines(tmp_path / "out", set(accounts))


def check_lines(out: Path, accounts: set[str]) -> None:
    """Every account is there once, and as it is at the service; and nothing else is left."""
    assert {path.name for path in out.iterdir()} == {"tags.jsonl", "tags.dead.jsonl"}
    with (out / "tags.dead.jsonl").open() as lines:
        dead = [json.loads(line)["account"] for line in lines]
    assert sorted(dead) == sorted(BAD)
    left = accounts - BAD
    with (out / "tags.jsonl").open() as lines:
        for line in lines:
            row = json.loads(line)
            left.remove(row["account"])
            tags = tags_of(row["account"])
            assert row["tags"] == (None if tags is None else list(tags))
    assert not left
