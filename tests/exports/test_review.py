"""What a hostile reading found: each of these once went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools

import aiohttp
import pytest

import tagferry
from tagferry import ExportDone, ExportFailed, download_all
from tagferry.errors import AuthError, DiskError, LinkExpiredError, TagferryError
from tagferry.exports import workplace
from tagferry.exports.naming import find_finals, find_parts, make_stem
from tagferry.exports.workplace import Workplace
from tests.exports.test_workplace import fill, make_export, names
from tests.exports.world import DOWNLOAD, POLL, PROJECT, TAG, open_world

pytestmark = pytest.mark.anyio


async def test_a_generator_around_many_exports_may_be_closed(world):
    async def results():
        async with download_all(world.tags(5), world.out) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async with contextlib.aclosing(results()) as some:
        async for outcome in some:
            assert isinstance(outcome, ExportDone)
            break


async def test_leaving_early_hides_disk_errors_of_the_tidying_up(world, monkeypatch):
    world.order("stall@100 for=60 x*", operation=f"{DOWNLOAD}:tag00001")
    close = Workplace.close

    def fail(self):
        close(self)
        if self._export.id == "tag00001":
            raise DiskError("cannot", code="EIO")

    monkeypatch.setattr(Workplace, "close", fail)
    async with download_all(world.tags(2), world.out) as outcomes:
        async for _ in outcomes:
            while not world.requests("tag00001"):
                await asyncio.sleep(0.001)
            break


@pytest.mark.parametrize("trap", ["no-etag", "weak-etag", "no-content-range"])
async def test_ground_that_was_covered_before_is_no_progress(tmp_path, trap):
    # Each transfer breaks elsewhere, and nothing can be taken up where it broke.
    async with open_world(tmp_path, retries=3) as world:
        cuts = itertools.cycle([f"{trap} & cut@5000", f"{trap} & cut@20000"])
        world.order(*itertools.islice(cuts, 60))
        with pytest.raises(TagferryError):
            await world.tag().download(world.out)
        assert world.requests() <= 10


async def test_links_that_lapse_before_all_parts_are_checked_end_at_last(tmp_path, monkeypatch):
    # Without an ETag every part is fetched anew after each renewal.
    async with open_world(tmp_path) as world:
        world.order("links=2 x*", operation=POLL)
        world.order(*["no-etag", "expired"] * 60)
        with pytest.raises(LinkExpiredError):
            await world.tag().download(world.out)
        assert world.requests() < 60


async def test_a_cancel_after_the_commit_leaves_no_old_part(world, monkeypatch):
    world.out.mkdir()
    old = world.out / f"growingio-tag-{PROJECT}-{TAG}-00002.csv"
    old.write_bytes(b"old")
    committed = asyncio.Event()
    loop = asyncio.get_running_loop()
    commit = Workplace.commit

    def slow(self, **options):
        files = commit(self, **options)
        loop.call_soon_threadsafe(committed.set)
        loop.call_soon_threadsafe(task.cancel)
        return files

    monkeypatch.setattr(Workplace, "commit", slow)
    task = asyncio.create_task(world.tag().download(world.out, if_exists="replace"))
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert committed.is_set()
    assert [path.name for path in world.out.iterdir()] == [world.name()]


def test_an_id_of_five_digits_is_not_the_number_of_a_part():
    stem = make_stem("growingio-tag", PROJECT, "12345")
    assert make_stem("growingio-tag", PROJECT, "%312345") != stem
    assert find_finals([f"{stem}.csv"], ".csv") == {stem: [f"{stem}.csv"]}
    assert find_finals([f"{stem}-00001.csv"], ".csv") == {stem: [f"{stem}-00001.csv"]}
    assert find_parts([f"{stem}.csv.part"], stem, ".csv") == [f"{stem}.csv.part"]


async def test_a_file_system_without_locks_is_as_one_whose_locks_hold_nothing(world, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    world.check_whole(files=await world.tag().download(world.out))


async def test_a_lock_that_fails_fails_its_export_only(world, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    async with download_all(world.tags(2), world.out) as outcomes:
        errors = [outcome.error async for outcome in outcomes]
    assert [(type(error), error.code) for error in errors] == [(DiskError, "EIO")] * 2


async def test_a_provider_that_fails_is_no_group_of_exceptions(world):
    async def provide() -> str:
        raise RuntimeError("the vault is sealed")

    async with tagferry.GrowingIO(token=provide, base_url=world.emulator.base_url) as client:
        exports = [client.tag_users(PROJECT, "a"), world.tag()]
        async with download_all(exports, world.out) as outcomes:
            seen = {outcome.export.id: outcome async for outcome in outcomes}
    assert isinstance(seen["a"], ExportFailed)
    assert isinstance(seen["a"].error, AuthError)
    assert isinstance(seen["a"].error.__cause__, RuntimeError)
    assert isinstance(seen[TAG], ExportDone)


async def test_a_given_session_that_is_closed_fails_its_exports_only(world):
    session = aiohttp.ClientSession()
    await session.close()
    client = tagferry.GrowingIO(token="x", base_url=world.emulator.base_url, session=session)
    async with client:
        exports = [client.tag_users(PROJECT, "a"), world.tag()]
        async with download_all(exports, world.out) as outcomes:
            seen = {outcome.export.id: outcome async for outcome in outcomes}
    assert isinstance(seen["a"], ExportFailed)
    assert isinstance(seen[TAG], ExportDone)


async def test_a_stream_of_outcomes_that_is_closed_ends_the_rest_in_silence(world):
    async with download_all(world.tags(3), world.out) as outcomes:
        async for _ in outcomes:
            break
        await outcomes.aclose()
        await asyncio.sleep(0.05)


def test_who_finishes_a_replacement_leaves_no_old_part(tmp_path, monkeypatch):
    export = make_export()
    (tmp_path / "k-x-00002.csv").write_bytes(b"old")
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"new")

    def crash(*_):
        raise DiskError("the power is gone", code="EIO")

    with monkeypatch.context() as patch:
        patch.setattr(workplace, "sync_directory", crash)
        patch.setattr(Workplace, "_drop_others", crash)
        with pytest.raises(DiskError):
            place.commit(replace=True)
    place.close()
    assert len(Workplace.finish(export, tmp_path, replace=False)) == 1
    assert names(tmp_path) == ["k-x.csv"]
