"""What only a process of its own shows: signals of a shell, pipes that close, a real terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROJECT

TAGFERRY = (sys.executable, "-P", "-m", "tagferry")
EXPORT = (*TAGFERRY, "export", "growingio-tag", PROJECT)


@pytest.fixture
def environ(service):
    # The patches of `service` end at this process, so a poll takes a second at least.
    return os.environ | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error", "PYTHONTRACEMALLOC": "0"}


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
        assert process.wait(5) == 143


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
    assert "1 of 1 exports done" in text


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
