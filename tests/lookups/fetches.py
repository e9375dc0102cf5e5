"""What a durable fetch leaves on disk, and a service in memory for tests that need no network."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import pyarrow.parquet as pq
import pytest

from tagferry.errors import RefusedError, TagferryError
from tagferry.events import Event
from tagferry.ledger import Ledger
from tagferry.lookups.fetch import FetchSpec, fetch, retry
from tagferry.lookups.outcome import FetchReport, Verdict
from tagferry.lookups.plan import Checkpoint
from tagferry.lookups.service import LookupService
from tagferry.lookups.target import Target
from tagferry.wire.backoff import Backoff
from tagferry.wire.call import Tally
from tagferry.wire.clock import SystemClock
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tests.lookups.world import SECRET_KEY, truth_of

P = ParamSpec("P")
T = TypeVar("T")
Answers = dict[str, tuple[str, ...] | None]
SPOILT = 70003
FATAL = 60020


def aside(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call something that blocks, which must not be done on the loop's own thread, not even here."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(call, *args, **options).result()


def read_answers(path: Path) -> Answers:
    """Read an output; every account is in it once, and its last line is whole."""
    text = path.read_bytes()
    if path.suffix == ".parquet":
        pairs = [(row["account"], row["tags"]) for row in pq.read_table(path).to_pylist()]
        return unique(pairs)
    assert not text or text.endswith(b"\n")
    if ".csv" in path.suffixes:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        assert head == ["account", "tags"]
        pairs = [(account, json.loads(tags) if tags else None) for account, tags in rows]
    else:
        lines = [json.loads(line) for line in text.split(b"\n")[:-1]]
        assert all(list(line) == ["account", "tags"] for line in lines)
        pairs = [(line["account"], line["tags"]) for line in lines]
    return unique(pairs)


def unique(pairs: Sequence[tuple[str, Sequence[str] | None]]) -> Answers:
    answers = {account: None if tags is None else tuple(tags) for account, tags in pairs}
    assert len(answers) == len(pairs), "an account is in the output twice"
    return answers


def read_dead(path: Path) -> dict[str, int]:
    """Read dead letters: the code of each account."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    letters = {line["account"]: line["code"] for line in lines}
    assert len(letters) == len(lines), "an account is in the dead letters twice"
    assert all(line["message"] for line in lines)
    return letters


def names_in(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} if out.exists() else set()


def check_done(
    output: Path, accounts: Iterable[str], failed: Iterable[str] = (), *, truth: Answers | None = None
) -> None:
    """Every distinct account is in the output or the dead letters, once, and nothing else is on disk."""
    distinct, failed = set(accounts), set(failed)
    dead = Target.of(output).dead
    assert names_in(output.parent) == {output.name} | ({dead.name} if failed else set())
    answers = read_answers(output)
    wanted = truth_of(distinct - failed) if truth is None else {one: truth[one] for one in distinct - failed}
    assert answers == wanted
    if failed:
        assert read_dead(dead).keys() == failed


def check_report(report: FetchReport, accounts: Sequence[str], failed: Iterable[str] = ()) -> None:
    """The counts are those of the input and of the truth."""
    distinct, failed = set(accounts), set(failed)
    missing = sum(tags is None for tags in truth_of(distinct - failed).values())
    assert report.state == "done"
    assert (report.accounts, report.distinct) == (len(accounts), len(distinct))
    assert (report.missing, report.failed) == (missing, len(failed))
    assert report.tagged == len(distinct) - missing - len(failed)
    assert (report.dead_letters is not None) == bool(failed)


def check_unfinished(output: Path, secret: str = SECRET_KEY) -> int:
    """What is on disk can be gone on with; return how many accounts are safe.

    The checkpoint counts whole lines that are there, and the output has not its final name yet.
    """
    target = Target.of(output)
    assert not output.exists()
    for path in output.parent.iterdir():
        assert secret.encode() not in path.read_bytes(), path.name
    checkpoint = read_checkpoint(target)
    if checkpoint is None:
        return 0
    lines = target.part.read_bytes()
    # They have their final name before the output.
    dead = (target.dead if target.dead.exists() else target.dead_part).read_bytes()
    assert len(lines) >= checkpoint.output_size
    assert len(dead) >= checkpoint.dead_size
    kept = lines[: checkpoint.output_size], dead[: checkpoint.dead_size]
    assert all(not text or text.endswith(b"\n") for text in kept)
    totals = checkpoint.totals
    safe = totals.tagged + totals.missing + totals.failed
    head = len(target.form.head.splitlines())
    assert sum(text.count(b"\n") for text in kept) == safe + head
    return safe


def read_checkpoint(target: Target) -> Checkpoint | None:
    def read() -> Checkpoint | None:
        ledger = Ledger.open(target.ledger)
        try:
            return ledger.get("checkpoint", Checkpoint)
        finally:
            ledger.close()

    return aside(read) if target.ledger.exists() else None


class Found(msgspec.Struct, frozen=True):
    account: str
    tags: tuple[str, ...]


class Fault(msgspec.Struct, frozen=True):
    account: str
    code: int
    message: str


class Answer(msgspec.Struct, frozen=True):
    users: list[Found]
    faults: list[Fault]
    warnings: tuple[str, ...] = ()


Ask = Callable[[Sequence[str]], Awaitable[None]]


class Memory:
    """A service in memory: accounts that begin with ``ghost`` are unknown, with ``bad`` they fail.

    Args:
        batch: Accounts of a call.
        workers: Calls at once.
        before: Called before each answer; what it raises is the answer.
    """

    def __init__(self, *, batch: int = 10, workers: int = 3, before: Ask | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.calls = 0
        self.before = before
        self.fails: Callable[[str], bool] = lambda account: account.startswith("bad")
        self.held: list[float] = []
        self.events: list[Event] = []
        policy = RetryPolicy(retries=2, base=0.0)
        backoff = Backoff(
            policy=policy, budget=RetryBudget(floor=1000), clock=SystemClock(), chance=lambda: 0.5
        )
        self.service = LookupService(
            name="memory",
            kind="memory-tags",
            ask=self._ask,
            batch=batch,
            workers=workers,
            rate=100.0,
            is_spoilt=lambda error: error.code == SPOILT,
            is_too_large=lambda _: False,
            judge=lambda _: Verdict.FAILED,
            hold=self.held.append,
            settings={"application": "one"},
            backoff=backoff,
            emit=self.events.append,
        )

    async def _ask(self, accounts: Sequence[str], tally: Tally) -> Answer:
        tally.requests += 1
        self.calls += 1
        if self.before is not None:
            await self.before(accounts)
        self.asked.update(accounts)
        answers = self.answers_to([one for one in accounts if not self.fails(one)])
        return Answer(
            [Found(one, tags) for one, tags in answers.items() if tags is not None],
            [Fault(one, 7, "it fails") for one in accounts if self.fails(one)],
        )

    @staticmethod
    def answers_to(accounts: Iterable[str]) -> Answers:
        return {one: None if one.startswith("ghost") else (f"tag of {one}",) for one in accounts}

    @classmethod
    def truth_of(cls, accounts: Iterable[str]) -> Answers:
        """The right answers, without the accounts that fail at first."""
        return cls.answers_to(one for one in accounts if not one.startswith("bad"))

    def job(self, accounts: Any, output: Path, **options: Any) -> FetchSpec:
        chosen = {"ordered": False, "if_exists": "error", "resume": True} | options
        return FetchSpec(service=self.service, accounts=accounts, target=Target.of(output), **chosen)

    async def fetch(
        self, accounts: Any, output: Path, deadline: float | None = 60, **options: Any
    ) -> FetchReport:
        return await fetch(self.job(accounts, output, **options), deadline)

    async def retry(self, dead_letters: Path, output: Path | None = None, **options: Any) -> FetchReport:
        chosen = {"ordered": False, "resume": True, "deadline": 60} | options
        return await retry(self.service, dead_letters, output, **chosen)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def refuse_after(calls: int, error: TagferryError | None = None) -> Ask:
    """Answer some calls, and refuse all that follow."""
    left = [calls]

    async def before(_: Sequence[str]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error or RefusedError("the plan lapsed", code=FATAL)

    return before


CALLS = {
    os: (
        *("open", "close", "stat", "lstat", "fstat", "mkdir", "unlink", "link", "replace", "rename"),
        *("ftruncate", "lseek", "write", "pread", "fsync", "fdatasync"),
    ),
    io: ("open",),
    Ledger: ("get", "put", "delete", "remove", "close"),
}


class Disk:
    """Counts the calls on what is in a directory, and does something at one of them.

    Args:
        patch: Takes the wraps.
        out: The directory.
        strike: Called before the call of the wanted number, with its name; what it raises is its result.
    """

    def __init__(self, patch: pytest.MonkeyPatch, out: Path, strike: Callable[[str], None]) -> None:
        self.out = out
        self.strike = strike
        self.calls: list[str] = []
        self.at: int | None = None
        self.synced: dict[str, int] = {}
        """Bytes of each file that survive a power cut."""
        for owner, names in CALLS.items():
            for name in names:
                if hasattr(owner, name):
                    patch.setattr(owner, name, self._wrap(owner, name))

    def _wrap(self, owner: Any, name: str) -> Callable[..., Any]:
        real = getattr(owner, name)
        name = f"Ledger.{name}" if owner is Ledger else name

        def call(*args: Any, **options: Any) -> Any:
            path = self._path_of(args)
            # The loop's own thread is the test itself.
            if path is None or threading.current_thread() is threading.main_thread():
                return real(*args, **options)
            self.calls.append(name)
            if len(self.calls) == self.at:
                self._strike(name, real, args)
            result = real(*args, **options)
            if name in {"fsync", "fdatasync"} and path.is_file():
                self.synced[path.name] = path.stat().st_size
            return result

        return call

    def _strike(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self.strike(name)
        except BaseException:
            if name.endswith("close"):
                real(*args)  # what is closed is free, also after an error
            raise

    def _path_of(self, args: tuple[Any, ...]) -> Path | None:
        first = args[0] if args else None
        if isinstance(first, Ledger):
            first = first.path
        if isinstance(first, int):
            first = Path(f"/proc/self/fd/{first}").readlink()
        path = Path(os.fsdecode(first)) if isinstance(first, (str, bytes, Path)) else None
        return path if path is not None and path.is_relative_to(self.out) else None

    def copy(self, there: Path, share: float) -> None:
        """Copy the directory as a crash leaves it now: of the bytes that are not synced, a share."""
        shutil.rmtree(there, ignore_errors=True)
        if not self.out.exists():
            return
        there.mkdir()
        copies: dict[int, Path] = {}
        for path in self.out.iterdir():
            # Two names of one file stay that.
            copy = copies.setdefault(path.stat().st_ino, there / path.name)
            if copy.exists():
                (there / path.name).hardlink_to(copy)
            else:
                shutil.copyfile(path, copy)
        for path in there.glob("*.part"):
            size, synced = path.stat().st_size, self.synced.get(path.name, 0)
            os.truncate(path, min(size, synced + int(share * max(0, size - synced))))
