"""A client of GrowingIO CDP and an emulator made for speed, and what must hold of the jobs that were made."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import tagferry
from tagferry.emulator import CDPSettings, Emulator, Settings
from tagferry.events import Event
from tagferry.exports.naming import record_name
from tagferry.exports.poller import Poller
from tagferry.exports.record import Record, Submission
from tagferry.exports.schedule import PollSchedule
from tagferry.wire.retry import RetryBudget, RetryPolicy

SUBMIT = "growingio-cdp.submit"
POLL = "growingio-cdp.poll"
DOWNLOAD = "growingio-cdp.download"
PROJECT = "WlGk4Daj"
SPACE = "pQ7rS2tU"
TAG = "tag_rfm"
TOKEN = "CANARY-token-of-the-cdp"
FAST = Settings(
    token=TOKEN,
    time_scale=0.01,
    job_seconds=0.0,
    rows=60,
    cdp=CDPSettings(polls_per_second=100_000, tags=1100),
)


def fast(**changes: Any) -> Settings:
    """The fast settings, with changes to those that only the CDP has."""
    return replace(FAST, cdp=replace(FAST.cdp, **changes))


def hasten(client: tagferry.GrowingIOCDP, *, retries: int = 8) -> tagferry.GrowingIOCDP:
    """Give a client waits that suit a test; what it does between them stays as it is."""
    backend, caller = client._backend, client._caller
    policy = RetryPolicy(retries=retries, base=0.002, cap=0.01)

    def hastened(backoff: Any) -> Any:
        return msgspec.structs.replace(backoff, policy=policy, budget=RetryBudget(floor=100_000))

    schedule = PollSchedule(floor=0.002, cap=0.02)
    client._backend = msgspec.structs.replace(backend, backoff=hastened(backend.backoff), schedule=schedule)
    client._poller = Poller(client._backend)
    client._caller = client._jobs.caller = msgspec.structs.replace(caller, backoff=hastened(caller.backoff))
    return client


def read_record(out: Path, key: str = TAG) -> Record | None:
    """The record of a tag's export; None if there is none."""
    path = out / record_name(f"growingio-cdp-tag-{key}")
    text = path.read_bytes() if path.exists() else b""
    record = Record.read(text)
    assert record is not None or not text, "a torn record"
    return record


def read_submission(out: Path, key: str = TAG) -> Submission | None:
    """What is written down of the job of a tag."""
    record = read_record(out, key)
    return record.submission if record else None


def jobs_of(emulator: Emulator, key: str = TAG) -> list[str]:
    """The ids of the jobs that were made for a key, the oldest first."""
    return [job.id for job in emulator.cdp.jobs.values() if job.export.id == key]


class World:
    """An emulator, a client of it, and the events that it emitted."""

    def __init__(
        self, emulator: Emulator, client: tagferry.GrowingIOCDP, out: Path, events: list[Event]
    ) -> None:
        self.emulator = emulator
        self.client = client
        self.out = out
        self.events = events

    def tag(self, key: str = TAG, **options: Any) -> tagferry.Export:
        return self.client.tag_users(key, **options)

    def client_of(self, **options: Any) -> tagferry.GrowingIOCDP:
        """Another client of the same emulator, as another process has one."""
        chosen = {
            "token": self.emulator.token,
            "base_url": self.emulator.base_url,
            "rate": "10000/s",
        } | options
        return hasten(tagferry.GrowingIOCDP(on_event=self.events.append, **chosen))

    def tags(self, count: int) -> list[tagferry.Export]:
        return [self.tag(f"tag_{number:05d}") for number in range(4, 4 + count)]

    def order(self, *faults: str, operation: str = SUBMIT) -> None:
        for fault in faults:
            self.emulator.faults.add(operation, fault)

    def source(
        self, key: str = TAG, *parameters: str, kind: str = "growingio-cdp-tag", place: str = ""
    ) -> bytes:
        return self.emulator.source(kind, place, key, parameters).bytes()

    def jobs(self, key: str = TAG) -> list[str]:
        return jobs_of(self.emulator, key)

    def submission(self, key: str = TAG) -> Submission | None:
        return read_submission(self.out, key)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def requests(self, operation: str) -> int:
        return self.emulator.seen.counts[operation]

    def check(self, files: tuple[tagferry.SavedFile, ...], *bodies: bytes) -> None:
        """The files on disk are those bodies."""
        assert [file.path.read_bytes() == body for file, body in zip(files, bodies, strict=True)] == [
            True
        ] * len(bodies)
        for file, body in zip(files, bodies, strict=True):
            assert (file.size, file.sha256) == (len(body), hashlib.sha256(body).hexdigest())

    def check_tag(self, files: tuple[tagferry.SavedFile, ...], key: str = TAG) -> None:
        """The only file of a tag is whole, and of its export nothing unfinished is left."""
        self.check(files, self.source(key))
        assert not [path for path in self.out.iterdir() if ".part" in path.name and f"-{key}." in path.name]

    def check_truth(self, key: str = TAG) -> Submission | None:
        """What is written down of a job is true: nothing, its id, or that nobody knows."""
        submission, jobs = self.submission(key), self.jobs(key)
        if submission is None:
            assert jobs == []
        elif submission.job_id is not None:
            assert jobs == [submission.job_id]
        else:
            assert len(jobs) <= 1
        return submission


def check_records(out: Path, token: str = TOKEN) -> None:
    """No record holds a secret, or a link."""
    for path in out.glob("*.part.json") if out.is_dir() else ():
        text = path.read_bytes()
        assert not re.search(rb"http|download|%2F|/jobs/", text), text
        assert token.encode() not in text


@asynccontextmanager
async def open_cdp(tmp_path: Path, settings: Settings = FAST, **options: Any) -> AsyncIterator[World]:
    """Run a fast emulator and a client; afterwards check the records and what the emulator saw."""
    events: list[Event] = []
    retries = options.pop("retries", 8)
    async with Emulator(settings) as emulator:
        chosen = {"token": settings.token, "base_url": emulator.base_url, "rate": "10000/s"} | options
        client = tagferry.GrowingIOCDP(on_event=events.append, **chosen)
        async with hasten(client, retries=retries):
            yield World(emulator, client, tmp_path / "out", events)
        await asyncio.sleep(0)
        check_records(tmp_path / "out", settings.token)
        assert emulator.seen.violations == []
