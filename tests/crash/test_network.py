"""Hosts that cannot be reached, for real: in a network of its own, by its routes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OWN = ["unshare", "--map-root-user", "--net", "--mount"]


def can_unshare() -> bool:
    """Tell whether a process may have a network and a name server of its own here."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    script = "ip link set lo up && mount --bind /etc/resolv.conf /etc/resolv.conf"
    return subprocess.run([*OWN, "sh", "-c", script], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="no network of one's own on this machine")


def run(scene: str, out: Path, route: str) -> dict[str, Any]:
    command = [*OWN, sys.executable, "-m", "tests.crash.network_child", scene, str(out), route]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


ROUTES = {
    "unreachable": "No route to host",
    "prohibit": "Permission denied",
    "blackhole": "Invalid argument",
    "none": "Network is unreachable",
    "silent": "time-out after 0.4 s",
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_host_that_cannot_be_reached_is_named_after_a_few_tries(tmp_path: Path, route: str) -> None:
    facts = run("unreachable", tmp_path / "out", route)
    assert (facts["error"], facts["retryable"]) == ("UnavailableError", True)
    assert "no answer from 10.77.0.1 " in facts["message"]
    assert ROUTES[route] in facts["message"]
    assert "check the network" in facts["message"]
    assert facts["retries"] == 2
    assert not facts["made"]
    if route == "silent":
        # Every try ended by the time-out, not by the kernel's two minutes.
        assert 3 * 0.4 <= facts["seconds"] < 20


NAMES = {
    "nxdomain": "its name cannot be resolved",
    "servfail": "its name cannot be resolved",
    "silence": "time-out after 0.5 s",
}


@pytest.mark.parametrize("answer", NAMES)
def test_a_name_server_that_says_no_or_nothing_holds_up_nobody_else(tmp_path: Path, answer: str) -> None:
    facts = run("unresolved", tmp_path / "out", answer)
    assert (facts["error"], facts["retryable"]) == ("UnavailableError", True)
    assert f"no answer from api.lost.test (growingio-tag): {NAMES[answer]};" in facts["message"]
    assert facts["others"], "another host's export had to wait"
    # The name server has three seconds; who gives up does not wait for it.
    assert facts["took"] < 1


@pytest.mark.parametrize("route", ["unreachable", "prohibit", "blackhole"])
def test_a_host_that_goes_in_mid_transfer_and_comes_back_gives_the_rest(tmp_path: Path, route: str) -> None:
    facts = run("outage", tmp_path / "out", route)
    assert facts["whole"]
    assert facts["waited"], "it was done before the host came back"
    assert facts["others"], "another host's export had to wait"
    assert "stalled" in facts["broke"][0]
    assert all(ROUTES[route] in text for text in facts["broke"][1:3])
    first, last = facts["ranges"]
    assert first == []
    assert last[0].startswith("bytes=")
    assert int(last[0].removeprefix("bytes=").removesuffix("-")) >= 40_000
    assert facts["names"] == 2
