import contextlib
import functools
import io
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tagferry.__main__ import main
from tagferry.cli.stop import run_async
from tagferry.clients.growingio import GrowingIO
from tagferry.emulator import Emulator
from tagferry.exports.schedule import PollSchedule

PROJECT = "nxog09md"
CANARY = "canary-7f3a-token"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture(scope="session", autouse=True)
def _loop_before():
    """The first loop of uvloop opens a pipe for the whole process, which no test leaves behind."""
    run_async(_nothing)


async def _nothing():
    pass


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory, no settings from outside, 80 columns."""

    for name in list(os.environ):
        if name.startswith("TAGFERRY_") or name in {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def run(workdir, capsys) -> Callable[..., Ran]:
    def call(*argv: str) -> Ran:
        capsys.readouterr()
        code = main(list(argv))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err or "debug" in " ".join(argv).lower()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def service(workdir, monkeypatch, tagferry_emulator) -> Emulator:
    """An emulator that the settings of the environment point to, asked without long waits."""
    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", tagferry_emulator.token)
    monkeypatch.setenv("TAGFERRY_GROWINGIO_BASE_URL", tagferry_emulator.base_url)
    fast = functools.partial(PollSchedule, floor=0.03, cap=0.1)
    monkeypatch.setattr("tagferry.clients.growingio.PollSchedule", fast)
    monkeypatch.setattr("tagferry.cli.growingio.GrowingIO", functools.partial(GrowingIO, rate="1000/s"))
    return tagferry_emulator


@pytest.fixture
def later():
    """Calls a function after a while, on a thread."""
    timers: list[threading.Timer] = []

    def call(seconds: float, function: Callable[[], object]) -> None:
        timers.append(threading.Timer(seconds, function))
        timers[-1].start()

    yield call
    for timer in timers:
        timer.cancel()
        timer.join()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run_on_terminal(workdir, monkeypatch):
    """Call the command line with a standard error that is a terminal of 80 columns and 24 lines."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LINES", "24")

    def call(*argv: str) -> tuple[int, str]:
        # Not in the fixture itself: the capture of pytest takes the streams back before the test.
        with Terminal() as screen, contextlib.redirect_stderr(screen):
            code = main(list(argv))
            return code, screen.getvalue()

    return call
