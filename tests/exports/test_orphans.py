"""An event loop that ends in mid-transfer leaves no thread, no descriptor, and a record that is right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tagferry
from tagferry.emulator import Emulator, serve_in_thread
from tagferry.exports import download
from tagferry.exports import part as part_module
from tagferry.exports.record import Record
from tagferry.files import thread
from tests.exports.world import DOWNLOAD, FAST, PROJECT, TAG, TOKEN, hasten
from tests.standing import open_files

STEM = f"growingio-tag-{PROJECT}-{TAG}"
BLOCK = 5000


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve_in_thread(replace(FAST, time_scale=1.0, rows=5000)) as emulator:
        emulator.faults.add(DOWNLOAD, f"drip@0 bytes={BLOCK} every=0.001")
        yield emulator


class SlowDisk:
    """Holds the third write and all after it until it is let go."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.gate = threading.Event()
        self.at_work = 0
        self._writes = 0

    def writev(self, handle: int, buffers: list[bytes]) -> int:
        self._writes += 1
        self.at_work += 1
        try:
            if self._writes >= 3:
                self.held.set()
                assert self.gate.wait(10)
            return os.writev(handle, buffers)
        finally:
            self.at_work -= 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    boundary = type("Boundary", (), {**vars(os), "writev": staticmethod(disk.writev)})
    monkeypatch.setattr(part_module, "os", boundary)
    monkeypatch.setattr(download, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(download, "BLOCK", BLOCK)
    monkeypatch.setattr(thread, "_LINGER", 60.0)
    return disk


async def fetch(emulator: Emulator, out: Path) -> tuple[tagferry.SavedFile, ...]:
    async with hasten(tagferry.GrowingIO(token=TOKEN, base_url=emulator.base_url, rate="10000/s")) as client:
        return await client.tag_users(PROJECT, TAG).download(out)


async def fetch_many(emulator: Emulator, out: Path) -> tuple[tagferry.SavedFile, ...]:
    client = hasten(tagferry.GrowingIO(token=TOKEN, base_url=emulator.base_url, rate="10000/s"))
    async with client, tagferry.download_all([client.tag_users(PROJECT, TAG)], out) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, tagferry.ExportDone)
    return outcome.files


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read from /proc")
@pytest.mark.parametrize("way", [fetch, fetch_many])
def test_a_loop_that_ends_in_mid_transfer_orphans_no_thread(emulator, tmp_path, disk, way):
    out = tmp_path / "out"
    before = set(threading.enumerate())
    tasks = []

    async def main():
        tasks.append(asyncio.create_task(way(emulator, out)))
        while not disk.held.is_set():
            assert not tasks[0].done()
            await asyncio.sleep(0.001)
        # The disk wakes up when `asyncio.run` has long cancelled all that is left.
        waker.start()

    waker = threading.Timer(0.3, disk.gate.set)
    asyncio.run(main())
    assert tasks[0].cancelled()
    assert disk.at_work == 0, "a thread is still writing"
    waker.join()
    left = set(threading.enumerate()) - before
    for one in left:
        # It has nothing to do and no one to wait for, but may not have had the CPU yet.
        one.join(5)
    assert not any(one.is_alive() for one in left)
    assert [name for name in open_files() if name.startswith(str(out))] == []
    record = Record.read((out / f"{STEM}.part.json").read_bytes())
    body = (out / f"{STEM}.csv.part").read_bytes()
    assert record is not None
    (part,) = record.parts
    assert (part.offset, part.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    source = emulator.source("growingio-tag", PROJECT, TAG)
    assert 3 * BLOCK <= len(body) < source.size
    (file,) = asyncio.run(way(emulator, out))
    assert file.path.read_bytes() == source.bytes()
    assert emulator.seen.of(DOWNLOAD)[-1].values("Range") == [f"bytes={len(body)}-"]
    assert [path.name for path in out.iterdir()] == [f"{STEM}.csv"]
