"""The standing assertions: what holds after every test, whatever it is about.

No task, thread or file descriptor is left over; nobody's exception was never looked at; nothing of ours
blocks the event loop; and no canary secret is in a log or in captured output.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import re
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from types import TracebackType

import pytest
from blockbuster import blockbuster_ctx

from tagferry.cli.stop import run_async

GRACE = 2.0
"""Real seconds that what is being closed has to be gone."""
CANARY = re.compile(rb"CANARY-[0-9A-Za-z%_.-]+")
_LOGGERS = ("tagferry", "aiohttp", "asyncio")
_FDS = Path("/proc/self/fd")


class Logs(logging.Handler):
    """Keeps every line of the watched loggers, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.lost: list[str] = []
        """What asyncio says about exceptions and tasks that nobody took care of."""

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.name == "asyncio" and record.levelno >= logging.ERROR:
            self.lost.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(autouse=True)
def logs() -> Generator[Logs]:
    """All that our loggers and those of asyncio and aiohttp say in a test, at level DEBUG."""
    handler = Logs()
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler
    for name, level in before.items():
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def loop_before() -> None:
    """The first loop of uvloop opens a pipe for the whole process, which no test leaves behind."""
    run_async(_nothing)


async def _nothing() -> None:
    pass


@pytest.fixture(autouse=True)
def standing_assertions(request: pytest.FixtureRequest, logs: Logs) -> Generator[None]:
    files, threads = open_files(), _running_threads()
    yield
    if _is_async(request):
        # A lost exception of this test is young: it must show in this test, not in a later one.
        gc.collect(1)
    if left := _wait_until_gone(lambda: open_files() - files):
        pytest.fail(f"file descriptors left open: {sorted(left.elements())}")
    if left := _wait_until_gone(
        lambda: [t for t in threading.enumerate() if t not in threads and not t.daemon]
    ):
        pytest.fail(f"threads left running: {left}")
    if logs.lost and not request.node.get_closest_marker("lost_exceptions"):
        pytest.fail("nobody took care of:\n" + "\n".join(logs.lost))
    if found := CANARY.findall(logs.text.encode()):
        pytest.fail(f"a secret is in the log: {set(found)}\n{logs.text}")


@pytest.fixture(autouse=True)
def async_assertions(request: pytest.FixtureRequest, standing_assertions: None) -> Generator[None]:
    """For async tests: no task is left in the loop, and no call of ours blocks it."""
    if not _is_async(request):
        yield
        return
    request.getfixturevalue("no_task_left")
    with blockbuster_ctx(scanned_modules=["tagferry"]) as blocker:
        # A lock of the measuring itself, when a line of a file is seen for the first time.
        blocker.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        yield


@pytest.fixture
async def no_task_left() -> AsyncGenerator[None]:
    before = asyncio.all_tasks()
    yield
    until = time.monotonic() + GRACE
    while left := {task for task in asyncio.all_tasks() - before if not _is_runner(task)}:
        if time.monotonic() > until:
            pytest.fail(f"tasks left running: {left}")
        await asyncio.sleep(0.005)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, object, object]:
    report = yield
    assert isinstance(report, pytest.TestReport)
    if report.passed:
        for name, text in report.sections:
            if found := CANARY.findall(text.encode("utf-8", "replace")):
                report.outcome = "failed"
                report.longrepr = f"a secret is in the section {name!r}: {set(found)}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lost_exceptions: the test loses an exception on purpose")


@pytest.fixture
def canary() -> str:
    """A secret that must not come to light anywhere."""
    return f"CANARY-{secrets.token_hex(16)}"


def assert_no_secret(
    secret: str, *things: object, logs: Logs | None = None, capsys: object = None, with_locals: bool = True
) -> None:
    """Fail if a secret can be seen in what a user, a log or an error tracker gets to see.

    Args:
        secret: The secret.
        things: Texts and bytes are searched as they are; exceptions with their causes, contexts, notes,
            facts and tracebacks; of anything else, `repr` and `str`.
        logs: The fixture `logs`.
        capsys: The fixture `capsys` or `capfd`.
        with_locals: Whether the local variables in tracebacks count, but those of functions that are
            handed the secret by the user (constructors).
    """
    shown: list[tuple[str, str]] = []
    for thing in things:
        if isinstance(thing, BaseException):
            shown += _exception_texts(thing, with_locals=with_locals)
        elif isinstance(thing, bytes):
            shown.append(("bytes", thing.decode("latin-1")))
        else:
            shown += [("str", str(thing)), ("repr", repr(thing))]
    if logs is not None:
        shown.append(("log", logs.text))
    if capsys is not None:
        out = capsys.readouterr()  # type: ignore[attr-defined]
        shown += [("stdout", str(out.out)), ("stderr", str(out.err))]
    for where, text in shown:
        assert secret not in text, f"the secret is in {where}: {text}"


def _exception_texts(
    error: BaseException, *, with_locals: bool, seen: frozenset[int] = frozenset()
) -> list[tuple[str, str]]:
    if id(error) in seen:
        return []
    seen |= {id(error)}
    name = type(error).__name__
    texts = [
        (f"str of {name}", str(error)),
        (f"repr of {name}", repr(error)),
        (f"args of {name}", repr(error.args)),
    ]
    texts += [(f"{name}.{key}", f"{value!s} {value!r}") for key, value in vars(error).items()]
    texts.append((f"traceback of {name}", "".join(traceback.format_exception(error))))
    if with_locals:
        texts += _frame_texts(error.__traceback__)
    inner = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        inner += error.exceptions
    for one in inner:
        if one is not None:
            texts += _exception_texts(one, with_locals=with_locals, seen=seen)
    return texts


def _frame_texts(trace: TracebackType | None) -> list[tuple[str, str]]:
    texts: list[tuple[str, str]] = []
    while trace is not None:
        frame = trace.tb_frame
        module, function = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        if module.startswith("tagferry") and function != "__init__":
            for name, value in frame.f_locals.items():
                texts.append((f"the local {name} of {module}.{function}", repr(value)))
        trace = trace.tb_next
    return texts


def open_files() -> Counter[str]:
    """What this process has open, by path or by the system's name for it; nothing without /proc."""
    files: Counter[str] = Counter()
    if _FDS.exists():
        for file in _FDS.iterdir():
            # Other threads close theirs while this looks.
            with contextlib.suppress(OSError):
                files[str(file.readlink())] += 1
    # The listing itself.
    return Counter({name: count for name, count in files.items() if f"/proc/{os.getpid()}/fd" not in name})


def _running_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _wait_until_gone(left: object) -> object:
    assert callable(left)
    until = time.monotonic() + GRACE
    while found := left():
        if time.monotonic() > until:
            return found
        gc.collect()
        time.sleep(0.005)
    return None


def _is_async(request: pytest.FixtureRequest) -> bool:
    test = request.function
    # A test with generated arguments is wrapped by a plain function.
    test = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    return "anyio_backend" in request.fixturenames and inspect.iscoroutinefunction(test)


def _is_runner(task: asyncio.Task[object]) -> bool:
    """Tell whether a task is the test runner's own."""
    return "TestRunner." in repr(task.get_coro())
