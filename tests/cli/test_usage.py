import re
import sys
from importlib.abc import MetaPathFinder

import pytest

from tagferry.__main__ import main
from tagferry.cli.kinds import KINDS, VERBS
from tagferry.layers import CONFIG, PROFILE
from tagferry.settings import SETTINGS
from tests.cli.conftest import CANARY, PROJECT

TAG = ["export", "growingio-tag", PROJECT, "5rREn4PL"]
SEGMENT = ["export", "growingio-segment", PROJECT, "nP2lpkX9"]


@pytest.fixture(autouse=True)
def token(workdir, monkeypatch):
    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", CANARY)
    monkeypatch.setenv("TAGFERRY_GROWINGIO_BASE_URL", "http://127.0.0.1:9")


FETCH = ["fetch", "tencent-tags", "a.txt"]
RETRY = ["retry", "tencent-tags"]
WRONG_FETCHES = [
    (["fetch", "tencent-tag"], ['"tencent-tag"', '"tencent-tags"', "tagferry fetch --help"]),
    (["fetch", "tencent-tags"], ["ACCOUNTS", "--help"]),
    (["fetch", "tencent-tags", "nix.txt"], ["there is no file nix.txt", "check the name"]),
    (["fetch", "tencent-tags", "u.csv"], ["needs the name of a column, as in u.csv:uid", "uid, name"]),
    (["fetch", "tencent-tags", "u.csv:id"], ["has no column id", "did you mean uid?"]),
    (["fetch", "tencent-tags", "a.txt:uid"], ["there is no file a.txt:uid", ".csv, .jsonl and .parquet"]),
    (["fetch", "tencent-tags", "."], ["is a directory", "name a file in it"]),
    ([*FETCH, "b.txt", "c d"], ["more than the command takes: b.txt 'c d'"]),
    ([*FETCH, "--output", "x.txt"], ["ends in .txt", ".jsonl, .csv or .parquet"]),
    ([*FETCH, "--output", "there.jsonl"], ["there.jsonl is already there", "--if-exists skip"]),
    ([*FETCH, "--output", ""], ["--output", "empty"]),
    ([*FETCH, "--output", "--json"], ["no option --json", "write ./--json"]),
    ([*FETCH, "--rate", "fast"], ["'fast'", "100/s"]),
    ([*FETCH, "--rate", "0/s"], ["'0/s'", "100/s"]),
    ([*FETCH, "--service", "push"], ['"push"', '"timpush"']),
    ([*FETCH, "--concurrency", "0"], ["'0'", "from 1 to 10000"]),
    ([*FETCH, "--deadline", "never"], ["'never'", "2h"]),
    ([*FETCH, "--json", "--output", "-"], ["both want standard output", "leave one"]),
    ([*FETCH, "--json", "--quiet"], ["--json and --quiet", "leave one"]),
    ([*FETCH, "--secret-key", "hunter2"], ["--secret-key", "set TAGFERRY_TENCENT_SECRET_KEY"]),
    ([*FETCH, "--user-sig=hunter2"], ["--user-sig", "set TAGFERRY_TENCENT_USER_SIG"]),
    (["fetch", "tencent-tags", "--secret-key=hunter2", "a.txt"], ["--secret-key", "TENCENT_SECRET_KEY"]),
    (["fetch", "tencent-tags", "--ordred", "a.txt"], ["no option --ordred", "--help"]),
    ([*RETRY], ["DEAD_LETTERS", "--help"]),
    ([*RETRY, "a.txt"], ["not named like dead letters", "NAME.dead.jsonl"]),
    ([*RETRY, "nix.dead.jsonl"], ["there are no dead letters nix.dead.jsonl", "nothing failed"]),
    ([*RETRY, "there.dead.jsonl", "--if-exists", "skip"], ["--if-exists", "tagferry retry"]),
    ([*RETRY, "there.dead.jsonl", "--output", "-"], ["not written to standard output", "leave --output"]),
]
"""The words of a fetch, then what the message names."""
WRONG = [
    # the words, then what the message names
    (["exprt"], ['"exprt"', '"export"', "tagferry --help"]),
    (["--jsn", "export"], ["no option --jsn at this place", "behind the verb and its kind"]),
    (["--token=hunter2", "export"], ["no option --token\n", "set TAGFERRY_GROWINGIO_TOKEN"]),
    (
        ["export", "--output=hunter2", "growingio-tag"],
        ["no option --output at this", "tagferry export --help"],
    ),
    (["export", "growingio-tga", "a"], ['"growingio-tga"', '"growingio-tag"', "tagferry export --help"]),
    (["export", "growingio-tag"], ["PROJECT_UID is missing", "tagferry export growingio-tag --help"]),
    (["export", "growingio-tag", PROJECT], ["TAG_ID", "--help"]),
    (["export", "growingio-tag", "../x", "5rREn4PL"], ["'../x'", "1 to 64 letters and digits", "nxog09md"]),
    (["export", "growingio-tag", PROJECT, "a b"], ["'a b'", "address bar"]),
    ([*TAG, "5rREn4PL"], ["5rREn4PL.csv", "name each export once"]),
    ([*TAG, "--concurrency", "0"], ["'0'", "from 1 to 10000", "write 8"]),
    ([*TAG, "--concurrency", "many"], ["'many'", "from 1 to 10000"]),
    ([*FETCH, "--concurrency", "0"], ["'0'", "from 1 to 10000", "write 100"]),
    ([*TAG, "--concurrency", "9" * 5000], ["from 1 to 10000"]),
    ([*TAG, "--retries=-1"], ["'-1'", "from 0 to 1000"]),
    ([*TAG, "--timeout", "0"], ["'0'", "above 0", "90s"]),
    ([*TAG, "--timeout", "none"], ["'none'", "above 0"]),
    ([*TAG, "--stall-timeout", "nan"], ["'nan'", "30m"]),
    ([*TAG, "--deadline", "5x"], ["'5x'", "2h"]),
    ([*TAG, "--deadline", "inf"], ["'inf'", "2h"]),
    ([*TAG, "--if-exists", "overwrite"], ['"overwrite"', '"replace"']),
    ([*TAG, "--progress", "bar"], ['"bar"', '"log"']),
    ([*TAG, "--log-level", "LOUD"], ["'LOUD'", "warning"]),
    ([*TAG, "--expire-minutes", "10081"], ["'10081'", "1 to 10080", "write 60"]),
    ([*TAG, "--output", ""], ["--output", "empty"]),
    ([*TAG, "--output", sys.executable], [sys.executable, "another output directory"]),
    ([*TAG, "--output"], ["--output needs a value", "--help"]),
    ([*TAG, "--output", "-"], ["--output", "nothing of this is written to standard output"]),
    ([*TAG, "--output", "--jsno"], ["--output", "no option --jsno", "./--jsno"]),
    (["convert", "a.csv", "--to", "csv", "--output", "-"], ["--output", "standard output"]),
    (["demo", "--output", sys.executable], [sys.executable, "another output directory"]),
    (["export", "growingio-cdp-segment", "seg"], ["--project is missing", "--help"]),
    (["export", "growingio-cdp-segment", "seg", "--projetc=hunter2"], ["--project", "--help"]),
    ([*TAG, "--json", "--quiet"], ["--json and --quiet", "leave one"]),
    ([*TAG, "--outptu", "x"], ["--outptu", "--output"]),
    ([*TAG, "--token", "hunter2"], ["no option --token", "TAGFERRY_GROWINGIO_TOKEN"]),
    ([*TAG, "--token=hunter2"], ["no option --token\n", "TAGFERRY_GROWINGIO_TOKEN"]),
    ([*TAG, "--config", "nix.toml"], ["nix.toml", "No such file", "TAGFERRY_CONFIG"]),
    ([*TAG, "--profile", "prod"], ["'prod'", "no config file", "[profile.prod.growingio]"]),
    ([*SEGMENT, "--parameters", "a,,b"], ["'a,,b'", "empty key", "open_id,role"]),
    ([*SEGMENT, "--parameters", "a&b"], ["'a&b'", "no variable key"]),
    (["emulator", "--host", "0.0.0.0"], ["0.0.0.0", "loopback"]),
    (["emulator", "--port", "99999"], ["'99999'", "65535"]),
    (["emulator", "--fault", "x"], ["'x'", "OPERATION=FAULT"]),
    (["emulator", "--fault", "growingio-saas.poll=nix"], ["'nix'", "known:"]),
    (["emulator", "--rows-of", "x"], ["'x'", "ID=N"]),
    (["emulator", "--time-scale", "x"], ["'x'", "0.5"]),
    (["emulator", "--rate", "0/s"], ["'0/s'", "from 1/s to 1000000/s", "write 50/s"]),
    (["emulator", "--tencent-quota", "100/m"], ["'100/m'", "write 50/s"]),
    (["demo", "--output", ""], ["--output", "empty"]),
]


@pytest.mark.parametrize(("argv", "parts"), WRONG, ids=[" ".join(argv)[:60] for argv, _ in WRONG])
def test_wrong_words_are_answered_with_the_next_step(run, argv, parts):
    ran = run(*argv)
    assert ran.code == 2
    assert ran.out == "" or "--json" in argv
    assert ran.err.startswith("tagferry: error: ")
    assert "\n  next: " in ran.err
    for part in parts:
        assert part in ran.err
    for bad in ("hunter2", CANARY, "Traceback", "╭"):
        assert bad not in ran.err


@pytest.fixture
def files(workdir, monkeypatch):
    """What the wrong fetches are about, and settings with which nothing could be sent."""
    for name in ("a.txt", "there.jsonl", "there.dead.jsonl"):
        (workdir / name).write_text("")
    (workdir / "u.csv").write_text("uid,name\n")
    for name in ("SDKAPPID", "IDENTIFIER", "SECRET_KEY"):
        monkeypatch.setenv(f"TAGFERRY_TENCENT_{name}", "1400000000")
    monkeypatch.setenv("TAGFERRY_TENCENT_SECRET_KEY", CANARY * 4)
    monkeypatch.setenv("TAGFERRY_TENCENT_BASE_URL", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("argv", "parts"), WRONG_FETCHES, ids=[" ".join(argv)[:60] for argv, _ in WRONG_FETCHES]
)
def test_wrong_words_of_a_fetch_are_answered_with_the_next_step(run, files, argv, parts):
    test_wrong_words_are_answered_with_the_next_step(run, argv, parts)


@pytest.mark.parametrize("argv", [[*FETCH, "--nix"], [*FETCH, "--json", "--quiet"], [*RETRY, "a.txt"]])
def test_usage_errors_of_a_fetch_in_json(run, files, argv):
    ran = run(*argv, "--json")
    assert ran.code == 2
    assert (ran.document["outcome"], ran.document["accounts"], ran.document["output"]) == ("failed", 0, None)
    assert "exports" not in ran.document
    assert ran.document["error"]["message"]


@pytest.mark.parametrize("argv", [[*TAG, "--concurrency", "0"], [*TAG, "--output", ""], [*TAG, "--nix"]])
def test_usage_errors_in_json(run, argv):
    ran = run(*argv, "--json")
    assert ran.code == 2
    assert ran.document["outcome"] == "failed"
    assert ran.document["exports"] == []
    assert set(ran.document["error"]) == {"type", "code", "message", "hint"}


def test_a_missing_token(run, monkeypatch):
    monkeypatch.delenv("TAGFERRY_GROWINGIO_TOKEN")
    ran = run(*TAG, "--json")
    assert ran.code == 2
    assert ran.document["error"]["type"] == "ConfigError"
    assert "TAGFERRY_GROWINGIO_TOKEN" in ran.document["error"]["hint"]
    assert "[growingio]" in ran.err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["export"],
        *([verb, kind.name] for verb, kinds in KINDS.items() for kind in kinds),
        *([verb.name] for verb in VERBS),
    ],
)
def test_help_begins_with_examples_and_fits(run, argv):
    ran = run(*argv, "--help")
    assert (ran.code, ran.err) == (0, "")
    head = ran.out.partition("Usage:")[0].splitlines()
    assert head[0] == "Examples:"
    assert 2 <= sum(line.startswith("  tagferry ") for line in head) <= 3
    # None goes on in a second line, nor does the usage.
    assert all(line.startswith("  ") for line in head[1:] if line)
    assert not argv or not ran.out.partition("Usage:")[2].splitlines()[1]
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    for bad in ("None", "<", "21600"):
        assert bad not in ran.out


def test_every_variable_is_in_the_help_of_the_doctor_and_of_its_own_kinds(run):
    names = {one.env: one.section for one in SETTINGS}
    told = run("doctor", "--help").out
    assert [name for name in [*names, CONFIG, PROFILE] if f"\n  {name} " not in told] == []
    for verb, kinds in KINDS.items():
        for kind in kinds:
            told = run(verb, kind.name, "--help").out
            section = kind.name.split("-")[0] if "cdp" not in kind.name else "cdp"
            assert {name for name in names if f"\n  {name} " in told} == {
                name for name, one in names.items() if one == section
            }
            assert f"\n  {CONFIG} " in told


def test_the_help_as_a_whole_has_the_exit_codes(run):
    told = " ".join(run("--help").out.split())
    for part in ("0 all done", "3 partial", "9 disk", "130 and 143", "tagferry.toml"):
        assert part in told
    assert "Exit codes" not in run("export", "--help").out + run("convert", "--help").out


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50), ("1", 1), ("1000000/s", 1_000_000)])
def test_rates_of_the_emulator(text, rate):
    from cyclopts import Token

    from tagferry.cli.words import per_second

    assert per_second(1, 1_000_000)(int, [Token(value=text)]) == rate


def test_examples_are_commands_that_exist(run):
    from tagferry.cli.app import build

    for entry in (*VERBS, *(kind for kinds in KINDS.values() for kind in kinds)):
        for example in entry.examples:
            import shlex

            # What an example pipes in or out is not ours.
            (ours,) = (part for part in example.split("|") if part.split()[0] == "tagferry")
            build().parse_args(shlex.split(ours)[1:], exit_on_error=False, print_error=False)


def test_the_version(run):
    ran = run("--version")
    assert ran.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", ran.out)


def test_help_without_words_is_asked_for_but_not_without_a_kind(run):
    assert run().code == 0
    assert run("export").code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("30s", 30), ("30m", 1800), ("2h", 7200), ("none", None)]
)
def test_durations(text, seconds):
    from cyclopts import Token

    from tagferry.cli.words import read_deadline

    assert read_deadline(float, [Token(value=text)]) == seconds


def test_without_the_extra(run, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ran = run("--version")
    assert ran.code == 2
    assert "pip install 'tagferry[cli]'" in ran.err


def test_a_ctrl_c_while_it_is_loaded(monkeypatch, capsys):
    class Impatient(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "tagferry.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "tagferry.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    assert main(["--version"]) == 130
    assert capsys.readouterr() == ("", "tagferry: stopped by SIGINT\n")
