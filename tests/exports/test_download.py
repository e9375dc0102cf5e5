"""From the links of a finished export to whole files, over real sockets, whatever breaks."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import replace

import pytest

from tagferry.errors import (
    IntegrityError,
    LinkExpiredError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.events import LinkRenewed, PartSaved, Progress, Resumed, TransferBroken
from tagferry.exports import download
from tests.exports.world import DOWNLOAD, FAST, POLL, TAG, TOKEN, check_directory, open_world

pytestmark = pytest.mark.anyio


async def test_a_file_comes_whole_with_one_request(world):
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert world.requests() == 1
    assert world.sent == files[0].size
    assert [event.size for event in world.of(PartSaved)] == [files[0].size]
    assert world.of(Progress)[-1].received == world.of(Progress)[-1].total == files[0].size


async def test_the_request_is_the_link_byte_for_byte_and_carries_no_credential(world):
    export = world.tag()
    ready = await export.wait()
    await export.download(world.out)
    (arrival,) = world.emulator.seen.of(DOWNLOAD)
    assert ready.links[0] == world.emulator.download_url + arrival.target
    assert "%2F" in arrival.target
    assert "%2B" in arrival.target
    assert "%3D" in arrival.target
    assert arrival.values("Accept-Encoding") == ["identity"]
    assert TOKEN not in str(arrival.headers)
    assert {name.lower() for name, _ in arrival.headers} == {"host", "accept-encoding"}


HEALED = [
    "cut@0",
    "cut@1",
    "cut@1000",
    "cut@1000 x6",
    "reset@0",
    "reset@1000",
    "reset@1000 x3",
    "bad-chunk@0",
    "bad-chunk@1000",
    "no-length",
    "no-length & cut@1000",
    "no-length & cut@1000 x3",
    "chunked",
    "chunked & cut@1000",
    "extra=7",
    "close",
    "close x3",
    "delay=0.01",
    "drip-head every=0.0005",
    "html",
    'body={"message":"busy"}',
    "status=500",
    "status=502 x2",
    "status=503 retry-after=0",
    "status=503 retry-after=-1",
    "status=429 retry-after=soon",
    "status=408",
    "cut-gzip@100",
    "etag=other",
    "etag=other & cut@1000",
    "weak-etag & cut@1000",
    "no-etag & cut@1000",
    "no-etag & cut@1000 x4",
    "redirect-loop x5",
    "expired",
    "header=x-amz-meta-md5-hash:0123456789abcdef0123456789abcdef",
    "header=Content-Length:abc",
    "header=Transfer-Encoding:chunked",
    "stall@1000 for=30",
    "stall@0 for=30",
    "drip@1000 bytes=1 every=0.01",
    "stall@1000 for=0.01",
    "drip@0 bytes=512 every=0.0005",
    "ignore-range",
]


@pytest.mark.parametrize("fault", HEALED)
async def test_one_broken_transfer_is_healed(tmp_path, fault):
    async with open_world(tmp_path, stall_timeout=0.15) as world:
        world.order(fault)
        files = await world.tag().download(world.out)
        world.check_whole(files=files)
        assert world.emulator.faults.all_used


SECOND = [
    "pass",
    "cut@10",
    "ignore-range",
    "ignore-range & cut@500",
    "wrong-range",
    "no-content-range",
    "multipart",
    "etag=other",
    "weak-etag",
    "no-etag",
    "etag=other & ignore-if-range",
    "no-etag & ignore-if-range",
    "weak-etag & ignore-if-range",
    "chunked",
    "chunked & cut@10",
    "no-length",
    "html",
    "status=416",
    "status=206",
    "status=500",
    "expired",
    "redirect-loop x2",
    "header=Content-Range:bytes",
    "header=Content-Range:bytes 1000-*/*",
    "header=Content-Length:17",
    "header=Content-Type:text/html",
]


@pytest.mark.parametrize("fault", SECOND)
async def test_what_answers_the_rest_of_a_broken_transfer_is_never_trusted(world, fault):
    world.order("cut@1000", fault)
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert world.emulator.faults.all_used


@pytest.mark.parametrize(
    "fault", ["other-content", "other-content & ignore-if-range", "other-content & ignore-if-range & no-etag"]
)
@pytest.mark.parametrize("times", ["", " x*"])
@pytest.mark.parametrize("cut", [1, 1000])
async def test_two_versions_of_a_file_are_never_spliced(world, fault, times, cut):
    world.order(f"cut@{cut}", fault + times)
    truth = [world.sources(version=version)[0].bytes() for version in (0, 1)]
    try:
        files = await world.tag().download(world.out)
    except IntegrityError:
        # A server that ignores If-Range for ever leaves nothing to trust.
        assert "ignore-if-range" in fault
        assert list(world.out.glob("*.csv")) == []
        return
    assert files[0].path.read_bytes() in truth
    assert files[0].size == files[0].path.stat().st_size


async def test_a_cut_at_any_byte_costs_no_byte_twice(tmp_path):
    async with open_world(tmp_path, replace(FAST, rows=4000)) as world:
        size = min(world.sources(f"cut{number:05d}", parts=1)[0].size for number in range(40))
        assert size > 65537
        places = [0, 1, 2, 65535, 65536, 65537, size - 1, *random.Random(7).sample(range(size), 30)]
        exports = [world.tag(f"cut{number:05d}") for number in range(len(places))]
        for export, place in zip(exports, places, strict=True):
            world.emulator.faults.add(f"{DOWNLOAD}:{export.id}", f"cut@{place}")
        for export in exports:
            (file,) = await export.download(world.out)
            body = world.source(export.id)
            assert file.path.read_bytes() == body
            assert file.sha256 == hashlib.sha256(body).hexdigest()
            arrivals = world.emulator.seen.of(DOWNLOAD, export.id)
            assert sum(arrival.sent for arrival in arrivals) == len(body)
            assert len(arrivals) == 2
        assert len(world.of(TransferBroken)) == len(places)


async def test_a_connection_that_breaks_again_and_again_gets_on_as_long_as_bytes_come(tmp_path):
    async with open_world(tmp_path, replace(FAST, rows=4000), retries=2) as world:
        world.order("cut@5000 x12")
        files = await world.tag().download(world.out)
        world.check_whole(files=files)
        assert len(world.of(TransferBroken)) == 12
        assert world.sent == files[0].size


async def test_a_connection_that_breaks_every_few_bytes_is_given_up(tmp_path):
    async with open_world(tmp_path, retries=2) as world:
        world.order("cut@100 x*")
        with pytest.raises(UnavailableError):
            await world.tag().download(world.out)
        assert world.requests() == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("close x*", UnavailableError),
        ("cut@0 x*", UnavailableError),
        ("reset@0 x*", UnavailableError),
        ("stall@0 for=30 x*", UnavailableError),
        ("no-length x*", IntegrityError),
        ("status=500 x*", UnavailableError),
        ("status=429 x*", ThrottledError),
        ("status=418 x*", RefusedError),
        ("status=304 x*", ProtocolError),
        ("status=204 x*", ProtocolError),
        ("html x*", ProtocolError),
        ("body=[] x*", ProtocolError),
        ("header=Content-Encoding:br", ProtocolError),
        ("header=x-amz-meta-md5-hash:0123456789abcdef0123456789abcdef", IntegrityError),
        ("cut-gzip@100 x*", IntegrityError),
        ("expired x*", LinkExpiredError),
        ("redirect-loop", ProtocolError),
        ("redirect=ftp://127.0.0.1/x", ProtocolError),
        ("redirect=http://user:pw@127.0.0.1/x", ProtocolError),
        ("redirect=http://2130706433/x", ProtocolError),
        ("redirect=http://[::1/x", ProtocolError),
        ("redirect=http://127.0.0.1:99999/x", ProtocolError),
    ],
)
async def test_what_never_heals_ends_with_its_error_and_leaves_no_file(tmp_path, fault, error):
    async with open_world(tmp_path, retries=2, stall_timeout=0.05) as world:
        endless = fault if fault.endswith("x*") or not fault.startswith("header") else fault + " x*"
        world.order(endless)
        with pytest.raises(error) as caught:
            await world.tag().download(world.out)
        assert isinstance(caught.value, TagferryError)
        assert "sign=" not in f"{caught.value!r} {caught.value}"
        assert list(world.out.glob("*.csv*")) == [] or all(
            path.name.endswith(".part") for path in world.out.glob("*.csv*")
        )
        assert world.requests() <= 8
        check_directory(world)
        # The same again, once the service is well, brings the whole file.
        world.emulator.faults.clear()
        world.check_whole(files=await world.tag().download(world.out))


async def test_bytes_of_a_wrong_md5_are_not_accepted_by_the_next_run_either(tmp_path):
    async with open_world(tmp_path, retries=1) as world:
        wrong = "header=x-amz-meta-md5-hash:0123456789abcdef0123456789abcdef x*"
        world.order(wrong)
        for _ in range(2):
            with pytest.raises(IntegrityError, match="MD5"):
                await world.tag().download(world.out)
        world.emulator.faults.clear()
        before = world.sent
        files = await world.tag().download(world.out)
        world.check_whole(files=files)
        assert world.sent - before == files[0].size, "the bytes of before were trusted"


async def test_the_md5_of_the_store_is_checked_after_a_resume(tmp_path):
    async with open_world(tmp_path, replace(FAST, md5_header=True)) as world:
        world.order("cut@1000")
        world.check_whole(files=await world.tag().download(world.out))
        assert world.requests() == 2


async def test_a_file_of_no_bytes_is_a_whole_file(world):
    world.order("body=")
    (file,) = await world.tag().download(world.out)
    world.check((file,), b"")
    file.path.unlink()


async def test_a_file_that_became_empty_is_told_as_empty(world):
    world.order("cut@1000", "body=")
    (file,) = await world.tag().download(world.out)
    world.check((file,), b"")
    file.path.unlink()


@pytest.mark.parametrize("fault", ["gzip", "gzip-file"])
async def test_a_gzip_body_stays_as_it_came_and_says_so_in_its_name(world, fault):
    world.order(f"{fault} x*")
    (file,) = await world.tag().download(world.out)
    assert file.path.name == world.name(ending=".csv.gz")
    body = file.path.read_bytes()
    assert gzip.decompress(body) == world.source()
    assert (file.size, file.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    file.path.unlink()


async def test_a_gzip_file_is_resumed_like_any_other(world):
    world.order("gzip-file & cut@1000", "gzip-file x*")
    (file,) = await world.tag().download(world.out)
    assert gzip.decompress(file.path.read_bytes()) == world.source()
    assert world.sent == file.size
    file.path.unlink()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_every_refusal_of_a_link_means_that_it_lapsed_and_is_waited_for(tmp_path, status):
    # The service keeps giving the refused link until its own time is over.
    async with open_world(tmp_path, replace(FAST, time_scale=0.003)) as world:
        world.order("cut@1000", f"status={status}")
        files = await world.tag(expire_minutes=1).download(world.out)
        world.check_whole(files=files)
        assert world.requests() == 3
        assert len({arrival.target for arrival in world.emulator.seen.of(DOWNLOAD)}) == 2
        assert world.sent == files[0].size


@pytest.mark.parametrize("at", [0, 1000])
async def test_a_cut_inside_a_chunk_is_healed(tmp_path, at):
    # The emulator's broken chunk holds bytes that are not of the file: only a hash of the whole can tell.
    async with open_world(tmp_path, replace(FAST, md5_header=True)) as world:
        world.order(f"cut-chunked@{at}")
        world.check_whole(files=await world.tag().download(world.out))
        assert world.of(TransferBroken)


# Links.


async def test_a_lapsed_link_is_renewed_once(world):
    world.order("expired")
    world.check_whole(files=await world.tag().download(world.out))
    assert len(world.of(LinkRenewed)) == 1
    assert world.requests() == 2


async def test_a_fresh_link_that_is_refused_too_ends_it(world):
    world.order("expired x*")
    with pytest.raises(LinkExpiredError, match="even a fresh link"):
        await world.tag().download(world.out)
    assert world.requests() == 2
    assert len(world.of(LinkRenewed)) == 1


async def test_a_link_that_lapses_in_mid_body_is_renewed_and_the_transfer_goes_on_at_the_same_byte(world):
    world.order("cut@1000", "expired")
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert world.sent == files[0].size
    ranges = [arrival.values("Range") for arrival in world.emulator.seen.of(DOWNLOAD)]
    assert ranges == [[], ["bytes=1000-"], ["bytes=1000-"]]
    assert len(world.of(LinkRenewed)) == 1


async def test_links_may_lapse_many_times_as_long_as_bytes_come(world):
    world.order(*["cut@1000", "expired"] * 5)
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert len(world.of(LinkRenewed)) == 5
    assert world.sent == files[0].size


async def test_the_same_dead_link_is_no_renewal(world):
    world.order("expired")
    world.order("pass x2", "same-dead-link x4", operation=POLL)
    world.check_whole(files=await world.tag().download(world.out))
    assert world.requests() == 2, "the dead link was followed again"
    assert len(world.emulator.seen.of(POLL)) == 7


async def test_a_service_that_starts_over_after_a_lapse_is_waited_for(tmp_path):
    async with open_world(tmp_path, replace(FAST, restart_lapsed=True)) as world:
        world.order("cut@1000", "expired")
        files = await world.tag().download(world.out)
        world.check_whole(files=files)
        assert world.sent == files[0].size


async def test_other_content_behind_a_fresh_link_starts_at_its_first_byte(world):
    world.order("cut@1000", "expired", "other-content x*")
    (file,) = await world.tag().download(world.out)
    world.check((file,), world.sources(version=1)[0].bytes())


@pytest.mark.parametrize(
    ("polls", "fails_at"),
    [
        (("links=2", "links=3"), 1),
        (("links=2", "links=3"), 2),
        (("links=3", "links=1"), 1),
        (("links=3", "links=2"), 2),
        (("links=1", "links=3"), 1),
    ],
)
async def test_fresh_links_of_another_number_begin_all_parts_anew(world, polls, fails_at):
    world.order("pass", *polls, operation=POLL)
    world.order(*["pass"] * (fails_at - 1), "expired")
    files = await world.tag().download(world.out)
    world.check(files, *(one.bytes() for one in world.sources(parts=int(polls[1][-1]))))


async def test_several_parts_come_in_order(tmp_path):
    async with open_world(tmp_path, replace(FAST, parts=3)) as world:
        files = await world.tag().download(world.out)
        world.check(files, *(one.bytes() for one in world.sources(parts=3)))
        assert [file.path.name[-10:] for file in files] == ["-00001.csv", "-00002.csv", "-00003.csv"]


async def test_parts_before_a_renewal_are_checked_against_the_fresh_links(tmp_path):
    async with open_world(tmp_path, replace(FAST, parts=3)) as world:
        world.order("pass", "cut@500", "expired")
        files = await world.tag().download(world.out)
        world.check(files, *(one.bytes() for one in world.sources(parts=3)))
        # The check of part 1 costs one reply without a body.
        assert world.sent == sum(file.size for file in files)
        assert [arrival.status for arrival in world.emulator.seen.of(DOWNLOAD)].count(416) == 1


async def test_a_renewal_that_brings_another_computation_never_mixes_parts_of_two(tmp_path):
    async with open_world(tmp_path, replace(FAST, parts=2)) as world:
        world.order("pass", "expired", "other-content x*")
        files = await world.tag().download(world.out)
        world.check(files, *(one.bytes() for one in world.sources(parts=2, version=1)))


async def test_a_part_without_a_validator_is_fetched_anew_after_a_renewal(tmp_path):
    async with open_world(tmp_path, replace(FAST, parts=2)) as world:
        world.order("no-etag", "expired", "no-etag x*")
        files = await world.tag().download(world.out)
        world.check(files, *(one.bytes() for one in world.sources(parts=2)))
        assert world.sent == files[0].size * 2 + files[1].size


async def test_an_audience_that_became_empty_while_a_link_lapsed_has_no_file(world):
    world.order("pass", "links=1", "no-links x3", operation=POLL)
    world.order("cut@1000", "expired")
    assert await world.tag().download(world.out) == ()
    assert list(world.out.iterdir()) == []


# Going on where an earlier run stopped.


async def leave_half(world, fault="cut@1000"):
    world.order(fault, "status=418")
    with pytest.raises(RefusedError):
        await world.tag().download(world.out)
    check_directory(world)
    names = sorted(path.name for path in world.out.iterdir())
    assert names == [world.name(ending=".csv.part"), f"growingio-tag-nxog09md-{TAG}.part.json"]
    return world.out / names[0], world.out / names[1]


async def test_the_next_run_goes_on_where_the_last_one_stopped(world):
    await leave_half(world)
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert world.sent == files[0].size
    assert [event.offset for event in world.of(Resumed)] == [1000]


async def test_the_record_is_private_and_holds_no_secret(world):
    _, record = await leave_half(world)
    assert record.stat().st_mode & 0o777 == 0o600
    text = record.read_bytes()
    for secret in (b"http", b"sign", b"expires", TOKEN.encode()):
        assert secret not in text


async def test_a_run_that_is_told_not_to_resume_starts_over(world):
    await leave_half(world)
    files = await world.tag().download(world.out, resume=False)
    world.check_whole(files=files)
    assert world.sent == files[0].size + 1000


@pytest.mark.parametrize(
    "damage", ["flip", "shorter", "longer", "gone", "record-torn", "record-gone", "record-empty"]
)
async def test_an_unfinished_file_that_is_not_what_the_record_says_starts_over(world, damage):
    part, record = await leave_half(world)
    body = bytearray(part.read_bytes())
    match damage:
        case "flip":
            body[500] ^= 1
            part.write_bytes(body)
        case "shorter":
            part.write_bytes(body[:999])
        case "longer":
            part.write_bytes(bytes(body) + b"garbage from a crash")
        case "gone":
            part.unlink()
        case "record-torn":
            record.write_bytes(record.read_bytes()[:40])
        case "record-gone":
            record.unlink()
        case "record-empty":
            record.write_bytes(b"")
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    # Bytes behind the ones that are known are what a crash leaves: those before are still good.
    assert world.sent == files[0].size + (0 if damage == "longer" else 1000)


async def test_what_another_request_left_is_not_taken_up(world):
    await leave_half(world)
    files = await world.tag(expire_minutes=30).download(world.out)
    world.check_whole(files=files)
    assert world.of(Resumed) == []


async def test_a_source_that_changed_between_two_runs_starts_over(world):
    await leave_half(world)
    world.order("other-content x*")
    (file,) = await world.tag().download(world.out)
    world.check((file,), world.sources(version=1)[0].bytes())


async def test_a_source_of_fewer_parts_leaves_nothing_of_the_old_ones(world):
    world.order("pass", "links=3", "links=1", operation=POLL)
    world.order("pass", "cut@100", "status=418")
    with pytest.raises(RefusedError):
        await world.tag().download(world.out)
    assert len(list(world.out.glob("*.part"))) == 2
    world.check_whole(files=await world.tag().download(world.out))


async def test_bytes_are_written_in_large_blocks_and_the_record_after_each(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(download, "BLOCK", 8192)
    async with open_world(tmp_path) as world:
        await leave_half(world, "cut@20000")
        files = await world.tag().download(world.out)
        world.check_whole(files=files)
        assert world.sent == files[0].size


async def test_a_record_that_cannot_be_read_leaves_no_file_that_nobody_owns(world):
    world.order("pass", "links=3", "links=1", operation=POLL)
    world.order("pass", "cut@100", "status=418")
    with pytest.raises(RefusedError):
        await world.tag().download(world.out)
    (record,) = world.out.glob("*.part.json")
    record.write_bytes(record.read_bytes()[:40])
    neighbour = world.out / world.name("other000", ".csv.part")
    neighbour.write_bytes(b"")
    files = await world.tag().download(world.out)
    assert neighbour.exists()
    neighbour.unlink()
    world.check_whole(files=files)
