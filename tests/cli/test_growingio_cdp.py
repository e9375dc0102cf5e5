"""Exports of GrowingIO CDP from the command line: what it prints, its exit codes, how one goes on."""

import csv
import functools
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tagferry.clients.growingio_cdp import GrowingIOCDP
from tagferry.exports.schedule import PollSchedule
from tests.cli.conftest import CANARY
from tests.exports.cdp_world import PROJECT, SPACE, jobs_of, read_submission

TAG = ("export", "growingio-cdp-tag")
SEGMENT = ("export", "growingio-cdp-segment")
NAME = "growingio-cdp-tag-tag_rfm.csv"
TAGFERRY = (sys.executable, "-P", "-m", "tagferry")
SUBMIT = "growingio-cdp.submit"
KEYS = [word for number in range(61) for word in ("--property", f"usr_{number}")]


@pytest.fixture
def cdp(workdir, monkeypatch, tagferry_emulator):
    """An emulator that the settings of the environment lead to, asked without long waits."""
    monkeypatch.setenv("TAGFERRY_CDP_TOKEN", tagferry_emulator.token)
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", tagferry_emulator.base_url)
    fast = functools.partial(PollSchedule, floor=0.03, cap=0.1)
    monkeypatch.setattr("tagferry.clients.growingio_cdp.PollSchedule", fast)
    quick = functools.partial(GrowingIOCDP, rate="1000/s")
    monkeypatch.setattr("tagferry.cli.growingio_cdp.GrowingIOCDP", quick)
    return tagferry_emulator


def check_file(cdp, path, key="tag_rfm", *parameters, kind="growingio-cdp-tag", place=""):
    body = Path(path).read_bytes()
    assert body == cdp.source(kind, place, key, parameters).bytes()
    return hashlib.sha256(body).hexdigest()


# What comes of it -------------------------------------------------------------------------------------


def test_people_read_two_lines_for_each_file(run, cdp):
    ran = run(*TAG, "tag_rfm", "tag_example_api", "--output", "out")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for line, below, key in zip(lines[::2], lines[1::2], ("tag_rfm", "tag_example_api"), strict=True):
        path = f"out/growingio-cdp-tag-{key}.csv"
        assert line.startswith(f"{path}  ")
        assert below == f"  sha256 {check_file(cdp, path, key)}"
    assert "2 of 2 exports done" in ran.err
    assert set(cdp.cdp.made.values()) == {1}


def test_json_is_one_document(run, cdp):
    ran = run(*TAG, "tag_rfm", "--json", "--property", "usr_gender", "--property", "id_$basic_userId")
    sha = check_file(cdp, NAME, "tag_rfm", "usr_gender", "id_$basic_userId")
    assert ran.code == 0
    assert ran.document == {
        "v": 1,
        "outcome": "complete",
        "exports": [
            {
                "kind": "growingio-cdp-tag",
                "id": "tag_rfm",
                "state": "done",
                "files": [{"path": NAME, "size": Path(NAME).stat().st_size, "sha256": sha}],
                "error": None,
            }
        ],
        "error": None,
    }


@pytest.mark.parametrize(
    ("words", "name", "parameters"),
    [
        ([], "tag_rfm.csv", ()),
        (["--file-format", "json"], "tag_rfm.jsonl", ("fileFormat=json",)),
        (
            ["--csv-header", "name", "--property", "usr_gender"],
            "tag_rfm.csv",
            ("usr_gender", "csvHeaderType=name"),
        ),
        (KEYS[:120], "tag_rfm.csv", tuple(KEYS[1:120:2])),
    ],
)
def test_the_options_say_what_is_in_a_file(run, cdp, words, name, parameters):
    assert run(*TAG, "tag_rfm", *words).code == 0
    check_file(cdp, f"growingio-cdp-tag-{name}", "tag_rfm", *parameters)


@pytest.mark.parametrize("space", [None, SPACE])
@pytest.mark.parametrize(
    ("verb", "key"), [(TAG, "tag_rfm"), (SEGMENT, "seg_51activity"), (SEGMENT, "seg_example_api")]
)
def test_projects_and_spaces(run, cdp, verb, key, space):
    scope = ["--project", PROJECT, *(["--space", space] if space else [])]
    ran = run(*verb, key, *scope, "--quiet")
    assert ran.code == 0
    place = f"{PROJECT}/{space}" if space else PROJECT
    check_file(cdp, ran.out.strip(), key, kind=verb[1], place=place)
    assert ran.out.strip() == "-".join([verb[1], *place.split("/"), key]) + ".csv"


def test_another_address_of_the_files(run, cdp, monkeypatch):
    monkeypatch.setenv("TAGFERRY_CDP_DOWNLOAD_URL", cdp.base_url.replace("127.0.0.1", "localhost"))
    assert run(*TAG, "tag_rfm").code == 0
    check_file(cdp, NAME)
    (seen,) = cdp.seen.of("growingio-cdp.download")
    assert seen.values("Host")[0].startswith("localhost:")


def test_all_that_is_listed(run, cdp):
    ran = run(*TAG, "--all", "--match", "tag_e*", "--json")
    assert ran.code == 0
    assert {one["id"] for one in ran.document["exports"]} == {"tag_example_api", "tag_encrypted"}


# What cannot work is refused before anything is asked ------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*TAG, "tag_rfm", *KEYS), "more than 60 properties"),
        ((*TAG, "--all", *KEYS), "more than 60 properties"),
        ((*SEGMENT, "--all", "--project", PROJECT, *KEYS), "more than 60 properties"),
        ((*TAG, "tag_rfm", "--property", "usr gender"), "is no key"),
        ((*TAG, "tag_rfm", "--property", ""), "the value is empty"),
        ((*TAG, "tag_rfm", "--property", "a", "--property", "a"), "given twice"),
        ((*TAG, "会员,等级"), "is no key"),
        ((*TAG,), "no TAG_KEY is given"),
        ((*TAG, "tag_rfm", "--all"), "exclude each other"),
        ((*TAG, "tag_rfm", "tag_rfm"), "two exports would both be written"),
        ((*TAG, "tag_rfm", "--file-format", "parquet"), "file-format"),
        ((*TAG, "tag_rfm", "--file-format", "json", "--csv-header", "name"), "means nothing to json"),
        ((*TAG, "tag_rfm", "--csv-header", "none"), "csv-header"),
        ((*TAG, "tag_rfm", "--space", SPACE), "needs its project"),
        ((*TAG, "tag_rfm", "--project", "a/b"), "project id"),
        ((*SEGMENT, "seg_51activity"), "--project"),
        ((*TAG, "tag_rfm", "--job", "a b"), "job id"),
        ((*TAG, "tag_rfm", "--job", ""), "the value is empty"),
        ((*TAG, "tag_rfm", "tag_example_api", "--job", "kqQeWeGr"), "more than one key"),
        ((*TAG, "--all", "--job", "kqQeWeGr"), "more than one key"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(run, cdp, words, says):
    ran = run(*words)
    assert ran.code == 2
    assert says in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert len(cdp.seen) == 0
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["TAGFERRY_CDP_TOKEN", "TAGFERRY_CDP_BASE_URL"])
def test_a_setting_that_is_missing_is_named(run, cdp, monkeypatch, name):
    monkeypatch.delenv(name)
    ran = run(*TAG, "tag_rfm", "--json")
    assert ran.code == 2
    assert name in ran.err
    assert ran.document["exports"] == []
    assert len(cdp.seen) == 0


# What goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "fault", "code", "type_"),
    [
        ("submit", "status=401", 4, "AuthError"),
        ("submit", "status=403", 4, "AuthError"),
        ("submit", "status=404", 7, "RefusedError"),
        ("submit", "status=429 x*", 5, "ThrottledError"),
        ("submit", "lost", 5, "SubmitUnknownError"),
        ("submit", "status=502", 5, "SubmitUnknownError"),
        ("submit", "html", 5, "SubmitUnknownError"),
        ("poll", "status=401", 4, "AuthError"),
        ("poll", "failed=boom", 7, "JobFailedError"),
        ("poll", "status=404", 7, "RefusedError"),
        ("poll", "status=500 x*", 5, "UnavailableError"),
        ("download", "status=404 x2", 5, "LinkExpiredError"),
        ("download", "close x*", 5, "UnavailableError"),
        ("download", "status=403", 4, "AuthError"),
    ],
)
def test_exit_codes_of_failures(run, cdp, operation, fault, code, type_):
    cdp.faults.add(f"growingio-cdp.{operation}", fault)
    ran = run(*TAG, "tag_rfm", "--json", "--retries", "1")
    error = ran.document["exports"][0]["error"]
    assert (ran.code, error["type"]) == (code, type_), ran.err
    assert "tagferry: error: growingio-cdp-tag tag_rfm: " in ran.err
    again = code in {5, 6, 8, 9} and type_ != "SubmitUnknownError"
    assert ("to go on: tagferry export" in ran.err) == again


def test_an_unknown_key(run, cdp):
    ran = run(*TAG, "tag_nobody", "--json")
    error = ran.document["exports"][0]["error"]
    assert (ran.code, error["type"], error["code"]) == (7, "RefusedError", 500)
    assert "unknown or unauthorised key" in error["message"]
    assert "tagferry list" in error["hint"]
    assert list(Path().iterdir()) == []


def test_a_submission_of_which_nobody_knows_says_what_to_do_and_that_helps(run, cdp):
    cdp.faults.add(SUBMIT, "lost")
    first = run(*TAG, "tag_rfm")
    assert first.code == 5
    # The same command says it again, and asks nobody.
    for _ in range(2):
        asked = len(cdp.seen)
        again = run(*TAG, "tag_rfm", "--json")
        assert again.code == 5
        assert len(cdp.seen) == asked
        assert again.document["exports"][0]["error"]["type"] == "SubmitUnknownError"
    for ran in (first, again):
        text = " ".join(ran.err.split())
        assert "look at the service whether the job is there" in text
        assert "go on with it by --job ID (attach), or make another one with --no-resume" in text
        assert "to go on:" not in text
    (job,) = jobs_of(cdp)
    settled = run(*TAG, "tag_rfm", "--job", job)
    assert settled.code == 0
    check_file(cdp, NAME)
    assert jobs_of(cdp) == [job]
    assert [path.name for path in Path().iterdir()] == [NAME]


def test_a_submission_of_which_nobody_knows_may_be_made_anew(run, cdp):
    cdp.faults.add(SUBMIT, "status=504")
    assert run(*TAG, "tag_rfm").code == 5
    assert run(*TAG, "tag_rfm", "--no-resume").code == 0
    check_file(cdp, NAME)
    assert len(jobs_of(cdp)) == 1


def test_some_succeed_and_of_one_nobody_knows(run, cdp):
    cdp.faults.add(f"{SUBMIT}:tag_rfm", "lost")
    ran = run(*TAG, "tag_rfm", "tag_example_api", "--json")
    assert ran.code == 3
    assert ran.document["outcome"] == "partial"
    assert [one["state"] for one in ran.document["exports"]] == ["failed", "done"]


def test_a_job_that_was_submitted_before(run, cdp):
    cdp.faults.add("growingio-cdp.poll", "status=404 x2")
    assert run(*TAG, "tag_rfm", "--job", "kqQeWeGr").code == 7
    cdp.faults.clear()
    cdp.faults.add(SUBMIT, "lost")
    run(*TAG, "tag_rfm")
    (job,) = jobs_of(cdp)
    ran = run(*TAG, "tag_rfm", "--job", job, "--output", "elsewhere", "--json")
    assert ran.code == 0
    check_file(cdp, f"elsewhere/{NAME}")
    assert cdp.seen.counts[SUBMIT] == 1


def test_a_damaged_record(run, cdp):
    cdp.faults.add("growingio-cdp.poll", "status=400")
    assert run(*TAG, "tag_rfm").code == 7
    (record,) = Path().glob("*.part.json")
    record.write_bytes(record.read_bytes()[:60])
    ran = run(*TAG, "tag_rfm")
    assert ran.code == 9
    assert "--no-resume" in ran.err
    assert cdp.seen.counts[SUBMIT] == 1
    assert run(*TAG, "tag_rfm", "--no-resume").code == 0
    check_file(cdp, NAME)


@pytest.mark.parametrize(
    "fault", ["poll=status=500 x2", "download=cut@200", "download=status=404 x2", "submit=lost"]
)
def test_no_secret_at_debug(run, cdp, monkeypatch, fault):
    from tagferry.emulator import Settings, serve_in_thread

    operation, _, rest = fault.partition("=")
    with serve_in_thread(Settings(token=CANARY, time_scale=0.01, job_seconds=1)) as other:
        other.faults.add(f"growingio-cdp.{operation}", rest)
        monkeypatch.setenv("TAGFERRY_CDP_TOKEN", CANARY)
        monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", other.base_url)
        ran = run(*TAG, "tag_rfm", "--log-level", "DEBUG")
    assert "DEBUG Polled" in ran.err or operation == "submit"
    for secret in (CANARY, "%2Fjobs", "file="):
        assert secret not in ran.out + ran.err


def test_a_token_in_clear_is_warned_of_once(run, cdp, monkeypatch):
    monkeypatch.setattr("tagferry.clients.insecure._is_loopback", lambda _: False)
    ran = run(*TAG, "tag_rfm")
    assert ran.code == 0
    assert ran.err.count("warning: the credentials go to http://127.0.0.1:") == 1
    assert "in clear; https would protect them" in ran.err
    assert "in clear" not in run(*TAG, "tag_example_api").err


# Stopped ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_a_table_has_the_columns_of_the_file(run, cdp, file_format):
    words = ("--property", "usr_gender", "--property", "ids_$basic_userId", "--file-format", file_format)
    ran = run(*TAG, "tag_rfm", *words, "--to", "parquet", "--output", "out", "--json")
    assert ran.code == 0
    (one,) = ran.document["exports"]
    text = Path(one["files"][0]["path"]).read_bytes().decode("utf-8-sig")
    if file_format == "csv":
        wanted = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        lines = [json.loads(line) for line in text.split("\n") if line]
        wanted = [
            {"gio_id": str(row["gio_id"]), **row["identifications"], **row["properties"]} for row in lines
        ]
    rows = pq.read_table(one["table"]["path"]).to_pylist()
    assert one["table"]["rows"] == len(rows) == len(wanted) > 0

    def plain(row):
        # The parser of the standard library does not tell an empty cell from a null one.
        return {name: str(value) if name == "gio_id" else value for name, value in row.items() if value}

    assert list(map(plain, rows)) == list(map(plain, wanted))


@pytest.fixture
def environ(cdp):
    # The patches of `cdp` end at this process, so a poll takes a second at least.
    return os.environ | {"PYTHONWARNINGS": "error", "PYTHONTRACEMALLOC": "0"}


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def stop(process, number=signal.SIGINT):
    """Stop a process; return what it said, and how long it took to end."""
    began = time.monotonic()
    process.send_signal(number)
    error = process.communicate()[1]
    return error, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_answer_to_a_submission_is_out_stops_soon(run, cdp, environ, number):
    cdp.faults.add(SUBMIT, "delay=60")
    words = [*TAGFERRY, *TAG, "tag_rfm", "tag_example_api"]
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: jobs_of(cdp) or jobs_of(cdp, "tag_example_api"))
        error, took = stop(process, number)
    assert took < 5
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert f"stopped by {number.name}" in error
    # Of the one that was out nobody knows; it is written down, and said by the next run.
    (job,) = cdp.cdp.jobs.values()
    key = job.export.id
    assert read_submission(Path(), key).job_id is None
    asked = len(cdp.seen)
    ran = run(*TAG, key)
    assert ran.code == 5
    assert "--job ID" in ran.err
    assert len(cdp.seen) == asked
    assert run(*TAG, key, "--job", job.id).code == 0
    check_file(cdp, f"growingio-cdp-tag-{key}.csv", key)


def test_a_signal_while_an_answer_is_near_waits_for_it(run, cdp, environ):
    cdp.faults.add(SUBMIT, "delay=2")
    with subprocess.Popen(
        [*TAGFERRY, *TAG, "tag_rfm"], env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: jobs_of(cdp))
        error, took = stop(process)
    assert took < 5
    assert process.returncode == 130
    assert "to go on: tagferry export growingio-cdp-tag tag_rfm" in error
    assert [read_submission(Path()).job_id] == jobs_of(cdp)
    assert run(*TAG, "tag_rfm").code == 0
    assert len(jobs_of(cdp)) == 1


def test_exports_that_wait_for_their_turn_are_not_begun_after_a_signal(run, cdp, environ):
    keys = [f"tag_{number:05d}" for number in range(4, 64)]
    with subprocess.Popen(
        [*TAGFERRY, *TAG, *keys], env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        # Five a second, so most of them wait.
        wait_for(lambda: len(cdp.cdp.jobs) >= 3)
        _, took = stop(process)
    assert took < 5
    assert process.returncode == 130
    # Only what was on its way when the signal came has come since.
    assert len(cdp.cdp.jobs) < 20
    begun = [key for key in keys if read_submission(Path(), key) is not None]
    done = [key for key in keys if Path(f"growingio-cdp-tag-{key}.csv").exists()]
    assert sorted(begun + done) == sorted(job.export.id for job in cdp.cdp.jobs.values())
    ran = run(*TAG, *keys, "--if-exists", "skip", "--json")
    assert ran.code == 0
    assert set(cdp.cdp.made.values()) == {1}
    assert len(cdp.cdp.made) == 60


def test_ctrl_c_then_the_printed_command(cdp, environ):
    cdp.faults.add("growingio-cdp.download", "stall@5000")
    with subprocess.Popen(
        [*TAGFERRY, *TAG, "tag_rfm"], env=environ, stderr=subprocess.PIPE, text=True
    ) as first:
        wait_for(lambda: cdp.faults.all_used)
        time.sleep(0.3)
        error, took = stop(first)
    assert (first.returncode, took < 5) == (130, True)
    command = error.splitlines()[-1].partition("to go on: tagferry ")[2].split()
    second = subprocess.run([*TAGFERRY, *command], env=environ, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "going on at byte 5,000" in second.stderr
    check_file(cdp, NAME)
    assert len(jobs_of(cdp)) == 1


def test_two_runs_with_one_target_make_one_job(cdp, environ):
    cdp.faults.add("growingio-cdp.poll", "status-word=RUNNING x2")
    words = [*TAGFERRY, *TAG, "tag_rfm", "--json"]
    runs = [
        subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    ends = [(process.communicate(), process.returncode) for process in runs]
    (busy,) = (json.loads(out) for (out, _), code in ends if code == 9)
    assert sorted(code for _, code in ends) == [0, 9]
    assert busy["exports"][0]["error"]["code"] == "EBUSY"
    assert "another run is writing this export" in busy["exports"][0]["error"]["message"]
    check_file(cdp, NAME)
    assert len(jobs_of(cdp)) == 1
