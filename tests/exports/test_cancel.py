"""A cancellation at any await leaves no half file, no task and no descriptor, and the next run finishes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from tagferry import download_all
from tagferry.exports import download
from tests.exports.world import FAST, check_directory, open_world

pytestmark = pytest.mark.anyio
EVERY = 3
"""Every third await is cancelled in the default run; another remainder for each test."""


class Steps:
    """A coroutine that counts the awaits of another, and throws a cancellation into one of them."""

    def __init__(self, coroutine, at=None):
        self.coroutine = coroutine
        self.at = at
        self.taken = 0

    def __await__(self):
        value, error = None, None
        while True:
            self.taken += 1
            if self.taken == self.at:
                error = asyncio.CancelledError()
            try:
                waited = self.coroutine.throw(error) if error else self.coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            value, error = None, None
            try:
                value = yield waited
            except BaseException as thrown:
                error = thrown


async def run(coroutine, at=None):
    steps = Steps(coroutine, at)
    with suppress(asyncio.CancelledError):
        await steps
    return steps.taken


def faulty(world):
    world.order("cut@3000", "expired", "no-etag & cut@2000")


@pytest.mark.parametrize("parts", [1, 2])
async def test_a_cancellation_at_any_await_of_a_download(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(download, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(download, "BLOCK", 1500)
    async with open_world(tmp_path, replace(FAST, parts=parts, rows=300)) as world:
        faulty(world)
        total = await run(world.tag("count000").download(world.out))
        assert total > 20
        for at in range(1 + parts % EVERY, total + 1, EVERY):
            world.emulator.faults.clear()
            faulty(world)
            tag = world.tag(f"step{at:04d}")
            await run(tag.download(world.out), at)
            check_directory(world)
            world.emulator.faults.clear()
            files = await tag.download(world.out, if_exists="skip")
            bodies = [source.bytes() for source in world.sources(tag.id, parts=parts)]
            assert [file.path.read_bytes() for file in files] == bodies, at
        assert list(world.out.glob("*.part*")) == []


async def test_a_cancellation_at_any_moment_of_many_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(download, "BLOCK", 1500)
    async with open_world(tmp_path, replace(FAST, rows=300)) as world:

        async def fetch(exports, if_exists="error"):
            async with download_all(exports, world.out, concurrency=2, if_exists=if_exists) as outcomes:
                return [outcome async for outcome in outcomes]

        for number in range(24):
            exports = [world.tag(f"m{number:02d}{n:05d}") for n in range(3)]
            world.order("cut@3000", "expired")
            task = asyncio.create_task(fetch(exports))
            await asyncio.sleep(number * 0.004)
            task.cancel()
            await asyncio.wait([task])
            check_directory(world)
            world.emulator.faults.clear()
            for outcome in await fetch(exports, "skip"):
                assert outcome.files[0].path.read_bytes() == world.source(outcome.export.id)
        assert list(world.out.glob("*.part*")) == []
