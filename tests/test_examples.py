"""The examples run, as they are, against the emulator."""

import subprocess
import sys
from pathlib import Path

import pytest

from tagferry.emulator import Settings, serve_in_thread

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_example_is_short_and_has_a_test():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path.name
        assert f"test_{path.stem}" in globals(), f"{path.name} has no test"


def test_many_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serve_in_thread(Settings(job_seconds=0, quota_per_second=50)) as emulator:
        emulator.faults.add("growingio-saas.download", "cut@1000")
        monkeypatch.setenv("TAGFERRY_GROWINGIO_BASE_URL", emulator.base_url)
        monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", emulator.token)
        command = [sys.executable, EXAMPLES / "many_exports.py", "nxog09md", "5rREn4PL", "7sKp2QwZ"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.count("growingio-tag-nxog09md-") == 2
        assert "TransferBroken" in done.stderr
        assert emulator.token not in done.stdout + done.stderr
        body = (tmp_path / "out" / "growingio-tag-nxog09md-5rREn4PL.csv").read_bytes()
        assert body == emulator.source("growingio-tag", "nxog09md", "5rREn4PL").bytes()
