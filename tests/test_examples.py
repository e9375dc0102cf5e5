"""The examples run, as they are, against the emulator."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Settings,
    TencentSettings,
    serve_in_thread,
)

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


def test_audience_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    people = {f"u{number:012d}": ["高价值", "华东"] if number % 2 else ["高价值"] for number in range(250)}
    settings = Settings(job_seconds=0, rows=250, tencent=TencentSettings(people=people))
    with serve_in_thread(settings) as emulator:
        emulator.faults.add("growingio-saas.download", "cut@1000")
        for name, text in {
            "GROWINGIO_BASE_URL": emulator.base_url,
            "GROWINGIO_TOKEN": emulator.token,
            "TENCENT_BASE_URL": emulator.base_url,
            "TENCENT_SDKAPPID": str(DEMO_SDKAPPID),
            "TENCENT_IDENTIFIER": DEMO_IDENTIFIER,
            "TENCENT_SECRET_KEY": DEMO_SECRET_KEY,
        }.items():
            monkeypatch.setenv(f"TAGFERRY_{name}", text)
        command = [sys.executable, EXAMPLES / "audience_tags.py", "nxog09md", "nP2lpkX9"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "distinct=250" in done.stdout
    assert "高价值" in done.stdout
    tags = dict(duckdb.connect().execute(f"SELECT * FROM '{tmp_path}/tags.parquet'").fetchall())
    assert tags == people
    assert done.stdout.count("│") > 6
