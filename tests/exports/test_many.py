"""Many exports at once: outcomes as they settle, and nobody takes others down."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import anyio
import pytest

from tagferry import ExportDone, ExportFailed, download_all
from tagferry.errors import ConfigError, DeadlineError, JobFailedError, LinkExpiredError, RefusedError
from tests.exports.world import DOWNLOAD, FAST, POLL, check_directory, open_world

pytestmark = pytest.mark.anyio


def check_done(world, outcome):
    (file,) = outcome.files
    body = world.source(outcome.export.id)
    assert file.path.read_bytes() == body
    assert file.sha256 == hashlib.sha256(body).hexdigest()


async def test_every_export_has_one_outcome_and_one_bad_one_takes_no_other_down(world):
    exports = world.tags(8)
    world.order("failed=请求参数不合法", operation=f"{POLL}:tag00001")
    world.order("expired x*", operation=f"{DOWNLOAD}:tag00002")
    world.order("status=418 x*", operation=f"{DOWNLOAD}:tag00003")
    world.order("no-links x3", operation=f"{POLL}:tag00004")
    seen = {}
    async with download_all(exports, world.out, concurrency=3) as outcomes:
        async for outcome in outcomes:
            assert outcome.export not in seen
            seen[outcome.export] = outcome
    assert set(seen) == set(exports)
    errors = {1: JobFailedError, 2: LinkExpiredError, 3: RefusedError}
    for number, export in enumerate(exports):
        match seen[export]:
            case ExportFailed(error=error):
                assert type(error) is errors.pop(number)
            case ExportDone(state="empty", files=files):
                assert (number, files) == (4, ())
            case ExportDone() as done:
                check_done(world, done)
    assert errors == {}


async def test_outcomes_come_as_they_settle(world):
    world.order("stall@100 for=1.5", operation=f"{DOWNLOAD}:tag00000")
    order = []
    async with download_all(world.tags(3), world.out) as outcomes:
        async for outcome in outcomes:
            order.append(outcome.export.id)
    assert order[-1] == "tag00000"


async def test_no_more_downloads_than_allowed_run_at_once(world):
    world.order(*["stall@100 for=0.05"] * 9)
    running = most = 0
    stream = world.client._connection.transport.stream

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def counted(*args):
        nonlocal running, most
        async with stream(*args) as opened:
            running += 1
            most = max(most, running)
            try:
                yield opened
            finally:
                running -= 1

    world.client._connection.transport.stream = counted
    async with download_all(world.tags(9), world.out, concurrency=2) as outcomes:
        assert [type(outcome) async for outcome in outcomes] == [ExportDone] * 9
    assert most == 2


async def test_an_early_exit_stops_the_rest_and_the_next_run_goes_on(world):
    world.order("pass", "stall@500 for=30 x3", "pass x*")
    async with download_all(world.tags(4), world.out) as outcomes:
        async for outcome in outcomes:
            check_done(world, outcome)
            break
    check_directory(world)
    assert len(list(world.out.glob("*.csv"))) == 1
    async with download_all(world.tags(4), world.out, if_exists="skip") as outcomes:
        states = sorted([outcome.state async for outcome in outcomes])
    assert states == ["done"] * 3 + ["skipped"]
    assert len(list(world.out.iterdir())) == 4


async def test_leaving_without_looking_stops_everything(world):
    world.order("stall@500 for=30 x*")
    async with download_all(world.tags(4), world.out):
        await anyio.sleep(0.05)
    check_directory(world)
    assert not list(world.out.glob("*.csv"))


async def test_an_exception_of_the_consumer_comes_out_as_it_is(world):
    world.order("pass", "stall@500 for=30 x*")
    boom = ZeroDivisionError("mine")

    async def consume():
        async with download_all(world.tags(3), world.out) as outcomes:
            async for _ in outcomes:
                raise boom

    with pytest.raises(ZeroDivisionError) as caught:
        await consume()
    assert caught.value is boom


async def test_a_group_of_the_consumer_comes_out_as_it_is(world):
    group = ExceptionGroup("mine", [ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with download_all(world.tags(2), world.out):
            raise group
    assert caught.value is group


async def test_a_slow_consumer_loses_nothing(world):
    seen = []
    async with download_all(world.tags(6), world.out, concurrency=2) as outcomes:
        async for outcome in outcomes:
            await anyio.sleep(0.02)
            seen.append(outcome.export.id)
    assert sorted(seen) == [export.id for export in world.tags(6)]


async def test_a_cancelled_consumer_leaves_nothing_running(world):
    world.order("stall@500 for=30 x*")

    async def consume():
        async with download_all(world.tags(3), world.out) as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    check_directory(world)


async def test_the_deadline_is_one_for_each_export(world):
    world.order("stall@500 for=30", operation=f"{DOWNLOAD}:tag00000")
    async with download_all(world.tags(3), world.out, deadline=2.5) as outcomes:
        found = {outcome.export.id: outcome async for outcome in outcomes}
    assert isinstance(found["tag00000"].error, DeadlineError)
    assert sorted(type(outcome) is ExportDone for outcome in found.values()) == [False, True, True]


async def test_no_exports_are_no_outcomes(world):
    async with download_all([], world.out) as outcomes:
        assert [outcome async for outcome in outcomes] == []


async def test_what_cannot_end_well_is_refused_before_any_request(world):
    export = world.tag()
    with pytest.raises(ConfigError, match="both be written"):
        async with download_all([export, world.tag(expire_minutes=7)], world.out):
            pass
    with pytest.raises(ConfigError, match="differs in case"):
        async with download_all([world.tag("ABCDEFGH"), world.tag("abcdefgh")], world.out):
            pass
    with pytest.raises(ConfigError, match="concurrency"):
        async with download_all([export], world.out, concurrency=0):
            pass
    world.out.mkdir()
    (world.out / world.name("tag00001")).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="already there"):
        async with download_all(world.tags(2), world.out):
            pass
    (world.out / world.name("tag00001")).unlink()
    assert len(world.emulator.seen) == 0


async def test_jobs_are_not_hurried_when_downloads_cannot_begin_soon(world):
    """Links age in a queue, so jobs behind it are not asked whether they are done."""
    world.order("stall@500 for=0.5", operation=DOWNLOAD)
    async with download_all(world.tags(20), world.out, concurrency=1) as outcomes:
        while not world.requests():
            await anyio.sleep(0.005)
        await anyio.sleep(0.3)
        # One is being downloaded, and only eight more have links that age.
        assert len(world.emulator.store.links) <= 9
        assert [type(outcome) async for outcome in outcomes] == [ExportDone] * 20


async def test_fifty_exports_at_a_strict_quota_come_whole_and_never_break_it(tmp_path):
    settings = replace(FAST, quota_per_second=20, parts=2, rows=300)
    async with open_world(tmp_path, settings) as world:
        from tagferry import GrowingIO
        from tests.exports.world import TOKEN, hasten

        async with GrowingIO(token=TOKEN, base_url=world.emulator.base_url, rate="20/s") as client:
            hasten(client)
            exports = [client.tag_users("nxog09md", f"tag{number:05d}") for number in range(25)]
            exports += [client.segment_users("nxog09md", f"seg{number:05d}") for number in range(25)]
            async with download_all(exports, world.out, concurrency=16) as outcomes:
                found = [outcome async for outcome in outcomes]
        assert len(found) == 50
        for outcome in found:
            kind = outcome.export.kind
            sources = world.emulator.sources(kind, "nxog09md", outcome.export.id)
            assert [file.path.read_bytes() for file in outcome.files] == [
                source.bytes() for source in sources
            ]
            assert [file.sha256 for file in outcome.files] == [
                hashlib.sha256(source.bytes()).hexdigest() for source in sources
            ]
            for file in outcome.files:
                file.path.unlink()
        assert world.emulator.max_in_any_second <= 20
        assert world.emulator.refused == 0
        assert set(world.emulator.quotas()) == {"growingio-tag", "growingio-segment"}
