import contextlib
import functools
import io
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tagferry.__main__ import main
from tagferry.clients.growingio import GrowingIO
from tagferry.clients.tencent_im import TencentIM
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, Emulator, serve_in_thread
from tagferry.exports.schedule import PollSchedule
from tests.lookups import world

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
def tencent(workdir, monkeypatch):
    """An emulator with a secret of its own that the settings lead to, asked again without long waits."""
    with serve_in_thread(world.settings(quota_per_second=1000)) as emulator:
        for name, text in {
            "SDKAPPID": str(DEMO_SDKAPPID),
            "IDENTIFIER": DEMO_IDENTIFIER,
            "SECRET_KEY": world.SECRET_KEY,
            "BASE_URL": emulator.base_url,
        }.items():
            monkeypatch.setenv(f"TAGFERRY_TENCENT_{name}", text)
        world.forget_quotas(emulator.base_url)
        monkeypatch.setattr("tagferry.cli.tencent.TencentIM", lambda **how: world.hasten(TencentIM(**how)))
        yield emulator


@pytest.fixture
def when():
    """Calls a function as soon as a condition holds, on a thread."""
    threads: list[threading.Thread] = []

    def work(condition: Callable[[], object], function: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        function()

    def call(condition: Callable[[], object], function: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=work, args=(condition, function)))
        threads[-1].start()

    yield call
    for thread in threads:
        thread.join()


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="", write_through=True)

    def isatty(self) -> bool:
        return True

    def getvalue(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


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
