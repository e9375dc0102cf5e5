"""From the links of a finished export to whole files, over real sockets, whatever breaks."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import replace

import pytest

from tagferry.errors import (
    AuthError,
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
from tests.exports import cdp_world
from tests.exports.cdp_world import open_cdp
from tests.exports.world import DOWNLOAD, FAST, POLL, TAG, TOKEN, check_directory, open_world
from tests.wire.raw import always, reply, serve

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
    with pytest.raises(LinkExpiredError, match="even a fresh link") as caught:
        await world.tag().download(world.out)
    assert caught.value.retryable
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


# Files of GrowingIO CDP: their links never change, and lie at the API's own origin or at another one.

AWKWARD = "tag_awkward"
"""Its name, and so its file's, has Chinese, `&`, `+`, `#`, quotes, `/..`, and an escape that is none."""


@pytest.fixture
async def cdp(tmp_path):
    async with open_cdp(tmp_path) as world:
        yield world


def of_cdp(world):
    return world.emulator.seen.of(cdp_world.DOWNLOAD)


@pytest.mark.parametrize("uris", ["encoded", "plus", "half", "raw"])
@pytest.mark.parametrize("key", ["tag_encrypted", AWKWARD])
async def test_a_uri_is_sent_as_it_was_given_or_encoded_once(tmp_path, uris, key):
    async with open_cdp(tmp_path, cdp_world.fast(uris=uris)) as world:
        world.check_tag(await world.tag(key).download(world.out), key)
        # What was not byte for byte, or encoded twice, is a violation, and there is none.
        assert [arrival.status for arrival in of_cdp(world)] == [200]


@pytest.mark.parametrize("file_format", ["csv", "json"])
async def test_the_formats_of_the_cdp_and_its_files_in_parts(tmp_path, file_format):
    async with open_cdp(tmp_path, replace(cdp_world.FAST, parts=3)) as world:
        keys = ["id_$basic_userId", "usr_gender"]
        files = await world.tag(properties=keys, file_format=file_format).download(world.out)
        options = ["fileFormat=json"] if file_format == "json" else []
        sources = world.emulator.sources("growingio-cdp-tag", "", cdp_world.TAG, (*keys, *options), parts=3)
        world.check(files, *(source.bytes() for source in sources))
        ending = {"csv": ".csv", "json": ".jsonl"}[file_format]
        stem = "growingio-cdp-tag-tag_rfm"
        assert [file.path.name for file in files] == [f"{stem}-{n:05d}{ending}" for n in (1, 2, 3)]


@pytest.mark.parametrize("locked", [True, False])
async def test_the_own_origin_of_the_api_gets_the_token(tmp_path, locked):
    async with open_cdp(tmp_path, cdp_world.fast(download_token=locked)) as world:
        world.check_tag(await world.tag().download(world.out))
        (arrival,) = of_cdp(world)
        assert arrival.values("Authorization") == [f"Bearer {cdp_world.TOKEN}"]
        names = {name.lower() for name, _ in arrival.headers}
        assert names == {"host", "accept-encoding", "authorization"}


async def test_another_origin_gets_the_token_only_when_it_is_named(tmp_path):
    # Two names of one machine are two origins: what is at the second one is not asked for the token.
    settings = cdp_world.fast(download_token=True)
    async with open_cdp(tmp_path, settings) as world:
        other = world.client_of(download_url=world.emulator.download_url)
        async with other as client:
            files = await client.tag_users(cdp_world.TAG).download(world.out)
        world.check_tag(files)
        (arrival,) = of_cdp(world)
        assert arrival.values("Authorization") == [f"Bearer {cdp_world.TOKEN}"]
        assert arrival.values("Host") == [world.emulator.download_url.removeprefix("http://")]


async def test_a_link_to_another_origin_gets_no_token(cdp):
    async with serve(always(reply(b'"gio_id"\n1\n'))) as store:
        cdp.order(
            f'body={{"stage":"FINISH","uris":["{store.url}/a%2Fb.csv?x=%2F"]}}', operation=cdp_world.POLL
        )
        (file,) = await cdp.tag().download(cdp.out)
        assert file.path.read_bytes() == b'"gio_id"\n1\n'
        assert store.lines == [b"GET /a%2Fb.csv?x=%2F HTTP/1.1"]
        assert {name.lower() for name in store.headers()} == {"host", "accept-encoding"}


async def test_a_redirect_takes_the_token_to_no_other_host(cdp):
    async with serve(always(reply(b'"gio_id"\n1\n'))) as store:
        cdp.order(f"redirect={store.url}/elsewhere", operation=cdp_world.DOWNLOAD)
        (file,) = await cdp.tag().download(cdp.out)
        assert file.path.read_bytes() == b'"gio_id"\n1\n'
        assert {name.lower() for name in store.headers()} == {"host", "accept-encoding"}
        assert of_cdp(cdp)[0].values("Authorization")


async def test_a_redirect_that_leads_back_gets_the_token_again(tmp_path):
    """The headers of each hop are its own; none is carried on."""
    async with open_cdp(tmp_path, cdp_world.fast(download_token=True)) as world:

        async def act(writer, number):
            target = of_cdp(world)[0].target
            back = f"Location: {world.emulator.base_url}{target}\r\n"
            writer.write(reply(b"", "302 Found", back))

        async with serve(act) as between:
            world.order(f"redirect={between.url}/x", operation=cdp_world.DOWNLOAD)
            world.check_tag(await world.tag().download(world.out))
            assert "Authorization" not in between.headers()
        assert [bool(one.values("Authorization")) for one in of_cdp(world)] == [True, True]


@pytest.mark.parametrize("file_format", ["csv", "json"])
@pytest.mark.parametrize(
    "fault",
    [
        'body={"message":"Internal Server Error","errors":[]}',
        'body={"status":500,"error":"Internal Server Error"}',
        'body={"timestamp":"2022-01-01T00:00:00Z","status":500}',
        "html",
        "html & header=Content-Type:text/csv",
    ],
)
async def test_an_error_page_with_status_200_is_never_a_file(cdp, file_format, fault):
    cdp.order(fault, operation=cdp_world.DOWNLOAD)
    files = await cdp.tag(file_format=file_format).download(cdp.out)
    cdp.check(files, cdp.source(cdp_world.TAG, *(["fileFormat=json"] if file_format == "json" else [])))
    assert len(cdp.of(TransferBroken)) == 1
    cdp.order(*[fault] * 9, operation=cdp_world.DOWNLOAD)
    with pytest.raises((ProtocolError, IntegrityError), match="page"):
        await cdp.tag("tag_example_api", file_format=file_format).download(cdp.out)
    assert not list(cdp.out.glob("*example*.csv"))
    assert not list(cdp.out.glob("*example*.jsonl"))
    # It may be there later: the job stays.
    assert cdp.submission("tag_example_api").job_id == cdp.jobs("tag_example_api")[0]


@pytest.mark.parametrize("file_format", ["csv", "json"])
@pytest.mark.parametrize("kind", ["text/csv", "application/octet-stream", "text/plain"])
async def test_an_error_that_calls_itself_a_file_is_none(cdp, file_format, kind):
    answers = [b'{"error":"no such file"}', b'{"message":"x","errors":[]}', b'"gio_id"\n1\n']

    async def act(writer, number):
        writer.write(reply(answers.pop(0), headers=f"Content-Type: {kind}\r\n"))

    async with serve(act) as store:
        cdp.order(f'body={{"stage":"FINISH","uris":["{store.url}/a"]}}', operation=cdp_world.POLL)
        (file,) = await cdp.tag(file_format=file_format).download(cdp.out)
        assert file.path.read_bytes() == b'"gio_id"\n1\n'
        assert [event.error.code for event in cdp.of(TransferBroken)] == ["page", "page"]


async def test_json_lines_come_as_what_else_would_be_an_error_page(cdp):
    (file,) = await cdp.tag(file_format="json", properties=["usr_gender"]).download(cdp.out)
    assert file.path.name.endswith(".jsonl")
    assert file.path.read_bytes().startswith(b'{"gio_id"')
    assert len(of_cdp(cdp)) == 1


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("before", [(), ("cut@300",)])
async def test_files_that_are_gone_end_it_after_one_more_question_and_the_job_is_forgotten(
    cdp, status, before
):
    cdp.order(*before, f"status={status} x2", operation=cdp_world.DOWNLOAD)
    with pytest.raises(LinkExpiredError) as caught:
        await cdp.tag().download(cdp.out)
    assert caught.value.code == status
    assert "run the same again to make another one" in caught.value.hint
    assert caught.value.retryable
    assert cdp.requests(cdp_world.POLL) == 2
    assert cdp.requests(cdp_world.DOWNLOAD) == len(before) + 2
    assert cdp.submission() is None
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert len(cdp.jobs()) == 2


async def test_files_of_a_job_that_was_attached_to_and_is_gone(cdp):
    job = await cdp.tag().submit()
    cdp.order("status=404 x2", operation=cdp_world.DOWNLOAD)
    async with cdp.client_of() as client:
        tag = client.tag_users(cdp_world.TAG)
        with pytest.raises(LinkExpiredError, match="without --job") as caught:
            await client.attach(job.id, tag).download(cdp.out)
        assert not caught.value.retryable
        cdp.check_tag(await tag.download(cdp.out))
    assert len(cdp.jobs()) == 2


async def test_a_file_that_is_back_after_one_more_question_is_taken(cdp):
    cdp.order("cut@300", "status=404", operation=cdp_world.DOWNLOAD)
    files = await cdp.tag().download(cdp.out)
    cdp.check_tag(files)
    assert [one.values("Range") for one in of_cdp(cdp)] == [[], ["bytes=300-"], ["bytes=300-"]]
    assert len(cdp.jobs()) == 1


@pytest.mark.parametrize(("status", "error"), [(400, RefusedError), (401, AuthError), (403, AuthError)])
async def test_other_refusals_of_a_file_are_no_lapse_and_keep_the_job(cdp, status, error):
    cdp.order(f"status={status}", operation=cdp_world.DOWNLOAD)
    with pytest.raises(error) as caught:
        await cdp.tag().download(cdp.out)
    assert caught.value.code == status
    assert status == 400 or "token" in caught.value.hint
    assert cdp.submission().job_id == cdp.jobs()[0]
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert cdp.requests(cdp_world.SUBMIT) == 1


@pytest.mark.parametrize("fault", ["cut@300", "reset@300", "stall@300"])
async def test_a_file_goes_on_at_its_byte_within_a_run(tmp_path, fault):
    async with open_cdp(tmp_path, stall_timeout=0.2) as world:
        world.order(fault, operation=cdp_world.DOWNLOAD)
        world.check_tag(await world.tag().download(world.out))
        first, second = of_cdp(world)
        assert first.values("Range") == []
        # A reset may take with it what was on its way.
        (asked,) = second.values("Range") or ["bytes=0-"]
        assert asked == "bytes=300-" or fault == "reset@300"
        assert second.values("Authorization")


async def test_a_file_goes_on_at_its_byte_in_the_next_run_and_from_the_same_job(tmp_path):
    async with open_cdp(tmp_path) as world:
        world.order("cut@300", "status=405", operation=cdp_world.DOWNLOAD)
        with pytest.raises(RefusedError):
            await world.tag().download(world.out)
        job = world.submission().job_id
        # Another process has another client.
        async with world.client_of() as client:
            files = await client.tag_users(cdp_world.TAG).download(world.out)
        world.check_tag(files)
        assert of_cdp(world)[-1].values("Range") == ["bytes=300-"]
        assert world.jobs() == [job]


async def test_what_is_left_of_one_job_is_no_part_of_the_files_of_another(tmp_path):
    async with open_cdp(tmp_path) as world:
        world.order("cut@300", "status=405", operation=cdp_world.DOWNLOAD)
        with pytest.raises(RefusedError):
            await world.tag().download(world.out)
        async with world.client_of() as client:
            other = await client.tag_users(cdp_world.TAG).submit()
            world.order("other-content x*", operation=cdp_world.DOWNLOAD)
            files = await client.attach(other.id, client.tag_users(cdp_world.TAG)).download(world.out)
        (later,) = world.emulator.sources("growingio-cdp-tag", "", cdp_world.TAG, version=1)
        world.check(files, later.bytes())


async def test_an_empty_job_leaves_nothing_of_the_one_before(cdp):
    cdp.order("cut@300", "status=405", operation=cdp_world.DOWNLOAD)
    with pytest.raises(RefusedError):
        await cdp.tag().download(cdp.out)
    async with cdp.client_of() as client:
        tag = client.tag_users(cdp_world.TAG)
        job = await tag.submit()
        cdp.order("no-links x3", operation=cdp_world.POLL)
        assert await client.attach(job.id, tag).download(cdp.out) == ()
    assert list(cdp.out.iterdir()) == []


async def test_a_token_that_ends_before_the_file_is_there_is_renewed(tmp_path):
    tokens = ["CANARY-one", "CANARY-two"]
    asked = []

    async def provide():
        asked.append(tokens[min(len(asked), 1)])
        return asked[-1]

    settings = replace(cdp_world.fast(download_token=True), token="CANARY-one", other_tokens=("CANARY-two",))
    async with open_cdp(tmp_path, settings, token=provide) as world:
        world.order("cut@300", "status=401", operation=cdp_world.DOWNLOAD)
        world.check_tag(await world.tag().download(world.out))
        sent = [one.values("Authorization") for one in of_cdp(world)]
        assert sent == [["Bearer CANARY-one"], ["Bearer CANARY-one"], ["Bearer CANARY-two"]]
        assert asked == tokens
        # A new one that is refused as well is no reason to ask on and on.
        world.order("status=401 x2", operation=cdp_world.DOWNLOAD)
        with pytest.raises(AuthError) as caught:
            await world.tag("tag_example_api").download(world.out)
        assert caught.value.code == 401
        assert len(asked) == 3


async def test_a_file_host_that_refuses_and_was_shown_no_token_costs_no_new_token(tmp_path):
    asked = []

    async def provide():
        asked.append(cdp_world.TOKEN)
        return cdp_world.TOKEN

    async with (
        open_cdp(tmp_path, token=provide) as world,
        serve(always(reply(b"", "401 Unauthorized"))) as store,
    ):
        world.order(f'body={{"stage":"FINISH","uris":["{store.url}/a"]}}', operation=cdp_world.POLL)
        with pytest.raises(AuthError) as caught:
            await world.tag().download(world.out)
        assert "download_url" in caught.value.hint
        assert len(store.heads) == len(asked) == 1
