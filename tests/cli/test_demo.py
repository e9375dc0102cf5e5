import os
import signal
from pathlib import Path

import pytest

from tagferry.cli import demo as subject
from tagferry.exports.schedule import PollSchedule

SMALL = {"vipvalue": 15_000, "citytier": 2_000}


@pytest.fixture
def small(monkeypatch):
    """A demo of two tags and a segment, asked without long waits."""
    import functools

    monkeypatch.setattr(subject, "TAGS", SMALL)
    monkeypatch.setattr(subject, "SEGMENTS", {"lapsed30": 3_000})
    monkeypatch.setattr(subject, "FAULTS", (subject.FAULTS[1], "growingio-saas.poll:lapsed30=status=503"))
    fast = functools.partial(PollSchedule, floor=0.1, cap=0.5)
    monkeypatch.setattr("tagferry.clients.growingio.PollSchedule", fast)


def test_it_shows_files_like_those_of_the_service(run, small, workdir):
    ran = run("demo", "--output", "kept")
    assert ran.code == 0, ran.err
    head, *rows = ran.out.splitlines()
    assert head.split() == ["FILE", "ROWS", "SIZE", "SHA-256", "SAME"]
    assert len(rows) == 4
    assert all(row.endswith("yes") for row in rows)
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert sorted(row.split()[0] for row in rows) == sorted(path.name for path in Path("kept").iterdir())
    for part in (
        "a link had expired",
        "a request failed",
        "The files are in kept.",
        "Every file is the same",
    ):
        assert part in ran.err


def test_without_output_nothing_is_left(run, small, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run("demo", "--json", "--progress", "off")
    assert ran.code == 0
    assert ran.document["outcome"] == "complete"
    assert len(ran.document["exports"]) == 3
    assert list(workdir.iterdir()) == []
    assert not list(tmp_path.glob("tagferry-demo-*"))


def test_a_file_that_differs(run, small, monkeypatch):
    monkeypatch.setattr(subject, "_ask_sources", _nothing)
    monkeypatch.setattr(subject, "TAGS", {})
    monkeypatch.setattr(subject, "FAULTS", ())
    ran = run("demo")
    assert ran.code == 8
    assert "A file differs" in ran.err
    assert run("demo", "--quiet").out.count("\n") == 1


async def _nothing(_):
    return {}


def test_ctrl_c(run, small, monkeypatch, later):
    monkeypatch.setattr(subject, "FAULTS", ("growingio-saas.download=stall@20000 x*",))
    later(1.8, lambda: os.kill(os.getpid(), signal.SIGINT))
    ran = run("demo")
    assert ran.code == 130
    assert "stopped by SIGINT" in ran.err


def test_an_emulator_that_does_not_start(run, small, monkeypatch):
    monkeypatch.setattr(subject, "FAULTS", ("nix=nix",))
    ran = run("demo")
    assert ran.code == 5
    assert "the emulator did not start" in ran.err
