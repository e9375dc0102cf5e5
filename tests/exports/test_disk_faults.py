"""Every call on the disk fails once: it is told as an error of ours, and the next run finishes."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagferry.errors import ConfigError, DiskError, RefusedError
from tagferry.exports import workplace
from tests.exports.world import FAST, POLL, World, check_directory, open_world

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read from /proc"),
]


@pytest.fixture
def anyio_backend() -> str:
    """Without asyncio's debug mode, which looks at the source of each call."""
    return "asyncio"


CALLS = {
    os: (
        *("open", "close", "stat", "lstat", "fstat", "listdir", "scandir", "mkdir", "unlink", "link"),
        *("rename", "replace", "ftruncate", "lseek", "pread", "pwrite", "writev", "fsync"),
    ),
    io: ("open",),
    fcntl: ("flock",),
}
PARTS = 2


class Disk:
    """Counts the calls on what is in a directory, and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = Path("/nowhere")
        self.calls: list[str] = []
        self.at: int | None = None
        self.armed = False
        for module, names in CALLS.items():
            for name in names:
                monkeypatch.setattr(module, name, self._wrap(name, getattr(module, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not (self.armed and self._is_ours(args)):
                return real(*args, **options)
            self.calls.append(name)
            if len(self.calls) != self.at:
                return real(*args, **options)
            if name == "close":
                # A descriptor is free also after an error.
                real(*args)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return call

    def _is_ours(self, args: tuple[Any, ...]) -> bool:
        # The loop's own thread is the test itself.
        if threading.current_thread() is threading.main_thread() or not args:
            return False
        path = Path(f"/proc/self/fd/{args[0]}").readlink() if isinstance(args[0], int) else Path(args[0])
        return path.is_relative_to(self.out)


async def leave_nothing(world: World, tag: str) -> None:
    pass


async def leave_old_files(world: World, tag: str) -> None:
    world.out.mkdir()
    for number, source in enumerate(world.sources(tag, parts=3, version=1), 1):
        (world.out / world.name(tag, f"-0000{number}.csv")).write_bytes(source.bytes())


async def leave_the_beginning(world: World, tag: str) -> None:
    world.order("cut@1000", "status=418")
    with pytest.raises(RefusedError):
        await world.tag(tag).download(world.out)


async def leave_junk(world: World, tag: str) -> None:
    world.out.mkdir()
    stem = world.name(tag, "")
    (world.out / f"{stem}.part.json").write_bytes(b"junk")
    (world.out / f"{stem}-00001.csv.part").write_bytes(b"junk")


async def leave_a_half_commit(world: World, tag: str) -> None:
    def crash(*_: object) -> None:
        raise DiskError("the power is gone", code="EIO")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workplace, "sync_directory", crash)
        with pytest.raises(DiskError):
            await world.tag(tag).download(world.out)


async def leave_all_files(world: World, tag: str) -> None:
    await world.tag(tag).download(world.out)


async def leave_old_files_of_an_empty_audience(world: World, tag: str) -> None:
    await leave_old_files(world, tag)
    world.order("no-links x6", operation=f"{POLL}:{tag}")


SCENES: dict[str, tuple[Callable[[World, str], Any], Any]] = {
    "fresh": (leave_nothing, "error"),
    "replace": (leave_old_files, "replace"),
    "resume": (leave_the_beginning, "error"),
    "junk": (leave_junk, "error"),
    "finish": (leave_a_half_commit, "error"),
    "skip": (leave_all_files, "skip"),
    "empty": (leave_old_files_of_an_empty_audience, "replace"),
}


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("scene", SCENES)
async def test_any_call_on_the_disk_may_fail(tmp_path, monkeypatch, scene, every):
    leave, if_exists = SCENES[scene]
    disk, told = Disk(monkeypatch), list[ConfigError | DiskError]()
    async with open_world(tmp_path, replace(FAST, parts=PARTS, rows=200)) as world:

        async def run(at: int | None) -> bool:
            """Let one call fail; tell whether it was ever made."""
            tag = f"disk{at or 0:04d}"
            world.out = disk.out = tmp_path / tag
            await leave(world, tag)
            disk.calls, disk.at, disk.armed = [], at, True
            try:
                await world.tag(tag).download(world.out, if_exists=if_exists)
            except (ConfigError, DiskError) as error:
                told.append(error)
            disk.armed = False
            assert all(str(tmp_path) in error.message and error.hint for error in told)
            check_directory(world)
            again = if_exists if scene in {"replace", "empty"} else "skip"
            files = await world.tag(tag).download(world.out, if_exists=again)
            bodies = [] if scene == "empty" else [one.bytes() for one in world.sources(tag, parts=PARTS)]
            world.check(files, *bodies)
            return at is None or len(disk.calls) >= at

        await run(None)
        at, failed = 1 + list(SCENES).index(scene) % every, 0
        while await run(at):
            at, failed = at + every, failed + 1
        print({scene: failed, "told": len(told)})
        # Whether a directory is there is asked twice.
        assert failed - 1 <= len(told) <= failed
        assert failed
