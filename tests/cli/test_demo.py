import functools
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tagferry.cli import demo as subject
from tagferry.cli.demo import growingio, growingio_cdp, lookups
from tagferry.cli.demo.comparison import Comparison
from tagferry.cli.export import ferry
from tagferry.emulator import tags_of
from tagferry.exports.schedule import PollSchedule
from tagferry.lookups.target import Target

ACCOUNTS = 3_000
ODD = {500: "poison-account", 1_500: "code70402-wrong", 2_000: "code91000x1-busy"}


@pytest.fixture
def small(monkeypatch):
    """A demo of two tags, a segment and some accounts, asked without long waits."""
    monkeypatch.setattr(growingio, "TAGS", {"vipvalue": 15_000, "citytier": 2_000})
    monkeypatch.setattr(growingio, "SEGMENTS", {"lapsed30": 3_000})
    faults = (growingio.FAULTS[1], "growingio-saas.poll:lapsed30=status=503")
    monkeypatch.setattr(growingio, "FAULTS", faults)
    monkeypatch.setattr(growingio_cdp, "CSV_TAGS", {"tag_rfm": 2_000, "tag_awkward": 1_000})
    monkeypatch.setattr(growingio_cdp, "JSON_TAGS", {"tag_encrypted": 500})
    monkeypatch.setattr(growingio_cdp, "SEGMENTS", {"seg_00007": 300})
    faults = (growingio_cdp.FAULTS[0], growingio_cdp.FAULTS[2], "growingio-cdp.download:tag_awkward=cut@9999")
    monkeypatch.setattr(growingio_cdp, "FAULTS", faults)
    monkeypatch.setattr(lookups, "ACCOUNTS", ACCOUNTS)
    monkeypatch.setattr(lookups, "ODD", ODD)
    monkeypatch.setattr(lookups, "REPEATS", 7)
    monkeypatch.setattr(lookups, "FAULTS", ("pass x5", "code=60007", "status=502", "cut@20"))
    fast = functools.partial(PollSchedule, floor=0.1, cap=0.5)
    monkeypatch.setattr("tagferry.clients.growingio.PollSchedule", fast)
    monkeypatch.setattr("tagferry.clients.growingio_cdp.PollSchedule", fast)


def test_it_shows_files_like_those_of_the_services(run, small, workdir):
    ran = run("demo", "--output", "kept")
    assert ran.code == 0, ran.err
    head, *rows = ran.out.splitlines()
    assert head.split() == ["FILE", "ROWS", "SIZE", "SHA-256", "SAME"]
    assert len(rows) == 10
    assert all(row.endswith("yes") for row in rows)
    told = ran.err.partition("What went wrong")[2].splitlines()
    assert all(len(line) <= 80 for line in (*ran.out.splitlines(), *told))
    assert sorted(row.split()[0] for row in rows) == sorted(path.name for path in Path("kept").iterdir())
    for part in (
        "3 exports from GrowingIO:",
        "The tags of 3,000 accounts from Tencent IM, at 1,000 calls a second:",
        "What went wrong on the way:",
        "4 exports from GrowingIO CDP, whose links hold encoded Chinese names:",
        "growingio-cdp-tag tag_rfm: its job is there; going on with it",
        "a request failed and was tried again (2×)",
        "a link had expired and was renewed (1×)",
        "a transfer broke off (1×)",
        "nobody heard that a job was made; it was found, and not made again (1×)",
        "a call was said to be too fast, and all went slower for a while (1×)",
        "a call failed or broke off, and was made again (3×)",
        "an account was in the list again, and was asked for once (7×)",
        "an account could not be answered; the others of its call were (2×)",
        "Every file of GrowingIO is the same as at the service.",
        "Every file of GrowingIO CDP is the same as at the service.",
        "Each of its 4 jobs was made once.",
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
    assert [one["state"] for one in document["exports"]] == ["done"] * 7
    (fetch,) = document["fetches"]
    assert (fetch["kind"], fetch["same"], fetch["distinct"], fetch["failed"]) == (
        "tencent-tags",
        True,
        ACCOUNTS,
        2,
    )
    assert list(workdir.iterdir()) == []
    assert not list(tmp_path.glob("tagferry-demo-*"))


def test_quiet_prints_paths_only(run, lookups_only, workdir):
    ran = run("demo", "--quiet", "--output", "kept")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(ran.out.split()) == sorted(str(path) for path in Path("kept").iterdir())


@pytest.fixture
def exports_only(small, monkeypatch):
    monkeypatch.setattr(subject, "PARTS", (growingio.GrowingIOPart,))


@pytest.fixture
def cdp_only(small, monkeypatch):
    monkeypatch.setattr(subject, "PARTS", (growingio_cdp.GrowingIOCDPPart,))


@pytest.fixture
def lookups_only(small, monkeypatch):
    monkeypatch.setattr(subject, "PARTS", (lookups.LookupsPart,))


def test_a_file_that_differs(run, exports_only, monkeypatch):
    monkeypatch.setattr(growingio, "TAGS", {})
    monkeypatch.setattr(growingio, "FAULTS", ())
    monkeypatch.setattr(growingio.GrowingIOPart, "_truth_of", lambda *_: ())
    ran = run("demo", "--progress", "off")
    assert ran.code == 8
    assert "A file of GrowingIO differs" in ran.err
    assert "Yours:" not in ran.err


def test_an_export_that_fails(run, exports_only, monkeypatch):
    monkeypatch.setattr(growingio, "TAGS", {"vipvalue": 10})
    monkeypatch.setattr(growingio, "FAULTS", ("growingio-saas.poll:vipvalue=failed=boom",))
    ran = run("demo", "--json")
    assert ran.code == 3
    assert ran.document["outcome"] == "partial"
    assert "tagferry: error: growingio-tag vipvalue: " in ran.err


def test_a_job_that_is_made_twice(run, cdp_only, monkeypatch):
    # Somebody who makes another one, although the first is there.
    monkeypatch.setattr(growingio_cdp.GrowingIOCDP, "attach", lambda _, __, export: export)

    def bring_anew(client, report, options, view):
        return ferry(client, report, replace(options, no_resume=True), view)

    monkeypatch.setattr(growingio_cdp, "ferry", bring_anew)
    ran = run("demo", "--progress", "off")
    assert ran.code == 8
    assert "Every file of GrowingIO CDP is the same as at the service." in ran.err
    assert "A job was made more than once!" in ran.err


def test_a_job_of_which_nobody_knows(run, cdp_only, monkeypatch):
    monkeypatch.setattr(growingio_cdp.GrowingIOCDP, "attach", lambda _, __, export: export)
    ran = run("demo", "--progress", "off")
    assert ran.code == 3
    assert "tagferry: error: growingio-cdp-tag tag_rfm: whether growingio-cdp has begun" in ran.err
    assert "it was found" not in ran.err
    assert "jobs was made" not in ran.err


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
    monkeypatch.setattr(growingio, "FAULTS", ("growingio-saas.download=stall@20000 x*",))
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
    monkeypatch.setattr(growingio, "FAULTS", ("growingio-saas.download=stall@20000 x*",))
    when(lambda: list(workdir.rglob("*.part")), lambda: os.kill(os.getpid(), signal.SIGINT))
    ran = run("demo", "--json", "--output", "kept")
    assert ran.code == 130
    errors = [one["error"] for one in ran.document["exports"] if one["state"] == "failed"]
    assert errors
    assert all(error["type"] == "Stopped" for error in errors)


def test_an_emulator_that_does_not_start(run, small, monkeypatch):
    monkeypatch.setattr(growingio, "FAULTS", ("nix=nix",))
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
