"""How to test a pipeline of your own: pytest test_pipeline.py; the fixture comes with tagferry."""

import asyncio
from pathlib import Path

import pytest

import tagferry
from tagferry.emulator import Emulator


async def bring_vips(gio: tagferry.GrowingIO, directory: Path) -> int:
    """Stand for the pipeline: export a segment and count its users."""
    files = await gio.segment_users("nxog09md", "nP2lpkX9").download(directory)
    return sum(len(file.path.read_bytes().splitlines()) - 1 for file in files)


async def run(emulator: Emulator, directory: Path) -> int:
    """Run it against the emulator."""
    async with tagferry.GrowingIO(token=emulator.token, base_url=emulator.base_url) as gio:
        return await bring_vips(gio, directory)


def test_vips_are_counted_although_the_transfer_breaks(tagferry_emulator: Emulator, tmp_path: Path) -> None:
    tagferry_emulator.faults.add("growingio-saas.download", "cut@5000")
    users = asyncio.run(run(tagferry_emulator, tmp_path))
    assert users == tagferry_emulator.source("growingio-segment", "nxog09md", "nP2lpkX9").rows
    assert tagferry_emulator.faults.all_used


def test_a_segment_that_fails_is_an_error(tagferry_emulator: Emulator, tmp_path: Path) -> None:
    tagferry_emulator.faults.add("growingio-saas.poll", "failed=no such segment x*")
    with pytest.raises(tagferry.JobFailedError, match="no such segment"):
        asyncio.run(run(tagferry_emulator, tmp_path))
    assert not list(tmp_path.iterdir())
