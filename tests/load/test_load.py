"""Many exports in one process: memory, fairness, order, and an event loop that stays awake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tagferry.emulator import Settings, serve_in_thread

TOKEN = "CANARY-token-of-the-load"


def run(settings: Settings, exports: int, concurrency: int, out: Path) -> dict[str, Any]:
    with serve_in_thread(settings) as emulator:
        rate = f"{settings.quota_per_second}/s"
        argv = [emulator.base_url, TOKEN, rate, str(exports), str(concurrency), str(out)]
        command = [sys.executable, "-m", "tests.load.client", *argv]
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1200)
        assert emulator.refused == 0
        assert emulator.max_in_any_second <= settings.quota_per_second
        assert not emulator.seen.violations
    facts: dict[str, Any] = json.loads(result.stdout)
    print(facts)
    return facts


def test_three_hundred_exports_at_once(tmp_path: Path) -> None:
    settings = Settings(token=TOKEN, job_seconds=1.0, quota_per_second=200, rows=10)
    facts = run(settings, 300, 8, tmp_path)
    assert (facts["done"], facts["failed"]) == (300, 0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_pending_exports_are_light_and_fair(tmp_path: Path) -> None:
    settings = Settings(token=TOKEN, job_seconds=90.0, quota_per_second=500, rows=10)
    facts = run(settings, 10_000, 8, tmp_path)
    assert (facts["done"], facts["failed"]) == (10_000, 0)
    assert facts["megabytes"] <= 150
    # A round of all takes exports / rate; nobody waits longer than a round and the longest delay.
    assert facts["longest_gap"] <= 10_000 / 500 * 2 + 30
    # Downloads begin in the order in which the jobs were seen to be done, but for those that run at once.
    assert facts["out_of_order"] <= 3 * 8


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_event_loop_stays_awake_under_64_downloads(tmp_path: Path) -> None:
    settings = Settings(token=TOKEN, job_seconds=0.0, quota_per_second=500, rows=1_500_000)
    facts = run(settings, 128, 64, tmp_path)
    assert (facts["done"], facts["failed"]) == (128, 0)
    assert facts["delay_p99"] <= 0.05
