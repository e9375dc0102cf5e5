"""Each fault, as it looks on the wire."""

import asyncio
import gzip
import json
import time
import zlib

import pytest

from tagferry.emulator import Emulator, Settings
from tests.emulator.raw import TAG, ask, download, exchange, links, poll, request, unchunk

pytestmark = pytest.mark.anyio
POLL, DOWNLOAD = "growingio-saas.poll", "growingio-saas.download"


@pytest.fixture
async def emu():
    async with Emulator(Settings(job_seconds=1e-6, quota_per_second=1000, rows=3000)) as emulator:
        yield emulator
    assert emulator.faults.all_used


@pytest.fixture
def source(emu):
    return emu.source("growingio-tag", "nxog09md", "5rREn4PL")


async def spoilt(emu, fault, timeout=10.0, **headers):
    (target,) = await links(emu)
    emu.faults.add(DOWNLOAD, fault)
    return await download(emu, target, timeout, **headers)


async def test_status(emu):
    emu.faults.add(POLL, "status=503 x2")
    emu.faults.add(POLL, "status=429 retry-after=2")
    emu.faults.add(POLL, "status=500")
    emu.faults.add(POLL, "status=204")
    emu.faults.add(POLL, "status=520")
    answers = [await poll(emu) for _ in range(7)]
    assert [answer.status for answer in answers] == [503, 503, 429, 500, 204, 520, 200]
    assert answers[0].body == b'{"message":"Service Unavailable","errors":[]}'
    assert "Retry-After" not in answers[1].headers
    assert answers[2].headers["Retry-After"] == "2"
    documented = {"code": "request_timeout", "message": "Request timeout in 5000 milliseconds"}
    assert answers[3].json() == {"message": "Request timeout", "errors": [documented]}
    assert "Content-Length" not in answers[4].headers
    assert answers[6].json()["status"] == "doing"


@pytest.mark.parametrize("operation", [POLL, DOWNLOAD])
async def test_html(emu, operation):
    (target,) = await links(emu)
    emu.faults.add(operation, "html")
    answer = await (poll(emu) if operation == POLL else download(emu, target))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html;charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")


async def test_body(emu):
    emu.faults.add(POLL, 'body={"status": "done" & cut@3')
    emu.faults.add(POLL, "body=渠道")
    first, second = await poll(emu), await poll(emu)
    assert (first.body, first.headers["Content-Type"]) == (
        b'{"status": "done" & cut@3',
        "application/json;charset=utf-8",
    )
    assert (second.body.decode(), second.headers["Content-Type"]) == ("渠道", "text/plain;charset=utf-8")


async def test_header(emu):
    answer = await spoilt(emu, "header=Content-Type: text/html")
    assert answer.headers["Content-Type"] == "text/html"
    answer = await spoilt(emu, "header=Content-Length: 999999999")
    assert answer.headers["Content-Length"] == "999999999"
    answer = await spoilt(emu, "header=Date: Thu, 01 Jan 1970 00:00:00 GMT")
    assert answer.headers["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_redirects(emu):
    answer = await spoilt(emu, "redirect=http://127.0.0.1:1/x?y=%2F")
    assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/x?y=%2F")
    emu.faults.add(POLL, "redirect-loop")
    for _ in range(20):
        answer = await poll(emu)
        assert (answer.status, answer.headers["Location"]) == (302, TAG)


async def test_close(emu):
    emu.faults.add(POLL, "close")
    answer = await poll(emu)
    assert (answer.status, answer.end) == (0, "fin")
    assert [seen.status for seen in emu.seen.of(POLL)] == [0]


async def test_pass_then_delay(emu):
    emu.faults.add(POLL, "pass")
    emu.faults.add(POLL, "delay=0.2")
    begun = time.monotonic()
    assert (await poll(emu)).status == 200
    between = time.monotonic()
    assert (await poll(emu)).status == 200
    assert between - begun < 0.2 <= time.monotonic() - between


async def test_drip_head(emu):
    emu.faults.add(POLL, "drip-head every=0.001")
    begun = time.monotonic()
    assert (await poll(emu)).json()["status"] == "doing"
    assert time.monotonic() - begun > 0.1


@pytest.mark.parametrize("at", [0, 1, 65535, 65536, 65537, 70000])
async def test_cut_declares_all_and_ends_early(emu, source, at):
    answer = await spoilt(emu, f"cut@{at}")
    assert answer.end == "fin"
    assert answer.headers["Content-Length"] == str(source.size)
    assert answer.body == source.bytes()[:at]
    assert emu.seen.of(DOWNLOAD)[-1].sent == at


async def test_cut_counts_from_the_start_of_the_answer(emu, source):
    answer = await spoilt(emu, "cut@10", Range="bytes=100-")
    assert answer.body == source.bytes()[100:110]


async def test_cut_past_the_end_cuts_nothing(emu, source):
    answer = await spoilt(emu, "cut@99999999")
    assert answer.body == source.bytes()


@pytest.mark.parametrize("at", [0, 1, 65536])
async def test_reset(emu, source, at):
    answer = await spoilt(emu, f"reset@{at}")
    assert answer.end == "rst"
    assert answer.headers["Content-Length"] == str(source.size)
    assert answer.body == source.bytes()[:at]


async def test_stall(emu, source):
    answer = await spoilt(emu, "stall@1000", timeout=0.3)
    assert (answer.end, answer.body) == ("timeout", source.bytes()[:1000])
    answer = await spoilt(emu, "stall@1000 for=0.2")
    assert answer.body == source.bytes()


async def test_drip(emu, source):
    answer = await spoilt(emu, "drip@1000 bytes=3 every=0.1", timeout=0.45)
    assert answer.end == "timeout"
    assert answer.body in {source.bytes()[: 1000 + 3 * n] for n in (3, 4, 5)}


async def test_extra(emu, source):
    answer = await spoilt(emu, "extra=7")
    assert answer.headers["Content-Length"] == str(source.size)
    assert answer.body == source.bytes() + b"\n" * 7


async def test_no_length(emu, source):
    (target,) = await links(emu)
    emu.faults.add(DOWNLOAD, "no-length")
    emu.faults.add(DOWNLOAD, "no-length & cut@500")
    raw, end = await exchange(emu.download_url, request(target, close=False))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert (body, end) == (source.bytes(), "fin")
    assert (await download(emu, target)).body == source.bytes()[:500]


async def test_chunked(emu, source):
    answer = await spoilt(emu, "chunked")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert unchunk(answer.body) == (source.bytes(), True)


async def test_chunked_without_a_terminator(emu, source):
    answer = await spoilt(emu, "chunked & cut@500")
    assert unchunk(answer.body) == (source.bytes()[:500], False)


async def test_cut_inside_a_chunk(emu, source):
    answer = await spoilt(emu, "cut-chunked@500")
    assert unchunk(answer.body) == (source.bytes()[:500], False)
    assert answer.end == "fin"


async def test_bad_chunk(emu, source):
    answer = await spoilt(emu, "bad-chunk@500")
    assert unchunk(answer.body) == (source.bytes()[:500], False)
    assert answer.body.endswith(b"\r\nzz\r\n")


async def test_gzip_although_identity_was_asked_for(emu, source):
    answer = await spoilt(emu, "gzip", Accept_Encoding="identity", Range="bytes=5-")
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert gzip.decompress(answer.body) == source.bytes()


async def test_cut_gzip_under_an_honest_length(emu, source):
    answer = await spoilt(emu, "cut-gzip@2000")
    assert (answer.headers["Content-Length"], len(answer.body)) == ("2000", 2000)
    inflater = zlib.decompressobj(31)
    assert source.bytes().startswith(inflater.decompress(answer.body))
    assert not inflater.eof


async def test_gzip_refuses_what_it_would_have_to_hold():
    settings = Settings(job_seconds=0.0, quota_per_second=1000, rows=20_000_000)
    async with Emulator(settings) as emu:
        answer = await spoilt(emu, "gzip")
        assert answer.status == 500
        assert b"gzip faults are for bodies up to" in answer.body


async def test_failed(emu):
    emu.faults.add(POLL, "failed=下载出错，请您稍后重试")
    answer = await poll(emu)
    assert answer.status == 200
    body = answer.json()
    assert list(body) == ["id", "status", "downloadLinks", "errorMsg"]
    assert (body["status"], body["downloadLinks"], body["errorMsg"]) == (
        "failed",
        [],
        "下载出错，请您稍后重试",
    )


async def test_status_word(emu):
    emu.faults.add(POLL, "status-word=DATA_READY")
    assert (await poll(emu)).json()["status"] == "DATA_READY"
    assert (await poll(emu)).json()["status"] == "doing"


async def test_no_links(emu):
    emu.faults.add(POLL, "no-links x2")
    emu.faults.add(POLL, "links=0")
    for _ in range(3):
        body = (await poll(emu)).json()
        assert (body["status"], body["downloadLinks"]) == ("done", [])


async def test_links(emu):
    emu.faults.add(POLL, "links=3")
    targets = await links(emu)
    answers = [await download(emu, target) for target in targets]
    files = emu.sources("growingio-tag", "nxog09md", "5rREn4PL", parts=3)
    assert [answer.body for answer in answers] == [file.bytes() for file in files]
    assert await links(emu) == targets


async def test_same_dead_link(emu):
    emu.faults.add(POLL, "same-dead-link")
    (dead,) = await links(emu)
    assert (await download(emu, dead)).status == 403
    (live,) = await links(emu)
    assert live != dead
    emu.expire_links()
    emu.faults.add(POLL, "same-dead-link x2")
    assert await links(emu) == await links(emu) == [live]
    assert (await download(emu, live)).status == 403
    (fresh,) = await links(emu)
    assert (await download(emu, fresh)).status == 200


async def test_expired_lets_the_link_lapse(emu):
    answer = await spoilt(emu, "expired")
    assert (answer.status, answer.headers["Content-Type"]) == (403, "application/xml")
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in answer.body
    dead = emu.seen.of(DOWNLOAD)[-1].target
    assert (await download(emu, dead)).status == 403
    assert await links(emu) != [dead]


async def test_ignore_range(emu, source):
    answer = await spoilt(emu, "ignore-range", Range="bytes=100-")
    assert (answer.status, answer.body) == (200, source.bytes())
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(("asked", "start"), [("bytes=100-", 99), ("bytes=0-", 1)])
async def test_wrong_range(emu, source, asked, start):
    answer = await spoilt(emu, "wrong-range", Range=asked)
    assert (answer.status, answer.body) == (206, source.bytes()[start:])
    assert answer.headers["Content-Range"] == f"bytes {start}-{source.size - 1}/{source.size}"


async def test_no_content_range(emu, source):
    answer = await spoilt(emu, "no-content-range", Range="bytes=100-")
    assert (answer.status, answer.body) == (206, source.bytes()[100:])
    assert "Content-Range" not in answer.headers


async def test_multipart(emu, source):
    answer = await spoilt(emu, "multipart", Range="bytes=100-299")
    kind, boundary = answer.headers["Content-Type"].split("; boundary=")
    assert (answer.status, kind) == (206, "multipart/byteranges")
    assert "Content-Range" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(answer.body))
    first, part, last = answer.body.split(f"--{boundary}".encode())
    head, body = part.split(b"\r\n\r\n", 1)
    assert (first, body, last) == (b"", source.bytes()[100:300] + b"\r\n", b"--\r\n")
    assert f"Content-Range: bytes 100-299/{source.size}".encode() in head


@pytest.mark.parametrize(
    ("fault", "etag"), [("etag=changed", '"changed"'), ("weak-etag", "W/{}"), ("no-etag", None)]
)
async def test_validators(emu, source, fault, etag):
    answer = await spoilt(emu, fault, Range="bytes=5-", If_Range=source.etag)
    assert (answer.status, answer.body) == (200, source.bytes())
    assert answer.headers.get("ETag") == (etag and etag.format(source.etag))


async def test_a_weak_validator_never_matches(emu, source):
    answer = await spoilt(emu, "weak-etag", Range="bytes=5-", If_Range=f"W/{source.etag}")
    assert answer.status == 200


async def test_other_content(emu, source):
    (other,) = emu.sources("growingio-tag", "nxog09md", "5rREn4PL", version=1)
    answer = await spoilt(emu, "other-content", Range="bytes=5-", If_Range=source.etag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, other.bytes(), other.etag)
    assert other.bytes() != source.bytes()
    assert other.size != source.size
    assert other.etag != source.etag
    answer = await spoilt(emu, "other-content & ignore-if-range", Range="bytes=5-", If_Range=source.etag)
    assert (answer.status, answer.body) == (206, other.bytes()[5:])


async def test_gzip_file(emu, source):
    answer = await spoilt(emu, "gzip-file x2")
    assert "Content-Encoding" not in answer.headers
    assert (answer.headers["Content-Type"], gzip.decompress(answer.body)) == (
        "application/gzip",
        source.bytes(),
    )
    target = emu.seen.of(DOWNLOAD)[-1].target
    tail = await download(emu, target, Range="bytes=9-", If_Range=answer.headers["ETag"])
    assert (tail.status, tail.body) == (206, answer.body[9:])


async def test_faults_of_one_export_only(emu):
    emu.faults.add(f"{POLL}:5rREn4PL", "status=503")
    assert (await poll(emu, TAG.replace("5rREn4PL", "5rREn4PM"))).status == 200
    assert (await poll(emu)).status == 503


async def test_a_refused_request_uses_no_fault(emu):
    emu.faults.add(POLL, "status=503")
    assert (await poll(emu, token="other")).status == 401
    assert (await poll(emu)).status == 503


async def test_json_of_the_answer_is_compact(emu):
    body = (await poll(emu)).body
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert (await ask(emu.base_url, "/nothing")).json() == {"message": "Not Found", "errors": []}
    await asyncio.sleep(0)
