import errno
import hashlib
import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tagferry.cli.progress import View
from tagferry.exports import download
from tagferry.files.disk import disk_errors
from tests.cli.conftest import CANARY, PROJECT

TAG = ("export", "growingio-tag", PROJECT)
SEGMENT = ("export", "growingio-segment", PROJECT)


def check_file(service, path, kind, id_, parameters=()):
    data = Path(path).read_bytes()
    assert data == service.source(kind, PROJECT, id_, parameters).bytes()
    return hashlib.sha256(data).hexdigest()


def test_people_read_two_lines_for_each_file(run, service, workdir):
    ran = run(*TAG, "aaaaaaaa", "bbbbbbbb", "--output", "out")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for line, below, id_ in zip(lines[::2], lines[1::2], ("aaaaaaaa", "bbbbbbbb"), strict=True):
        sha = check_file(service, f"out/growingio-tag-{PROJECT}-{id_}.csv", "growingio-tag", id_)
        assert line.startswith(f"out/growingio-tag-{PROJECT}-{id_}.csv  ")
        assert below == f"  sha256 {sha}"
    assert "2 of 2 exports done" in ran.err
    assert "growingio-tag aaaaaaaa: done" in ran.err


def test_json_is_one_document(run, service):
    ran = run(*SEGMENT, "nP2lpkX9", "--json", "--parameters", "open_id, role", "--expire-minutes", "5")
    path = f"growingio-segment-{PROJECT}-nP2lpkX9.csv"
    sha = check_file(service, path, "growingio-segment", "nP2lpkX9", ("open_id", "role"))
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert ran.document == {
        "v": 1,
        "outcome": "complete",
        "exports": [
            {
                "kind": "growingio-segment",
                "id": "nP2lpkX9",
                "state": "done",
                "files": [{"path": path, "size": Path(path).stat().st_size, "sha256": sha}],
                "error": None,
            }
        ],
        "error": None,
    }


def test_quiet_prints_paths_only(run, service):
    ran = run(*TAG, "aaaaaaaa", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"growingio-tag-{PROJECT}-aaaaaaaa.csv\n", "")


def test_an_existing_file(run, service):
    run(*TAG, "aaaaaaaa")
    refused = run(*TAG, "aaaaaaaa")
    assert refused.code == 2
    assert "--if-exists skip" in refused.err
    assert refused.out == ""
    skipped = run(*TAG, "aaaaaaaa", "bbbbbbbb", "--if-exists", "skip", "--json")
    assert [one["state"] for one in skipped.document["exports"]] == ["skipped", "done"]
    assert "(1 already there)" in run(*TAG, "aaaaaaaa", "--if-exists", "skip").err
    assert run(*TAG, "aaaaaaaa", "--if-exists", "replace").code == 0


def test_an_empty_audience(run, service):
    service.faults.add("growingio-saas.poll", "no-links x*")
    ran = run(*TAG, "aaaaaaaa")
    assert ran.code == 0
    assert ran.out == "growingio-tag aaaaaaaa: empty, no users and so no file\n"


@pytest.mark.parametrize(
    ("operation", "fault", "code", "type_"),
    [
        ("poll", "status=401", 4, "AuthError"),
        ("poll", "status=500 x*", 5, "UnavailableError"),
        ("poll", "status=503 x*", 5, "ThrottledError"),
        ("poll", "html x*", 5, "ProtocolError"),
        ("poll", "failed=boom", 7, "JobFailedError"),
        ("poll", "status=404", 7, "RefusedError"),
        ("download", "close x*", 5, "UnavailableError"),
        ("download", "expired x*", 5, "LinkExpiredError"),
    ],
)
def test_exit_codes_of_failures(run, service, monkeypatch, operation, fault, code, type_):
    service.faults.add(f"growingio-saas.{operation}", fault)
    ran = run(*TAG, "aaaaaaaa", "--json", "--retries", "1")
    error = ran.document["exports"][0]["error"]
    assert (ran.code, error["type"]) == (code, type_), ran.err
    assert set(error) == {"type", "code", "message", "hint"}
    assert ran.document["outcome"] == "failed"
    assert "tagferry: error: growingio-tag aaaaaaaa: " in ran.err
    assert ("to go on: tagferry export" in ran.err) == (code in {5, 6, 8, 9})


def test_refused_credentials(run, service, monkeypatch):
    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", CANARY)
    ran = run(*TAG, "aaaaaaaa")
    assert ran.code == 4
    assert "TAGFERRY_GROWINGIO_TOKEN" in ran.err
    assert CANARY not in ran.err + ran.out


def test_some_succeed(run, service):
    service.faults.add("growingio-saas.poll:bbbbbbbb", "failed=boom")
    ran = run(*TAG, "bbbbbbbb", "aaaaaaaa", "--json")
    assert ran.code == 3
    assert ran.document["outcome"] == "partial"
    assert [one["state"] for one in ran.document["exports"]] == ["failed", "done"]


def test_the_deadline(run, service):
    service.faults.add("growingio-saas.poll", "status-word=doing x*")
    ran = run(*TAG, "aaaaaaaa", "--deadline", "0.3", "--retries", "3")
    assert ran.code == 6
    assert "was not done within 0.3 s" in ran.err
    assert "to go on: tagferry export growingio-tag" in ran.err


def test_a_full_disk(run, service, monkeypatch):
    monkeypatch.setattr("tagferry.exports.part.PartFile.append", _disk_full)
    ran = run(*TAG, "aaaaaaaa", "--json")
    assert ran.code == 9
    assert ran.document["exports"][0]["error"]["code"] == "ENOSPC"


def _disk_full(*_):
    with disk_errors(Path("x"), "write"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def so_far(monkeypatch):
    """What the command line knows by now: the exports that are done, and how many bytes came."""
    known = SimpleNamespace(done=[], came=0)
    settle, receive = View.settle, download.receive

    def note(view, outcome):
        settle(view, outcome)
        known.done.append(outcome.export.id)

    async def counted(body):
        async for chunk in body:
            known.came += len(chunk)
            yield chunk

    monkeypatch.setattr(View, "settle", note)
    monkeypatch.setattr(download, "receive", lambda body, *args, **how: receive(counted(body), *args, **how))
    return known


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly(run, service, when, so_far, number, code):
    service.faults.add("growingio-saas.download:bbbbbbbb", "stall@20000")
    whole = len(service.source("growingio-tag", PROJECT, "aaaaaaaa").bytes())

    def stalls():
        return so_far.done == ["aaaaaaaa"] and so_far.came == whole + 20_000

    when(stalls, lambda: os.kill(os.getpid(), number))
    ran = run(*TAG, "aaaaaaaa", "bbbbbbbb", "--json", "--no-resume", "--output", "a dir")
    assert ran.code == code
    document = ran.document
    assert document["outcome"] == "partial"
    assert document["error"]["code"] == number.name
    assert [one["state"] for one in document["exports"]] == ["done", "failed"]
    again = (
        f"tagferry export growingio-tag {PROJECT} aaaaaaaa bbbbbbbb --json --output 'a dir' --if-exists skip"
    )
    assert ran.err.endswith(f"  to go on: {again}\n")
    kept = [path.name for path in Path("a dir").iterdir() if "bbbbbbbb" in path.name]
    assert any(name.endswith(".part") for name in kept)
    assert any(name.endswith(".part.json") for name in kept)
    go_on = run(*TAG, "aaaaaaaa", "bbbbbbbb", "--output", "a dir", "--if-exists", "skip")
    assert go_on.code == 0
    assert "going on at byte 20,000" in go_on.err


def test_a_second_signal_leaves_at_once(run, service, monkeypatch):
    from tagferry.cli import stop

    left = []
    monkeypatch.setattr(stop.os, "_exit", left.append)
    stop._leave(130)
    assert left == [130]


@pytest.mark.parametrize("mode", ["on", "log", "off", "auto"])
def test_progress_modes(run, service, mode):
    service.faults.add("growingio-saas.download:aaaaaaaa", "expired")
    service.faults.add("growingio-saas.download:aaaaaaaa", "cut@9000")
    ran = run(*TAG, "aaaaaaaa", "--progress", mode)
    assert ran.code == 0
    assert ("\x1b[" in ran.err) == (mode == "on")
    lines = ran.err.splitlines()
    if mode in {"log", "auto"}:
        assert any("the link had expired" in line for line in lines)
        assert any("broke off, trying again" in line for line in lines)
    if mode == "off":
        assert len(lines) == 1


def test_a_terminal_gets_a_live_view(run_on_terminal, service):
    code, screen = run_on_terminal(*TAG, "aaaaaaaa")
    assert code == 0
    assert screen.index("\x1b[?25l") < screen.index("growingio-tag aaaaaaaa") < screen.index("\x1b[?25h")
    assert screen.index("\x1b[?25h") < screen.index("1 of 1 export done")


def test_no_colour_on_request(run_on_terminal, service, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, screen = run_on_terminal(*TAG, "aaaaaaaa")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)[0-9]m", screen)


def test_a_dumb_terminal_gets_lines(run_on_terminal, service, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    code, screen = run_on_terminal(*TAG, "aaaaaaaa")
    assert code == 0
    assert "\x1b" not in screen
    assert "growingio-tag aaaaaaaa: done" in screen


@pytest.mark.parametrize("fault", [None, "poll=status=500 x2", "download=cut@2000", "download=expired"])
def test_no_secret_at_debug(run, service, monkeypatch, fault, tmp_path):
    from tagferry.emulator import Settings, serve_in_thread

    with serve_in_thread(Settings(token=CANARY, time_scale=0.01, job_seconds=1)) as other:
        if fault:
            operation, _, rest = fault.partition("=")
            other.faults.add(f"growingio-saas.{operation}", rest)
        monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", CANARY)
        monkeypatch.setenv("TAGFERRY_GROWINGIO_BASE_URL", other.base_url)
        ran = run(*TAG, "aaaaaaaa", "--log-level", "DEBUG")
    assert ran.code == 0
    assert "DEBUG Polled" in ran.err
    for secret in (CANARY, "sign=", "expires="):
        assert secret not in ran.out + ran.err


def test_an_unexpected_error_is_one_line(run, service, monkeypatch):
    def fail(*_, **__):
        secret = CANARY
        raise RuntimeError(secret)

    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", CANARY)

    monkeypatch.setattr("tagferry.cli.export.download_all", fail)
    ran = run(*TAG, "aaaaaaaa", "--json")
    assert ran.code == 1
    assert ran.document["error"]["type"] == "UnexpectedError"
    assert CANARY not in ran.out + ran.err
    assert "please report it" in ran.err
    assert "Traceback" not in ran.err
    debug = run(*TAG, "aaaaaaaa", "--log-level", "DEBUG")
    assert "Traceback" in debug.err
    assert "RuntimeError: ***" in debug.err
    assert CANARY not in debug.err


def test_a_group_of_errors_is_named_by_its_first(run, service, monkeypatch):
    def fail(*_, **__):
        raise ExceptionGroup("group", [ExceptionGroup("inner", [KeyError("x")])])

    monkeypatch.setattr("tagferry.cli.export.download_all", fail)
    assert "unexpected error: KeyError" in run(*TAG, "aaaaaaaa").err


def test_ctrl_c_outside_of_the_loop(run, service, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tagferry.cli.export.run_async", fail)
    ran = run(*TAG, "aaaaaaaa")
    assert ran.code == 130
    assert ran.err.endswith("tagferry: stopped by SIGINT\n")


def test_settings_of_a_file(run, service, workdir, monkeypatch):
    monkeypatch.delenv("TAGFERRY_GROWINGIO_TOKEN")
    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKN", "x")
    (workdir / "tagferry.toml").write_text(f'[profile.p.growingio]\ntoken = "{service.token}"\n')
    (workdir / "tagferry.toml").chmod(0o644)
    ran = run(*TAG, "aaaaaaaa", "--profile", "p")
    assert ran.code == 0
    assert "warning: unknown environment variable TAGFERRY_GROWINGIO_TOKN" in ran.err
    assert "chmod 600" in ran.err


def test_hostile_text_is_escaped(run, service):
    service.faults.add("growingio-saas.poll", "failed=[red]\x1b[31m\u202e/[/]")
    ran = run(*TAG, "aaaaaaaa", "--progress", "on", "--json")
    assert "[red]" in ran.err
    assert "\x1b[31m\u202e" not in ran.err
    assert "\\x1b" in json.dumps(ran.document) or "x1b" in ran.out
