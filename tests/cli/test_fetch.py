"""``tagferry fetch`` and ``tagferry retry``: what a user gets, and what a script reads."""

import contextlib
import errno
import io
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tagferry.cli.fetch import Work, _run
from tagferry.cli.fetch_end import FetchEnd
from tagferry.cli.fetch_view import FetchView
from tagferry.cli.outlet import Patience
from tagferry.cli.stop import run_async
from tagferry.files.disk import disk_errors
from tagferry.lookups.outcome import FetchReport
from tests.lookups.world import GET_TAG, SECRET_KEY, make_accounts, truth_of

FETCH = ("fetch", "tencent-tags")
RETRY = ("retry", "tencent-tags")
OUTPUT = "tencent-tags.jsonl"
DEAD = "tencent-tags.dead.jsonl"
KEYS = [
    "v",
    "outcome",
    "accounts",
    "distinct",
    "tagged",
    "missing",
    "failed",
    "requests",
    "throttled",
    "seconds",
    "output",
    "dead_letters",
    "error",
]


def write(name, accounts):
    Path(name).write_text("".join(f"{one}\n" for one in accounts), encoding="utf-8")


def read(text):
    """The answers of JSON Lines, each account once."""
    # U+2028 is no end of a line.
    lines = [json.loads(line) for line in text.split("\n") if line]
    found = {line["account"]: line.get("tags") for line in lines}
    assert len(found) == len(lines)
    return {account: None if tags is None else tuple(tags) for account, tags in found.items()}


def check(text, accounts):
    assert read(text) == truth_of(accounts)


def calls(service):
    return service.seen.counts[GET_TAG]


def test_people_read_what_it_costs_and_what_came(run, tencent):
    accounts = make_accounts(1200)
    write("a.txt", [*accounts, *accounts[:5]])
    ran = run(*FETCH, "a.txt")
    assert (ran.code, ran.out) == (0, f"{OUTPUT}  1,200 accounts\n")
    check(Path(OUTPUT).read_text("utf-8"), accounts)
    first, *last = ran.err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1,200 accounts \(5 repeats dropped\): 12 calls, at least 1 s", first)
    missing = sum(tags is None for tags in truth_of(accounts).values())
    assert last[0] == f"1,200 accounts: {1200 - missing:,} tagged, {missing} missing, 0 failed"
    # 1,200 accounts in a part of a second are no measure, and look like more than the app may ask.
    assert re.fullmatch(r"  12 requests in [\d.]+ s", last[1])
    assert len(last) == 2
    assert sorted(path.name for path in Path().iterdir()) == ["a.txt", OUTPUT]


def test_credentials_in_clear_are_warned_of_once(run, tencent, monkeypatch):
    monkeypatch.setattr("tagferry.clients.insecure._is_loopback", lambda _: False)
    write("a.txt", make_accounts(5))
    ran = run(*FETCH, "a.txt", "--quiet")
    assert ran.code == 0
    assert ran.err.startswith("tagferry: warning: the credentials go to http://127.0.0.1:")
    assert ran.err.count("in clear; https would protect them") == 1


def test_json_of_a_complete_fetch(run, tencent):
    write("a.txt", [*make_accounts(250), "ghost", "user0000000"])
    ran = run(*FETCH, "a.txt", "--json", "--output", "tags.csv")
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    document = ran.document
    assert list(document) == KEYS
    assert document.pop("seconds") > 0
    assert document == {
        "v": 1,
        "outcome": "complete",
        "accounts": 252,
        "distinct": 251,
        "tagged": 250,
        "missing": 1,
        "failed": 0,
        "requests": 3,
        "throttled": 0,
        "output": "tags.csv",
        "dead_letters": None,
        "error": None,
    }
    assert Path("tags.csv").read_text().startswith("account,tags\n")


def test_json_of_a_partial_fetch_and_the_retry_of_its_dead_letters(run, tencent):
    accounts = make_accounts(150)
    # In two calls: the one with the poison is asked again in halves.
    write("a.txt", ["code70402x1-a", *accounts, "poison-b"])
    ran = run(*FETCH, "a.txt", "--json", "--output", "out/tags.jsonl")
    assert ran.code == 3
    document = ran.document
    assert list(document) == KEYS
    assert {name: document[name] for name in ("outcome", "tagged", "failed", "output", "dead_letters")} == {
        "outcome": "partial",
        "tagged": 150,
        "failed": 2,
        "output": "out/tags.jsonl",
        "dead_letters": "out/tags.dead.jsonl",
    }
    assert document["error"] is None
    dead = [json.loads(line) for line in Path("out/tags.dead.jsonl").read_text().splitlines()]
    assert {one["account"]: one["code"] for one in dead} == {"code70402x1-a": 70402, "poison-b": 90012}
    assert all(list(one) == ["account", "code", "message"] and one["message"] for one in dead)
    told = ran.err.splitlines()[-2:]
    assert told[0] == "  what failed: out/tags.dead.jsonl"
    assert told[1] == "  to ask again: tagferry retry tencent-tags out/tags.dead.jsonl"

    again = run(*told[1].partition("tagferry ")[2].split(), "--json")
    assert (again.code, again.document["tagged"], again.document["failed"]) == (3, 1, 1)
    check(Path("out/tags.jsonl").read_text("utf-8"), ["code70402x1-a", *accounts])
    assert len(Path("out/tags.dead.jsonl").read_text().splitlines()) == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["tags.dead.jsonl", "tags.jsonl"]


def test_a_retry_that_leaves_nothing_to_ask(run, tencent):
    write("a.txt", ["a", "code70402x1-b"])
    assert run(*FETCH, "a.txt").code == 3
    ran = run(*RETRY, DEAD, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"{OUTPUT}\n", "")
    check(Path(OUTPUT).read_text("utf-8"), ["a", "code70402x1-b"])
    assert not Path(DEAD).exists()


def test_when_nobody_was_answered_it_failed(run, tencent):
    write("a.txt", ["poison-a", "code70402-b"])
    ran = run(*FETCH, "a.txt", "--json")
    assert (ran.code, ran.document["outcome"], ran.document["failed"]) == (7, "failed", 2)
    assert ran.document["dead_letters"] == DEAD
    assert ran.document["error"] == {
        "type": "RefusedError",
        "code": None,
        "message": "the service answered for none of the accounts",
        "hint": f"read {DEAD}: the reason stands beside each account",
    }
    assert "to ask again" in ran.err


def test_quiet_prints_the_path_only(run, tencent):
    write("a.txt", ["a"])
    ran = run(*FETCH, "a.txt", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"{OUTPUT}\n", "")


def test_an_existing_file(run, tencent):
    write("a.txt", ["a"])
    run(*FETCH, "a.txt")
    refused = run(*FETCH, "a.txt", "--json")
    assert (refused.code, refused.document["error"]["type"]) == (2, "ConfigError")
    assert list(refused.document) == KEYS
    assert "--if-exists skip" in refused.err
    skipped = run(*FETCH, "a.txt", "--if-exists", "skip")
    assert (skipped.code, skipped.out) == (0, f"{OUTPUT}: skipped, it is there already\n")
    assert skipped.err == "nothing to do\n"
    write("a.txt", ["a", "b"])
    assert run(*FETCH, "a.txt", "--if-exists", "replace").code == 0
    check(Path(OUTPUT).read_text("utf-8"), ["a", "b"])


def test_an_empty_input_is_warned_of(run, tencent):
    write("a.txt", [])
    ran = run(*FETCH, "a.txt")
    assert ran.code == 0
    assert "tagferry: warning: the input has no accounts, and so has the output" in ran.err


@pytest.mark.parametrize(
    ("fault", "code", "type_"),
    [
        ("code=60020", 7, "RefusedError"),
        ("code=70001 x*", 4, "AuthError"),
        ("code=60007 x*", 5, "ThrottledError"),
        ("status=500 x*", 5, "UnavailableError"),
        ("html x*", 5, "UnavailableError"),
    ],
)
def test_exit_codes_of_what_the_service_says(run, tencent, fault, code, type_):
    write("a.txt", make_accounts(101))
    tencent.faults.add(GET_TAG, fault)
    ran = run(*FETCH, "a.txt", "--json", "--retries", "1")
    document = ran.document
    assert (ran.code, document["error"]["type"]) == (code, type_), ran.err
    assert list(document) == KEYS
    assert (document["outcome"], document["distinct"], document["output"]) == ("failed", 101, None)
    assert set(document["error"]) == {"type", "code", "message", "hint"}
    assert document["error"]["hint"]
    when = "" if code == 5 else ", when that is mended"
    command = "tagferry fetch tencent-tags a.txt --json --retries 1"
    assert ran.err.splitlines()[-1] == f"  to go on{when}: {command}"
    tencent.faults.clear()
    assert run(*FETCH, "a.txt").code == 0
    check(Path(OUTPUT).read_text("utf-8"), make_accounts(101))


def test_a_wrong_key(run, tencent, monkeypatch):
    write("a.txt", ["a"])
    monkeypatch.setenv("TAGFERRY_TENCENT_SECRET_KEY", "CANARY-another-key-0123456789abcdef-0123456789")
    ran = run(*FETCH, "a.txt")
    assert ran.code == 4
    assert "secret key, SDKAppID and identifier are of one app" in ran.err


def test_the_deadline(run, tencent):
    write("a.txt", ["a"])
    tencent.faults.add(GET_TAG, "stall@0 x*")
    ran = run(*FETCH, "a.txt", "--deadline", "0.5", "--json")
    assert (ran.code, ran.document["error"]["type"]) == (6, "DeadlineError")
    assert "to go on: tagferry fetch" in ran.err


def test_a_damaged_line(run, tencent):
    Path("a.txt").write_bytes(b"a\nb\xff\n")
    ran = run(*FETCH, "a.txt", "--json")
    assert (ran.code, ran.document["error"]["type"]) == (8, "RecordError")
    assert "a.txt, line 2 is not UTF-8" in ran.err
    # Nothing was begun that the same command could go on with.
    assert "go on" not in ran.err
    assert calls(tencent) == 0


def test_a_full_disk(run, tencent, monkeypatch):
    write("a.txt", ["a"])
    monkeypatch.setattr("tagferry.lookups.workplace.Workplace.save", _disk_full)
    ran = run(*FETCH, "a.txt", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (9, "ENOSPC")
    assert "to go on: tagferry fetch" in ran.err


def _disk_full(*_):
    with disk_errors(Path("x"), "write"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_printed_command_goes_on(run, tencent, when, number, code):
    accounts = make_accounts(900)
    write("a.txt", accounts)
    tencent.faults.add(GET_TAG, "pass x3")
    tencent.faults.add(GET_TAG, "stall@10 x*")
    when(lambda: calls(tencent) >= 9, lambda: os.kill(os.getpid(), number))
    ran = run(*FETCH, "a.txt", "--json", "--no-resume", "--output", "a dir/tags.jsonl")
    assert ran.code == code
    document = ran.document
    assert list(document) == KEYS
    assert (document["outcome"], document["distinct"], document["output"]) == ("failed", 900, None)
    again = "tagferry fetch tencent-tags a.txt --json --output 'a dir/tags.jsonl'"
    assert document["error"] == {
        "type": "Stopped",
        "code": number.name,
        "message": f"stopped by {number.name}",
        "hint": f"to go on: {again}",
    }
    assert ran.err.splitlines()[-2:] == [
        f"tagferry: stopped by {number.name}; what is on disk is kept",
        f"  to go on: {again}",
    ]
    assert re.search(r"^300 of 900 accounts", ran.err, re.MULTILINE)

    tencent.faults.clear()
    asked = calls(tencent)
    go_on = run(*FETCH, "a.txt", "--output", "a dir/tags.jsonl")
    assert go_on.code == 0
    assert "900 accounts, 600 of them left: 6 calls" in go_on.err
    assert calls(tencent) - asked == 6
    check(Path("a dir/tags.jsonl").read_text("utf-8"), accounts)


@pytest.mark.parametrize(("name", "text"), [("a.txt", "a.txt"), ("a.csv", "a.csv:uid")])
def test_a_fetch_goes_on_when_its_input_is_gone(run, tencent, when, name, text):
    accounts = make_accounts(300)
    write(name, ["uid", *accounts] if ":" in text else accounts)
    tencent.faults.add(GET_TAG, "stall@10 x*")
    when(lambda: calls(tencent), lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(*FETCH, text).code == 130
    tencent.faults.clear()
    Path(name).unlink()
    assert run(*FETCH, text, "--no-resume").code == 2
    ran = run(*FETCH, text)
    assert ran.code == 0
    check(Path(OUTPUT).read_text("utf-8"), accounts)


def test_an_input_that_is_gone_before_it_was_read_is_no_empty_one(run, tencent):
    Path(f"{OUTPUT}.ledger").touch()
    ran = run(*FETCH, "a.txt")
    assert ran.code == 9
    assert "cannot read a.txt: No such file or directory" in ran.err
    assert not Path(OUTPUT).exists()


def test_accounts_of_a_csv_column_in_their_order(run, tencent):
    accounts = make_accounts(350)
    Path("u.csv").write_text("name;uid\n" + "".join(f"x;{one}\n" for one in accounts))
    assert run(*FETCH, "u.csv:uid", "--ordered").code == 0
    assert list(read(Path(OUTPUT).read_text("utf-8"))) == accounts


@pytest.fixture
def stdin(monkeypatch):
    def put(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return put


def test_standard_input(run, tencent, stdin):
    stdin("a\nb\n\na\n")
    ran = run(*FETCH, "-", "--json")
    assert (ran.code, ran.document["accounts"], ran.document["distinct"]) == (0, 3, 2)
    check(Path(OUTPUT).read_text("utf-8"), ["a", "b"])


def test_what_came_through_standard_input_goes_on_without_it(run, tencent, when, stdin):
    accounts = make_accounts(300)
    stdin("".join(f"{one}\n" for one in accounts))
    tencent.faults.add(GET_TAG, "stall@10 x*")
    when(lambda: calls(tencent), lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = run(*FETCH, "-")
    assert stopped.code == 130
    assert stopped.err.endswith("  to go on: tagferry fetch tencent-tags - </dev/null\n")
    tencent.faults.clear()
    stdin("")
    assert run(*FETCH, "-").code == 0
    check(Path(OUTPUT).read_text("utf-8"), accounts)


def test_who_types_is_told_how_it_ends(run, tencent, monkeypatch):
    class Keys(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Keys(io.BytesIO(b"a\n")))
    ran = run(*FETCH, "-")
    assert ran.code == 0
    assert ran.err.startswith("type accounts, one a line; Ctrl-D")


def test_a_stream_of_data_and_nothing_else(run, tencent):
    accounts = make_accounts(250)
    write("a.txt", [*accounts, "poison-a"])
    ran = run(*FETCH, "a.txt", "--output", "-", "--quiet")
    assert ran.code == 3
    check(ran.out, accounts)
    (letter,) = ran.err.splitlines()
    assert json.loads(letter)["account"] == "poison-a"
    assert [path.name for path in Path().iterdir()] == ["a.txt"]
    loud = run(*FETCH, "a.txt", "--output", "-")
    check(loud.out, accounts)
    assert "251 accounts: 250 tagged, 0 missing, 1 failed" in loud.err
    assert loud.err.endswith("  what failed is among the lines above\n")


def test_a_stream_in_which_nobody_was_answered(run, tencent):
    write("a.txt", ["poison-a"])
    ran = run(*FETCH, "a.txt", "--output", "-")
    assert (ran.code, ran.out) == (7, "")
    assert "next: read the lines above: the reason stands beside each account" in ran.err


def test_a_stream_that_is_stopped_has_to_start_over(run, tencent, when):
    write("a.txt", make_accounts(300))
    tencent.faults.add(GET_TAG, "stall@10 x*")
    when(lambda: calls(tencent), lambda: os.kill(os.getpid(), signal.SIGTERM))
    ran = run(*FETCH, "a.txt", "--output", "-")
    assert ran.code == 143
    assert ran.err.splitlines()[-2:] == [
        "tagferry: stopped by SIGTERM; nothing is kept for a next run",
        "  to start over: tagferry fetch tencent-tags a.txt --output -",
    ]


def test_a_stream_past_its_deadline(run, tencent):
    write("a.txt", ["a"])
    tencent.faults.add(GET_TAG, "stall@0 x*")
    ran = run(*FETCH, "a.txt", "--output", "-", "--deadline", "0.5")
    assert ran.code == 6
    assert "next: run the same again with a longer --deadline" in ran.err
    assert "go on:" not in ran.err


def test_a_reader_that_goes_away_ends_it_quietly(run, tencent, monkeypatch):
    write("a.txt", make_accounts(300))
    reading, writing = os.pipe()
    os.close(reading)
    with io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True) as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        ran = run(*FETCH, "a.txt", "--output", "-", "--progress", "off")
    assert ran.code == 0
    (line,) = ran.err.splitlines()
    assert line.startswith("tagferry: the reader has gone; stopped at ")


def test_what_was_dropped_in_the_last_moment_is_not_complete():
    patience, view = Patience(10.0), FetchView()
    end = FetchEnd(("fetch", "tencent-tags", "a.txt"), view, to_stream=True, from_stream=False)

    async def work():
        patience.is_cut = True
        return FetchReport(output=None, distinct=1, tagged=1)

    run_async(lambda: _run(Work(contextlib.nullcontext(), work), patience, end))
    assert (end.report, end.exit_code) == (None, 6)
    assert "longer --deadline" in end.error.hint


@pytest.mark.parametrize("mode", ["on", "log", "off", "auto"])
def test_progress_modes(run, tencent, mode):
    write("a.txt", make_accounts(150))
    tencent.faults.add(GET_TAG, "status=502")
    ran = run(*FETCH, "a.txt", "--progress", mode)
    assert ran.code == 0
    assert ("\x1b[" in ran.err) == (mode == "on")
    assert ("trying again" in ran.err) == (mode != "off")
    assert ("2 calls, at least" in ran.err) == (mode != "off")


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(run_on_terminal, tencent):
    write("a.txt", make_accounts(150))
    code, screen = run_on_terminal(*FETCH, "a.txt")
    assert code == 0
    assert screen.index("\x1b[?25l") < screen.index("150 accounts: 2 calls") < screen.index("\x1b[?25h")
    assert screen.index("\x1b[?25h") < screen.index("150 accounts: 150 tagged")
    # The last thing that the view does is to wipe itself.
    assert "━" in screen
    assert "━" not in screen[screen.rindex("\x1b[2K") :]


def test_dead_letters_do_not_write_into_the_bar(run_on_terminal, tencent):
    write("a.txt", ["poison-a", *make_accounts(150)])
    code, screen = run_on_terminal(*FETCH, "a.txt", "--output", "-", "--progress", "on")
    assert code == 3
    # The view is wiped before the line, which has one of its own.
    before = screen[: screen.index('{"account":"poison-a"')].rpartition("\n")[2].rpartition("\r")[2]
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", before) == ""


def test_no_colour_on_request(run_on_terminal, tencent, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    write("a.txt", make_accounts(150))
    code, screen = run_on_terminal(*FETCH, "a.txt")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)[0-9]m", screen)


def test_a_dumb_terminal_gets_lines(run_on_terminal, tencent, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    write("a.txt", make_accounts(150))
    code, screen = run_on_terminal(*FETCH, "a.txt")
    assert code == 0
    assert "\x1b" not in screen


@pytest.mark.parametrize(
    "fault", [None, "status=500 x2", "code=70001", "cut@20", "redirect=http://127.0.0.1:9/?usersig=x"]
)
def test_no_secret_at_debug(run, tencent, fault):
    write("a.txt", ["a", "poison-b"])
    if fault:
        tencent.faults.add(GET_TAG, fault)
    ran = run(*FETCH, "a.txt", "--log-level", "debug")
    assert ran.code == 3 or fault.startswith("redirect")
    assert "INFO FetchPlanned" in ran.err
    left = "".join(path.read_text("utf-8", "replace") for path in Path().iterdir())
    for secret in (SECRET_KEY, "usersig=", "eJ"):
        assert secret not in ran.out + ran.err + left


def test_hostile_text_is_escaped(run, tencent):
    write("a.txt", ["a"])
    body = '{"ActionStatus":"FAIL","ErrorCode":60020,"ErrorInfo":"[red]\\u001b[31m\\u202e"}'
    tencent.faults.add(GET_TAG, f"body={body}")
    ran = run(*FETCH, "a.txt", "--progress", "on")
    assert ran.code == 7
    assert "[red]" in ran.err
    assert "\u202e" not in ran.err
    assert "\x1b[31m" not in ran.err
