"""Rows of a running export: what comes, when, and what is on disk afterwards."""

import asyncio
import csv
import io
from dataclasses import replace

import msgspec
import pytest

import tagferry
from tagferry.errors import ConfigError, DeadlineError, IntegrityError, RecordError, UnavailableError
from tagferry.events import PartRestarted
from tagferry.exports import download, follower
from tagferry.exports.workplace import Workplace
from tests.exports import cdp_world
from tests.exports.world import FAST, TAG, check_directory, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """A file is written and read in many blocks."""
    monkeypatch.setattr(download, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(download, "BLOCK", 1500)
    monkeypatch.setattr(follower, "_BLOCK", 700)


def truth(world, tag_id=TAG, **options):
    """The rows of an export by another parser, which does not tell a null from an empty text."""
    rows = []
    for source in world.sources(tag_id, **options):
        text = io.StringIO(source.bytes().decode("utf-8-sig"), newline="")
        rows += csv.DictReader(text, escapechar="\\", strict=True)
    return rows


async def take_all(export, out, found):
    """Append the rows that come before an error."""
    async with export.rows(directory=out) as rows:
        async for row in rows:
            found.append(row)


def plain(rows):
    return [{name: value or "" for name, value in row.items()} for row in rows]


async def test_rows_are_those_of_the_files_which_are_whole_at_the_end(world):
    async with world.tag().rows(directory=world.out) as rows:
        assert isinstance(rows, tagferry.Rows)
        found = [row async for row in rows]
        assert [path.name for path in world.out.iterdir()] == [world.name()]
    assert plain(found) == truth(world, parts=1)
    assert world.out.joinpath(world.name()).read_bytes() == world.source()


async def test_rows_of_a_struct_and_in_batches(world):
    names = list(truth(world, parts=1)[0])
    wanted = msgspec.defstruct("Wanted", [("first", str)], rename={"first": names[0]})
    async with world.tag().rows(wanted, directory=world.out) as rows:
        batches = [batch async for batch in rows.batches(7)]
    assert {len(batch) for batch in batches[:-1]} == {7}
    assert [row.first for batch in batches for row in batch] == [
        row[names[0]] for row in truth(world, parts=1)
    ]


@pytest.fixture
async def large(tmp_path):
    """A world whose files are of many blocks, as they come over the network."""
    async with open_world(tmp_path, replace(FAST, rows=10_000), retries=1) as world:
        yield world


async def test_rows_come_while_the_download_is_under_way(large):
    world = large
    world.order("stall@150000")
    async with world.tag().rows(directory=world.out) as rows:
        first = await anext(rows)
        assert plain([first]) == truth(world, parts=1)[:1]
        assert [path.suffix for path in world.out.iterdir()] != [".csv"]


async def test_a_slow_reader_does_not_slow_the_download(world):
    async with world.tag().rows(directory=world.out) as rows:
        found = [await anext(rows)]
        while not world.out.joinpath(world.name()).exists():
            await asyncio.sleep(0.01)
        found += [row async for row in rows]
    assert plain(found) == truth(world, parts=1)


async def test_leaving_early_keeps_what_the_next_run_goes_on_with(large):
    world = large
    world.order("stall@150000")
    async with world.tag().rows(directory=world.out) as rows:
        async for _ in rows:
            break
    check_directory(world)
    left = [path for path in world.out.iterdir() if path.suffix == ".part"]
    assert left[0].stat().st_size > 0
    before = world.sent
    async with world.tag().rows(directory=world.out) as rows:
        found = [row async for row in rows]
    assert plain(found) == truth(world, parts=1)
    assert world.sent - before < len(world.source())


async def test_an_error_of_the_block_is_raised_as_it_is(world):
    async def fail():
        async with world.tag().rows(directory=world.out) as rows:
            await anext(rows)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    check_directory(world)


async def test_cut_transfers_and_lapsed_links_do_not_show(world):
    world.order("cut@3000", "expired", "cut@4500", "close")
    async with world.tag().rows(directory=world.out) as rows:
        found = [row async for row in rows]
    assert plain(found) == truth(world, parts=1)
    assert world.requests() >= 4


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("faults", [(), ("cut@3000", "expired")])
async def test_all_parts_are_read_in_order(tmp_path, parts, faults):
    async with open_world(tmp_path, replace(FAST, parts=parts, rows=120)) as world:
        world.order(*faults)
        async with world.tag().rows(directory=world.out) as rows:
            found = [row async for row in rows]
        assert plain(found) == truth(world, parts=parts)
        assert len(list(world.out.iterdir())) == parts


async def test_a_file_that_begins_anew_with_the_same_bytes_is_read_on(world):
    # Without a strong validator nobody can go on at a byte.
    world.order("no-etag & cut@3000")
    async with world.tag().rows(directory=world.out) as rows:
        found = [row async for row in rows]
    assert plain(found) == truth(world, parts=1)
    assert world.of(PartRestarted)


async def test_a_file_that_changes_in_the_middle_is_an_error_and_no_splice(large):
    world = large
    world.order("cut@150000", "other-content")
    found = []
    with pytest.raises(IntegrityError, match="another file") as caught:
        await take_all(world.tag(), world.out, found)
    assert "--if-exists skip" in caught.value.hint
    assert plain(found) == truth(world, parts=1)[: len(found)]
    async with world.tag().rows(directory=world.out, if_exists="skip") as rows:
        again = [row async for row in rows]
    assert len(again) > len(found)


async def test_what_an_earlier_run_left_of_another_file_is_not_read(large):
    world = large
    world.order("stall@150000")
    async with world.tag().rows(directory=world.out) as rows:
        await anext(rows)
    world.order("other-content")
    async with world.tag().rows(directory=world.out) as rows:
        found = [row async for row in rows]
    with (world.out / world.name()).open(newline="", encoding="utf-8-sig") as file:
        assert plain(found) == list(csv.DictReader(file, escapechar="\\", strict=True))


async def test_a_saved_export(world):
    await world.tag().download(world.out)
    with pytest.raises(ConfigError, match="already there"):
        async with world.tag().rows(directory=world.out):
            pass
    before = world.requests()
    async with world.tag().rows(directory=world.out, if_exists="skip") as rows:
        found = [row async for row in rows]
    assert plain(found) == truth(world, parts=1)
    assert world.requests() == before
    async with world.tag().rows(directory=world.out, if_exists="replace") as rows:
        assert len([row async for row in rows]) == len(found)


async def test_an_empty_audience_has_no_rows(world):
    world.order("no-links x*", operation="growingio-saas.poll")
    async with world.tag().rows(directory=world.out) as rows:
        assert [row async for row in rows] == []
    async with world.tag().rows(directory=world.out) as rows:
        assert [batch async for batch in rows.arrow_batches()] == []


async def test_a_download_that_fails_ends_the_rows(large):
    world = large
    world.order("cut@150000", "close x*")
    found = []
    with pytest.raises(UnavailableError):
        await take_all(world.tag(), world.out, found)
    assert found
    assert plain(found) == truth(world, parts=1)[: len(found)]
    with pytest.raises(UnavailableError):
        async with world.tag("another1").rows(directory=world.out) as rows:
            [batch async for batch in rows.arrow_batches()]


async def test_the_deadline_is_that_of_the_download(world):
    world.order("stall@3000 x*")
    with pytest.raises(DeadlineError):
        async with world.tag().rows(directory=world.out, deadline=0.2) as rows:
            [row async for row in rows]


async def test_bad_records_are_collected_over_all_of_it(world):
    names = list(truth(world, parts=1)[0])
    number = msgspec.defstruct("Number", [("value", int)], rename={"value": names[0]})
    with pytest.raises(RecordError) as caught:
        async with world.tag().rows(number, directory=world.out) as rows:
            [row async for row in rows]
    assert caught.value.file == world.out / world.name()
    assert (caught.value.line, caught.value.column) == (2, names[0])
    async with world.tag().rows(number, directory=world.out, if_exists="replace", on_error="collect") as rows:
        assert [row async for row in rows] == []
    assert rows.error_count == len(truth(world, parts=1))


async def test_arrow_batches_come_when_all_is_saved(world):
    async with world.tag().rows(directory=world.out) as rows:
        tables = [batch async for batch in rows.arrow_batches()]
    assert plain(row for batch in tables for row in batch.to_pylist()) == truth(world, parts=1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"type": int}, "cannot become int"),
        ({"on_error": "ignore"}, "on_error"),
        ({"encoding": "latin-1"}, "encoding"),
        ({"if_exists": "never"}, "if_exists"),
    ],
)
async def test_what_cannot_work_is_refused_before_any_request(world, options, told):
    type_ = options.pop("type", None)
    with pytest.raises(ConfigError, match=told):
        async with world.tag().rows(type_, directory=world.out, **options) as rows:
            [row async for row in rows]


async def test_rows_are_closed_behind_their_block(world):
    async with world.tag().rows(directory=world.out) as rows:
        await anext(rows)
    with pytest.raises((ConfigError, StopAsyncIteration)):
        await anext(rows)


@pytest.mark.parametrize("file_format", ["csv", "json"])
async def test_rows_of_growingio_cdp(tmp_path, file_format):
    async with cdp_world.open_cdp(tmp_path) as world:
        export = world.tag(file_format=file_format, properties=["usr_gender"])
        async with export.rows(tagferry.CDPRow, directory=world.out) as rows:
            found = [row async for row in rows]
    assert len({row.gio_id for row in found}) == len(found) == 60
    assert all("usr_gender" in row.properties for row in found)


async def test_a_cancellation_at_any_time_leaves_nothing_half_done(world):
    for number in range(12):
        tag = world.tag(f"cancel{number:02d}")
        world.order("cut@3000", "expired")

        async def read(tag=tag):
            async with tag.rows(directory=world.out) as rows:
                return [row async for row in rows]

        task = asyncio.create_task(read())
        await asyncio.sleep(number * 0.004)
        task.cancel()
        await asyncio.wait([task])
        check_directory(world)
        world.emulator.faults.clear()
        async with tag.rows(directory=world.out, if_exists="skip") as rows:
            assert plain([row async for row in rows]) == truth(world, tag.id, parts=1)


async def test_an_unfinished_file_that_somebody_removes_is_read_when_it_is_saved(world, monkeypatch):
    """As where locks do not hold, and unfinished files have other names."""
    real = Workplace.open.__func__

    def elsewhere(cls, export, directory, *, resume):
        place = real(cls, export, directory, resume=resume)
        place.close()
        monkeypatch.setattr("tagferry.exports.record.RecordFile.holds", lambda _: False)
        return real(cls, export, directory, resume=resume)

    monkeypatch.setattr(Workplace, "open", classmethod(elsewhere))
    async with world.tag().rows(directory=world.out) as rows:
        found = [row async for row in rows]
    assert plain(found) == truth(world, parts=1)
