"""A client and an emulator made for speed, and what must hold of a directory after every download."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import tagferry
from tagferry.emulator import Emulator, Settings, Source
from tagferry.events import Event
from tagferry.exports.naming import record_name
from tagferry.exports.poller import Poller
from tagferry.exports.record import Record
from tagferry.exports.schedule import PollSchedule
from tagferry.wire.retry import RetryBudget, RetryPolicy

PROJECT = "nxog09md"
TAG = "5rREn4PL"
TOKEN = "CANARY-token-of-the-emulator"
POLL = "growingio-saas.poll"
DOWNLOAD = "growingio-saas.download"
# Every job is `doing` once.
FAST = Settings(token=TOKEN, time_scale=0.01, job_seconds=1e-6, quota_per_second=10_000)


def hasten(client: tagferry.GrowingIO, *, retries: int = 8) -> tagferry.GrowingIO:
    """Give a client waits that suit a test; what it does between them stays as it is."""
    backend = client._backend
    policy = RetryPolicy(retries=retries, base=0.002, cap=0.01)
    backoff = msgspec.structs.replace(backend.backoff, policy=policy, budget=RetryBudget(floor=10_000))
    schedule = PollSchedule(floor=0.002, cap=0.02)
    client._backend = msgspec.structs.replace(backend, backoff=backoff, schedule=schedule)
    client._poller = Poller(client._backend)
    for kind, caller in client._callers.items():
        backoff = msgspec.structs.replace(caller.backoff, policy=policy, budget=RetryBudget(floor=10_000))
        client._callers[kind] = msgspec.structs.replace(caller, backoff=backoff)
    return client


class World:
    """An emulator, a client of it, and the events that it emitted."""

    def __init__(
        self, emulator: Emulator, client: tagferry.GrowingIO, out: Path, events: list[Event]
    ) -> None:
        self.emulator = emulator
        self.client = client
        self.out = out
        self.events = events

    def tag(self, tag_id: str = TAG, **options: Any) -> tagferry.Export:
        return self.client.tag_users(PROJECT, tag_id, **options)

    def tags(self, count: int) -> list[tagferry.Export]:
        return [self.tag(f"tag{number:05d}") for number in range(count)]

    def order(self, *faults: str, operation: str = DOWNLOAD) -> None:
        for fault in faults:
            self.emulator.faults.add(operation, fault)

    def sources(self, tag_id: str = TAG, **options: Any) -> tuple[Source, ...]:
        return self.emulator.sources("growingio-tag", PROJECT, tag_id, **options)

    def source(self, tag_id: str = TAG) -> bytes:
        return self.sources(tag_id, parts=1)[0].bytes()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def requests(self, key: str | None = None) -> int:
        return len(self.emulator.seen.of(DOWNLOAD, key))

    @property
    def sent(self) -> int:
        """Body bytes that the download host has sent."""
        return sum(
            arrival.sent for arrival in self.emulator.seen.of(DOWNLOAD) if arrival.status in {200, 206}
        )

    def name(self, tag_id: str = TAG, ending: str = ".csv") -> str:
        return f"growingio-tag-{PROJECT}-{tag_id}{ending}"

    def check(self, files: tuple[tagferry.SavedFile, ...], *bodies: bytes) -> None:
        """The files on disk are those bodies, and nothing else is there."""
        assert [file.path.read_bytes() == body for file, body in zip(files, bodies, strict=True)] == [
            True
        ] * len(bodies)
        for file, body in zip(files, bodies, strict=True):
            assert (file.size, file.sha256) == (len(body), hashlib.sha256(body).hexdigest())
        assert sorted(path.name for path in self.out.iterdir()) == sorted(file.path.name for file in files)

    def check_whole(self, tag_id: str = TAG, files: tuple[tagferry.SavedFile, ...] = ()) -> None:
        assert files
        self.check(files, self.source(tag_id))


def check_directory(world: World) -> None:
    """What holds at any time: a final name means the whole file, and every unfinished file has a record."""
    if not world.out.is_dir():
        return
    names = {path.name for path in world.out.iterdir()}
    for name in names:
        if name.endswith(".part"):
            stem = name.removesuffix(".part").removesuffix(".csv")
            owners = {record_name(stem), record_name(stem.rpartition("-")[0])}
            assert owners & names, f"nobody owns {name}; there are {names}"
        elif not name.endswith(".part.json"):
            body = (world.out / name).read_bytes()
            stem = name.partition(".")[0].split("-")
            assert body in allowed(world, stem[3]), f"{name} is no file of the source"
    for name in names:
        if name.endswith(".part.json") and (text := (world.out / name).read_bytes()):
            Record.read(text)
            assert b"sign=" not in text
            assert b"http" not in text
            assert TOKEN.encode() not in text


def allowed(world: World, tag_id: str) -> list[bytes]:
    """All files that the service may give for an export, in one part or in several, of now or of later."""
    parts = range(1, 4)
    sources = [world.sources(tag_id, parts=n, version=v) for n, v in itertools.product(parts, (0, 1))]
    return [one.bytes() for some in sources for one in some]


@asynccontextmanager
async def open_world(tmp_path: Path, settings: Settings = FAST, **options: Any) -> AsyncIterator[World]:
    """Run a fast emulator and a client; afterwards check the directory and what the emulator saw."""
    events: list[Event] = []
    retries = options.pop("retries", 8)
    listener = options.pop("on_event", events.append)
    async with Emulator(settings) as emulator:
        client = tagferry.GrowingIO(
            token=TOKEN, base_url=emulator.base_url, rate="10000/s", on_event=listener, **options
        )
        async with hasten(client, retries=retries):
            world = World(emulator, client, tmp_path / "out", events)
            yield world
        await asyncio.sleep(0)
        check_directory(world)
        assert emulator.seen.violations == []
        for arrival in emulator.seen.of(DOWNLOAD):
            names = {name.lower() for name, _ in arrival.headers}
            assert names <= {"host", "accept-encoding", "range", "if-range"}, names
