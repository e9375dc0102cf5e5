"""What only a process of its own shows: signals of a shell, pipes that close, a real terminal."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROJECT
from tests.lookups.world import GET_TAG, SECRET_KEY, make_accounts, truth_of

TAGFERRY = (sys.executable, "-P", "-m", "tagferry")
EXPORT = (*TAGFERRY, "export", "growingio-tag", PROJECT)
FETCH = (*TAGFERRY, "fetch", "tencent-tags")


@pytest.fixture
def environ(service):
    # The patches of `service` end at this process, so a second poll comes after a second at least.
    return os.environ | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error", "PYTHONTRACEMALLOC": "0"}


@pytest.fixture
def accounts(workdir):
    """3,000 accounts, which are 30 calls."""
    accounts = make_accounts(3_000)
    (workdir / "a.txt").write_text("".join(f"{one}\n" for one in accounts))
    return accounts


@pytest.fixture
def tencent_environ(tencent):
    tencent_environ = os.environ | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error"}
    return tencent_environ | {"PYTHONTRACEMALLOC": "0"}


def calls(service):
    return service.seen.counts[GET_TAG]


def run_shell(command, environ):
    """Run a command as a shell does, and return what came of it."""
    command = re.sub(r"^tagferry ", shlex.join(TAGFERRY) + " ", command)
    return subprocess.run(
        command, shell=True, env=environ, capture_output=True, text=True, check=False, timeout=30
    )


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_then_the_printed_command(service, environ, workdir):
    service.faults.add("growingio-saas.download", "stall@20000")
    with subprocess.Popen([*EXPORT, "aaaaaaaa"], env=environ, stderr=subprocess.PIPE, text=True) as first:
        wait_for(lambda: list(workdir.glob("*.part.json")) and service.faults.all_used)
        time.sleep(0.3)
        first.send_signal(signal.SIGINT)
        error = first.communicate()[1]
    assert first.returncode == 130
    assert "Unclosed" not in error
    command = error.splitlines()[-1].partition("to go on: tagferry ")[2].split()
    second = subprocess.run([*TAGFERRY, *command], env=environ, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "going on at byte" in second.stderr


def test_a_second_signal_ends_it_at_once(service, environ, workdir):
    service.faults.add("growingio-saas.poll", "stall@0 x*")
    with subprocess.Popen([*EXPORT, "aaaaaaaa"], env=environ, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: service.seen.counts)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        # When it had done all but end, the system ends it, which a shell calls 143 too.
        assert process.wait(5) in {143, -signal.SIGTERM}


def test_readers_that_go_away_stop_nothing(service, environ, workdir):
    words = [*EXPORT, "aaaaaaaa", "bbbbbbbb"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.stderr.close()
        assert process.wait(20) == 0
    assert len(list(workdir.glob("*.csv"))) == 2


def test_a_full_standard_output(service, environ):
    with Path("/dev/full").open("w") as full:
        words = [*EXPORT, "aaaaaaaa", "--json"]
        ran = subprocess.run(words, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 9
    assert "cannot write to standard output: No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_real_terminal_of_80_columns(service, environ, workdir):
    main, other = pty.openpty()
    environ = {name: value for name, value in environ.items() if name not in {"COLUMNS", "LINES"}}
    subprocess.run(["stty", "cols", "80", "rows", "24"], stdin=other, check=True)
    service.faults.add("growingio-saas.poll", "status-word=doing")
    service.faults.add("growingio-saas.download", "expired")
    with subprocess.Popen(
        [*EXPORT, "aaaaaaaa"], env=environ, stdin=other, stdout=other, stderr=other
    ) as process:
        os.close(other)
        screen = b"".join(iter(lambda: read(main), b""))
        assert process.wait(20) == 0
    os.close(main)
    text = screen.decode()
    assert "polling" in text
    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "sign=" not in text
    assert "1 of 1 export done" in text


def read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""  # the other end is closed


def test_a_path_that_is_no_utf8(service, environ, workdir):
    name = b"a\xffb"
    words = [*EXPORT, "aaaaaaaa", "--output", name]
    ran = subprocess.run([*words, "--quiet"], env=environ, capture_output=True, check=False)
    assert ran.stdout.startswith(name + b"/growingio-tag")
    ran = subprocess.run(
        [*words, "--json", "--if-exists", "skip"], env=environ, capture_output=True, check=False
    )
    path = json.loads(ran.stdout)["exports"][0]["files"][0]["path"]
    assert os.fsencode(path).startswith(name)


def check(accounts, text):
    lines = [json.loads(line) for line in text.split("\n") if line]
    found = {line["account"]: None if line["tags"] is None else tuple(line["tags"]) for line in lines}
    assert len(found) == len(lines)
    assert found == truth_of(accounts)


def go_on(error, environ):
    """Run the command that was printed, as it was printed."""
    command = error.strip().splitlines()[-1].partition("to go on: ")[2]
    return run_shell(command, environ)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fetch_is_stopped_and_the_printed_command_goes_on(tencent, tencent_environ, accounts, number):
    tencent.faults.add(GET_TAG, "pass x7")
    tencent.faults.add(GET_TAG, "stall@10 x*")
    with subprocess.Popen(
        [*FETCH, "a.txt", "--output", "a b.jsonl"], env=tencent_environ, stderr=subprocess.PIPE, text=True
    ) as first:
        wait_for(lambda: calls(tencent) > 20)
        first.send_signal(number)
        error = first.communicate(timeout=5)[1]
    assert first.returncode == 128 + number
    assert "Unclosed" not in error
    assert SECRET_KEY not in error
    tencent.faults.clear()
    asked = calls(tencent)
    second = go_on(error, tencent_environ)
    assert second.returncode == 0, second.stderr
    assert "2,300 of them left: 23 calls" in second.stderr
    assert calls(tencent) - asked == 23
    check(accounts, Path("a b.jsonl").read_text("utf-8"))


def test_a_second_signal_ends_a_fetch_at_once(tencent, tencent_environ, accounts):
    tencent.faults.add(GET_TAG, "stall@0 x*")
    with subprocess.Popen([*FETCH, "a.txt"], env=tencent_environ, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: calls(tencent))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) in {130, 143, -signal.SIGTERM}


@pytest.mark.parametrize("text", ["-", "fifo"])
def test_an_idle_input_holds_nobody_up(tencent, tencent_environ, workdir, text):
    os.mkfifo("fifo")
    with subprocess.Popen(
        [*FETCH, text], env=tencent_environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write("a\nb\n")
        process.stdin.flush()
        wait_for(lambda: list(workdir.glob("*.accounts*")))
        process.send_signal(signal.SIGINT)
        # Its input stays open meanwhile.
        assert process.wait(5) == 130
        error = process.stderr.read()
    piped = ", with the accounts piped in again" if text == "-" else ""
    assert error.splitlines()[-2:] == [
        "tagferry: stopped by SIGINT; nothing is kept for a next run",
        f"  to start over{piped}: tagferry fetch tencent-tags {text}",
    ]
    assert [path.name for path in workdir.iterdir()] == ["fifo"]


def test_a_deadline_ends_an_idle_input(tencent, tencent_environ, workdir):
    words = [*FETCH, "-", "--deadline", "1"]
    with subprocess.Popen(
        words, env=tencent_environ, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.wait(10) == 6


def takes_signals(pid):
    """Whether a process would stop cleanly: the handler of SIGTERM is set together with that of SIGINT."""
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(caught[1], 16) >> (signal.SIGTERM - 1) & 1


def on_terminal(words, environ, keys, until):
    """Run a command on a terminal of 80 columns; type keys when a text is there; return code and screen."""
    main, other = pty.openpty()
    environ = {name: value for name, value in environ.items() if name not in {"COLUMNS", "LINES"}}
    subprocess.run(["stty", "cols", "80", "rows", "24"], stdin=other, check=True)
    with subprocess.Popen(
        # A shell of its own would do this: the keys of the terminal send signals to whoever has it.
        ["setsid", "--ctty", *words],
        env=environ,
        stdin=other,
        stdout=other,
        stderr=other,
    ) as process:
        os.close(other)
        screen = b""
        for text, press in zip(until, keys, strict=True):
            while text not in screen:
                block = read(main)
                assert block, screen
                screen += block
            wait_for(lambda: takes_signals(process.pid))
            os.write(main, press)
        screen += b"".join(iter(lambda: read(main), b""))
        code = process.wait(5)
    os.close(main)
    return code, screen.decode()


def test_accounts_that_are_typed(tencent, tencent_environ, workdir):
    code, screen = on_terminal([*FETCH, "-"], tencent_environ, [b"a\nb\n\x04"], [b"Ctrl-D at the beginning"])
    assert code == 0
    assert "2 accounts: 2 tagged" in screen
    check(["a", "b"], Path("tencent-tags.jsonl").read_text("utf-8"))


def test_ctrl_c_at_a_terminal_that_nobody_types_at(tencent, tencent_environ, workdir):
    code, screen = on_terminal([*FETCH, "-"], tencent_environ, [b"a\n", b"\x03"], [b"Ctrl-D", b"reading"])
    assert code == 130
    assert "stopped by SIGINT; nothing is kept for a next run" in screen
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")


def test_a_fetch_on_a_terminal_of_80_columns(tencent, tencent_environ, accounts):
    tencent.faults.add(GET_TAG, "status=502 x3")
    code, screen = on_terminal([*FETCH, "a.txt", "--rate", "20/s"], tencent_environ, [], [])
    assert code == 0
    assert "━" in screen
    assert "trying again" in screen
    assert "usersig" not in screen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", plain))
    # What stays on the screen is what was said, and nothing of the view.
    last = screen[screen.rindex("\x1b[2K") :].removeprefix("\x1b[2K").split("\r\n")
    assert last[0] == "tencent-tags.jsonl  3,000 accounts"


def test_a_reader_of_a_stream_that_goes_away(tencent, tencent_environ, accounts):
    ran = run_shell(f"({shlex.join(FETCH)} a.txt --output -; echo code $? >&2) | head -1", tencent_environ)
    assert ran.stdout.count("\n") == 1
    assert json.loads(ran.stdout)["account"] in accounts
    plan, *others = ran.stderr.splitlines()
    assert plan.endswith("3,000 accounts: 30 calls, at least 1 s")
    assert others[0].startswith("tagferry: the reader has gone; stopped at ")
    assert others[1:] == ["code 0"]


@pytest.mark.parametrize("words", [["--help"], ["export", "--help"], ["convert", "--help"]])
def test_a_reader_of_help_that_goes_away(words):
    ran = run_shell(f"({shlex.join([*TAGFERRY, *words])}; echo code $? >&2) | true", dict(os.environ))
    assert (ran.stdout, ran.stderr) == ("", "code 0\n")


@pytest.mark.parametrize("number", [signal.SIGINT, None])
def test_a_reader_of_a_stream_that_reads_nothing_holds_nobody_up(tencent, tencent_environ, number, workdir):
    # More than a pipe holds.
    (workdir / "a.txt").write_text("".join(f"many-{one}\n" for one in range(300)))
    words = [*FETCH, "a.txt", "--output", "-", "--quiet", *([] if number else ["--deadline", "2"])]
    with subprocess.Popen(
        words, env=tencent_environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: calls(tencent) >= 3)
        if number:
            time.sleep(0.5)
            process.send_signal(number)
        assert process.wait(10) == (130 if number else 6)
        # Whole lines only.
        assert process.stdout.read().endswith(b"]}\n")


def test_a_reader_of_the_dead_letters_that_goes_away_stops_nothing(tencent, tencent_environ, workdir):
    Path("a.txt").write_text("poison-a\n" + "".join(f"{one}\n" for one in make_accounts(200)))
    words = [*FETCH, "a.txt", "--output", "-", "--quiet"]
    with subprocess.Popen(
        words, env=tencent_environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stderr.close()
        check(make_accounts(200), process.stdout.read().decode())
        assert process.wait(10) == 3


def test_a_full_standard_output_of_a_fetch(tencent, tencent_environ, accounts):
    ran = run_shell(f"{shlex.join(FETCH)} a.txt --output - >/dev/full", tencent_environ)
    assert ran.returncode == 9
    assert "cannot write the output: No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_pipeline_of_accounts_into_a_file(tencent, tencent_environ, accounts):
    ran = run_shell(f"cat a.txt | {shlex.join(FETCH)} - --output - 2>err | cat >out", tencent_environ)
    assert (ran.returncode, ran.stdout) == (0, "")
    check(accounts, Path("out").read_text("utf-8"))
    assert "3,000 accounts: 30 calls" in Path("err").read_text("utf-8")


def test_what_was_piped_in_goes_on_without_it(tencent, tencent_environ, accounts):
    tencent.faults.add(GET_TAG, "stall@10 x*")
    with (
        Path("a.txt").open("rb") as stdin,
        subprocess.Popen(
            [*FETCH, "-"], env=tencent_environ, stdin=stdin, stderr=subprocess.PIPE, text=True
        ) as first,
    ):
        wait_for(lambda: calls(tencent))
        first.send_signal(signal.SIGTERM)
        error = first.communicate(timeout=5)[1]
    assert first.returncode == 143
    tencent.faults.clear()
    second = go_on(error, tencent_environ)
    assert second.returncode == 0, second.stderr
    check(accounts, Path("tencent-tags.jsonl").read_text("utf-8"))


def test_a_process_substitution(tencent, tencent_environ, accounts):
    words = ["bash", "-c", f"{shlex.join(FETCH)} <(head -5 a.txt) --quiet"]
    ran = subprocess.run(words, env=tencent_environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    check(accounts[:5], Path("tencent-tags.jsonl").read_text("utf-8"))
