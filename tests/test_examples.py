"""The examples run, as they are, against the emulator."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Emulator,
    Settings,
    TencentSettings,
    serve_in_thread,
)

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with serve_in_thread(Settings(job_seconds=0, quota_per_second=50)) as emulator:
        monkeypatch.setenv("TAGFERRY_GROWINGIO_BASE_URL", emulator.base_url)
        monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", emulator.token)
        monkeypatch.setenv("TAGFERRY_TENCENT_BASE_URL", emulator.base_url)
        monkeypatch.setenv("TAGFERRY_TENCENT_SDKAPPID", str(DEMO_SDKAPPID))
        monkeypatch.setenv("TAGFERRY_TENCENT_IDENTIFIER", DEMO_IDENTIFIER)
        monkeypatch.setenv("TAGFERRY_TENCENT_SECRET_KEY", DEMO_SECRET_KEY)
        yield emulator


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def check_file(emulator: Emulator, folder: Path, tag: str) -> None:
    body = (folder / "out" / f"growingio-tag-nxog09md-{tag}.csv").read_bytes()
    assert body == emulator.source("growingio-tag", "nxog09md", tag).bytes()


def test_every_example_is_short_and_has_a_test():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path.name
        assert f"test_{path.stem}" in globals(), f"{path.name} has no test"


def test_one_export(tmp_path: Path, emulator: Emulator):
    done = run(tmp_path, EXAMPLES / "one_export.py", "nxog09md", "5rREn4PL")
    assert done.returncode == 0, done.stderr
    assert emulator.source("growingio-tag", "nxog09md", "5rREn4PL").sha256 in done.stdout
    check_file(emulator, tmp_path, "5rREn4PL")


def test_one_export_that_fails(tmp_path: Path, emulator: Emulator):
    failed = run(tmp_path, EXAMPLES / "one_export.py", "nxog09md", "no-id")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "no-id" in failed.stderr


def test_many_exports(tmp_path: Path, emulator: Emulator):
    emulator.faults.add("growingio-saas.download", "cut@1000")
    done = run(tmp_path, EXAMPLES / "many_exports.py", "nxog09md", "5rREn4PL", "7sKp2QwZ")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("growingio-tag-nxog09md-") == 2
    assert "TransferBroken" in done.stderr
    assert emulator.token not in done.stdout + done.stderr
    check_file(emulator, tmp_path, "5rREn4PL")


def test_bulk_tags(tmp_path: Path, emulator: Emulator):
    accounts = [f"user{number}" for number in range(250)]
    (tmp_path / "accounts.txt").write_text("\n".join([*accounts, "code90012-ming", *accounts]))
    done = run(tmp_path, EXAMPLES / "bulk_tags.py", "accounts.txt", "tags.jsonl")
    assert done.returncode == 0, done.stderr
    assert "251 of 251" in done.stderr
    assert done.stdout.endswith(" 1 tags.dead.jsonl\n")
    lines = (tmp_path / "tags.jsonl").read_bytes().splitlines()
    told = [json.loads(line)["account"] for line in lines]
    assert sorted(told) == sorted(accounts)


def test_web_exports(tmp_path: Path, emulator: Emulator):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, EXAMPLES / "web_exports.py", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        states: dict[str, str] = {}
        ends = time.monotonic() + 30
        while set(states.values()) != {"done"} and time.monotonic() < ends:
            time.sleep(0.1)
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/exports") as answer:
                states = json.load(answer)
        server.send_signal(signal.SIGINT)
    assert len(states) == 3
    assert set(states.values()) == {"done"}
    check_file(emulator, tmp_path, "8dQbzkRa")


def test_test_pipeline(tmp_path: Path):
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "test_pipeline.py")
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.usefixtures("emulator")
def test_audience_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    people = {f"u{number:012d}": ["高价值", "华东"] if number % 2 else ["高价值"] for number in range(250)}
    with serve_in_thread(
        Settings(job_seconds=0, rows=250, tencent=TencentSettings(people=people))
    ) as services:
        services.faults.add("growingio-saas.download", "cut@1000")
        for name, text in {
            "GROWINGIO_BASE_URL": services.base_url,
            "GROWINGIO_TOKEN": services.token,
            "TENCENT_BASE_URL": services.base_url,
        }.items():
            monkeypatch.setenv(f"TAGFERRY_{name}", text)
        done = run(tmp_path, EXAMPLES / "audience_tags.py", "nxog09md", "nP2lpkX9")
    assert done.returncode == 0, done.stderr
    assert "distinct=250" in done.stdout
    assert "高价值" in done.stdout
    tags = dict(duckdb.connect().execute(f"SELECT * FROM '{tmp_path}/tags.parquet'").fetchall())
    assert tags == people
    assert done.stdout.count("│") > 6
