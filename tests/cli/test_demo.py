import functools
import json
import os
import re
import signal
from pathlib import Path

import pytest

from tagferry.cli import demo as subject
from tagferry.cli.demo import exports, lookups
from tagferry.cli.demo.comparison import Comparison
from tagferry.emulator import tags_of
from tagferry.exports.schedule import PollSchedule
from tagferry.lookups.target import Target

ACCOUNTS = 3_000
ODD = {500: "poison-account", 1_500: "code70402-wrong", 2_000: "code91000x1-busy"}


@pytest.fixture
def small(monkeypatch):
    """A demo of two tags, a segment and some accounts, asked without long waits."""
    monkeypatch.setattr(exports, "TAGS", {"vipvalue": 15_000, "citytier": 2_000})
    monkeypatch.setattr(exports, "SEGMENTS", {"lapsed30": 3_000})
    faults = (exports.FAULTS[1], "growingio-saas.poll:lapsed30=status=503")
    monkeypatch.setattr(exports, "FAULTS", faults)
    monkeypatch.setattr(lookups, "ACCOUNTS", ACCOUNTS)
    monkeypatch.setattr(lookups, "ODD", ODD)
    monkeypatch.setattr(lookups, "REPEATS", 7)
    monkeypatch.setattr(lookups, "FAULTS", ("pass x5", "code=60007", "status=502", "cut@2000"))
    fast = functools.partial(PollSchedule, floor=0.1, cap=0.5)
    monkeypatch.setattr("tagferry.clients.growingio.PollSchedule", fast)


def test_it_shows_files_like_those_of_the_services(run, small, workdir):
    ran = run("demo", "--output", "kept")
    assert ran.code == 0, ran.err
    head, *rows = ran.out.splitlines()
    assert head.split() == ["FILE", "ROWS", "SIZE", "SHA-256", "SAME"]
    assert len(rows) == 6
    assert all(row.endswith("yes") for row in rows)
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert sorted(row.split()[0] for row in rows) == sorted(path.name for path in Path("kept").iterdir())
    for part in (
        "3 exports from GrowingIO:",
        "The tags of 3,000 accounts from Tencent IM, at 1,000 calls a second:",
        "What went wrong on the way:",
        "a link had expired",
        "a request failed",
        "a call was said to be too fast, and all went slower for a while (1×)",
        "a call failed or broke off, and was made again (3×)",
        "an account was in the list again, and was asked for once (7×)",
        "an account could not be answered; the others of its call were (2×)",
        "Every file is the same as at the service.",
        "Every one of 3,000 accounts is there once, and as it is at the service.",
        "of 1,000 allowed; none refused as too many.",
        "The files are in kept.",
    ):
        assert part in ran.err
    answers = Path("kept/tencent-tags.jsonl").read_text("utf-8")
    found = {one["account"]: one["tags"] for one in map(json.loads, answers.strip().split("\n"))}
    assert len(found) == ACCOUNTS - 2
    assert all(tags == tags_of(account) for account, tags in found.items())


def test_without_output_nothing_is_left(run, small, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run("demo", "--json", "--progress", "off")
    assert ran.code == 0
    document = ran.document
    assert list(document) == ["v", "outcome", "exports", "fetches", "error"]
    assert (document["outcome"], document["error"]) == ("complete", None)
    assert [one["state"] for one in document["exports"]] == ["done"] * 3
    (fetch,) = document["fetches"]
    assert (fetch["kind"], fetch["same"], fetch["distinct"], fetch["failed"]) == (
        "tencent-tags",
        True,
        ACCOUNTS,
        2,
    )
    assert list(workdir.iterdir()) == []
    assert not list(tmp_path.glob("tagferry-demo-*"))


def test_quiet_prints_paths_only(run, small, workdir):
    ran = run("demo", "--quiet", "--output", "kept")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(ran.out.split()) == sorted(str(path) for path in Path("kept").iterdir())


@pytest.fixture
def exports_only(small, monkeypatch):
    monkeypatch.setattr(subject, "PARTS", (exports.ExportsPart,))


@pytest.fixture
def lookups_only(small, monkeypatch):
    monkeypatch.setattr(subject, "PARTS", (lookups.LookupsPart,))


def test_a_file_that_differs(run, exports_only, monkeypatch):
    monkeypatch.setattr(exports, "TAGS", {})
    monkeypatch.setattr(exports, "FAULTS", ())
    monkeypatch.setattr(exports.ExportsPart, "_truth_of", lambda *_: ())
    ran = run("demo", "--progress", "off")
    assert ran.code == 8
    assert "A file differs" in ran.err
    assert "Yours:" not in ran.err


def test_an_export_that_fails(run, exports_only, monkeypatch):
    monkeypatch.setattr(exports, "TAGS", {"vipvalue": 10})
    monkeypatch.setattr(exports, "FAULTS", ("growingio-saas.poll:vipvalue=failed=boom",))
    ran = run("demo", "--json")
    assert ran.code == 3
    assert ran.document["outcome"] == "partial"
    assert "tagferry: error: growingio-tag vipvalue: " in ran.err


def test_an_account_that_differs(run, lookups_only, monkeypatch):
    monkeypatch.setattr("tagferry.cli.demo.comparison.tags_of", lambda _: ["x"])
    ran = run("demo")
    assert ran.code == 8
    assert "An account is missing, there twice, or not as it is at the service!" in ran.err
    assert ran.out.count(" NO\n") == 2


def test_a_fetch_that_fails(run, lookups_only, monkeypatch):
    monkeypatch.setattr(lookups, "FAULTS", ("code=60020",))
    ran = run("demo", "--json")
    assert ran.code == 7
    document = ran.document
    assert document["outcome"] == "failed"
    assert document["fetches"][0]["error"]["code"] == 60020
    assert "tagferry: error: tencent-tags: tencent-im answered 60020" in ran.err


def test_accounts_without_trouble(run, lookups_only, monkeypatch):
    monkeypatch.setattr(lookups, "FAULTS", ())
    monkeypatch.setattr(lookups, "ODD", {})
    monkeypatch.setattr(lookups, "REPEATS", 0)
    ran = run("demo")
    assert ran.code == 0
    assert "What went wrong" not in ran.err
    assert ran.out.count("\n") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal(run, small, monkeypatch, when, workdir, number):
    monkeypatch.setattr(exports, "FAULTS", ("growingio-saas.download=stall@20000 x*",))
    when(lambda: list(workdir.rglob("*.part")), lambda: os.kill(os.getpid(), number))
    ran = run("demo", "--output", "kept")
    assert ran.code == 128 + number
    assert f"stopped by {number.name}" in ran.err


def test_a_signal_in_the_last_part(run, lookups_only, monkeypatch, when, workdir):
    monkeypatch.setattr(lookups, "FAULTS", ("stall@0 x*",))
    when(lambda: list(workdir.rglob("*.ledger")), lambda: os.kill(os.getpid(), signal.SIGINT))
    ran = run("demo", "--json", "--output", "kept")
    assert ran.code == 130
    document = ran.document
    assert document["outcome"] == "failed"
    stop = {
        "type": "Stopped",
        "code": "SIGINT",
        "message": "stopped by SIGINT",
        "hint": "run tagferry demo again",
    }
    assert document["error"] == stop
    assert document["fetches"][0]["error"] == stop


def test_an_export_that_was_stopped_says_so(run, exports_only, monkeypatch, when, workdir):
    monkeypatch.setattr(exports, "FAULTS", ("growingio-saas.download=stall@20000 x*",))
    when(lambda: list(workdir.rglob("*.part")), lambda: os.kill(os.getpid(), signal.SIGINT))
    ran = run("demo", "--json", "--output", "kept")
    assert ran.code == 130
    errors = [one["error"] for one in ran.document["exports"] if one["state"] == "failed"]
    assert errors
    assert all(error["type"] == "Stopped" for error in errors)


def test_an_emulator_that_does_not_start(run, small, monkeypatch):
    monkeypatch.setattr(exports, "FAULTS", ("nix=nix",))
    ran = run("demo")
    assert ran.code == 5
    assert "the emulator did not start" in ran.err


@pytest.fixture
def target(tmp_path):
    return Target.of(tmp_path / "tags.jsonl")


def lines_of(*accounts):
    return [json.dumps({"account": one, "tags": tags_of(one)}) for one in accounts]


@pytest.mark.parametrize(
    ("answers", "dead", "same"),
    [
        (lines_of("a", "b", "ghost"), [], True),
        (lines_of("a", "b"), ['{"account":"ghost","code":1,"message":"x"}'], True),
        (lines_of("a", "b"), [], False),
        (lines_of("a", "b", "ghost", "b"), [], False),
        (lines_of("a", "b", "ghost", "c"), [], False),
        (lines_of("a", "b", "ghost"), ['{"account":"ghost","code":1,"message":"x"}'], False),
        (lines_of("a", "b"), ['{"account":"ghost","tags":null}'], False),
        ([*lines_of("a", "b"), '{"account":"ghost","tags":[]}'], [], False),
    ],
)
def test_the_comparison_sees_what_is_wrong(target, answers, dead, same):
    target.output.write_text("".join(f"{line}\n" for line in answers))
    if dead:
        target.dead.write_text("".join(f"{line}\n" for line in dead))
    comparison = Comparison(target, lambda: ["a", "b", "ghost", "a"])
    assert (comparison.is_same, comparison.accounts) == (same, 3)
    assert [row.lines for row in comparison.rows] == [len(answers), len(dead)][: 1 + bool(dead)]
    assert all(row.same is same for row in comparison.rows)
    assert all(re.fullmatch("[0-9a-f]{64}", row.sha256) for row in comparison.rows)
