import random
import re

import pytest

from tagferry.emulator import Emulator, Settings
from tests.emulator.raw import ask, download, links

pytestmark = pytest.mark.anyio


@pytest.fixture
async def emu():
    settings = Settings(job_seconds=0.0, quota_per_second=1000, rows=2500, md5_header=True)
    async with Emulator(settings) as emulator:
        yield emulator


@pytest.fixture
async def target(emu):
    return (await links(emu))[0]


@pytest.fixture
def source(emu):
    return emu.source("growingio-tag", "nxog09md", "5rREn4PL")


async def test_the_whole_file(emu, target, source):
    answer = await download(emu, target)
    assert (answer.status, answer.body) == (200, source.bytes())
    assert answer.headers["Content-Length"] == str(source.size)
    assert answer.headers["Content-Type"] == "text/csv;charset=utf-8"
    assert answer.headers["ETag"] == source.etag
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["x-amz-meta-md5-hash"] == source.md5
    assert "Last-Modified" in answer.headers


async def test_links_look_like_the_documented_ones(emu, target):
    assert re.fullmatch(
        r"/buckets/segment-download-jobs/\d{8}/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
        r"/20191212-20191225_%E6%B8%A0%E9%81%93%E8%AF%84%E4%BC%B0\.csv"
        r"\?sign=[0-9A-Za-z]*%2[BF][0-9A-Za-z%]*%3D&expires=\d{13}",
        target,
    )
    assert "%2F" in target
    assert "%2B" in target


async def test_ranges_are_slices(emu, target, source):
    whole, size = source.bytes(), source.size
    chance = random.Random(3)
    cases = [(0, 0), (0, size - 1), (size - 1, size - 1), (0, size + 99), (5, size - 1)]
    cases += [tuple(sorted(chance.randrange(size) for _ in "ab")) for _ in range(40)]
    for first, last in cases:
        answer = await download(emu, target, Range=f"bytes={first}-{last}")
        body = whole[first : last + 1]
        assert (answer.status, answer.body) == (206, body)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{size}"
        assert answer.headers["Content-Length"] == str(len(body))
    answer = await download(emu, target, Range="bytes=77-")
    assert (answer.status, answer.body) == (206, whole[77:])
    answer = await download(emu, target, Range="bytes=-77")
    assert (answer.status, answer.body) == (206, whole[-77:])
    answer = await download(emu, target, Range=f"bytes=-{size + 5}")
    assert (answer.status, answer.body) == (206, whole)


async def test_a_range_past_the_end(emu, target, source):
    for asked in (f"bytes={source.size}-", f"bytes={source.size + 10}-{source.size + 20}", "bytes=-0"):
        answer = await download(emu, target, Range=asked)
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{source.size}")


async def test_no_range_at_all(emu, target, source):
    for asked in ("bytes=0-1,5-6", "bytes=9-5", "lines=1-2", "bytes=-", "bytes=a-"):
        answer = await download(emu, target, Range=asked)
        assert (answer.status, answer.body) == (200, source.bytes())


async def test_if_range(emu, target, source):
    for validator, status in ((source.etag, 206), ('"other"', 200), (f"W/{source.etag}", 200)):
        answer = await download(emu, target, Range="bytes=5-", If_Range=validator)
        assert answer.status == status
    answer = await download(emu, target, Range="bytes=5-", If_Range=answer.headers["Last-Modified"])
    assert (answer.status, answer.body) == (200, source.bytes())


@pytest.mark.parametrize(
    ("old", "new"), [("%2F", "/"), ("%2F", "%2f"), ("%2B", "+"), ("%3D", "="), ("&exp", "&a=1&exp")]
)
async def test_a_signature_that_is_not_byte_identical(emu, target, old, new):
    answer = await download(emu, target.replace(old, new))
    assert (answer.status, b"SignatureDoesNotMatch" in answer.body) == (403, True)
    assert emu.seen.violations == ["a link was not sent byte for byte"]
    assert emu.seen.of("growingio-saas.download")[-1].target == target.replace(old, new)


async def test_another_spelling_of_the_path_is_found_out(emu, target):
    answer = await download(emu, target.replace("%E6%B8%A0", "%e6%b8%a0"))
    assert (answer.status, len(emu.seen.violations)) == (403, 1)


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X_Client_Id", "authorization"])
async def test_credentials_are_not_for_this_host(emu, target, name):
    answer = await download(emu, target, **{name: "secret-value"})
    assert answer.status == 400
    assert len(emu.seen.violations) == 1
    assert "sent to the download host" in emu.seen.violations[0]
    assert "secret-value" not in emu.seen.violations[0]


async def test_unknown_links_and_other_methods(emu, target):
    assert (await download(emu, "/buckets/none.csv?sign=x")).status == 404
    assert [seen.operation for seen in emu.seen][-1] == "unknown"
    assert (await ask(emu.download_url, target, method="POST")).status == 405
    head = await ask(emu.download_url, target, method="HEAD")
    assert (head.status, head.body) == (405, b"")


async def test_no_file_of_ours_is_empty_of_bytes(emu):
    emu.settings.rows_by_export["5rREn4P0"] = 0
    (target,) = await links(emu, "/v3/exporter/projects/nxog09md/tags/5rREn4P0/users")
    assert (await download(emu, target)).body == b"user_id,tag_value\n"


async def test_old_links_are_forgotten_at_last(emu, target, monkeypatch):
    monkeypatch.setattr("tagferry.emulator.object_store.LINKS_KEPT", 2)
    for _ in range(3):
        emu.expire_links()
        await links(emu)
    assert (await download(emu, target)).status == 404
