import ast
import asyncio
import contextlib
import gc
import json
import pathlib
import socket
import threading
import urllib.request

import aiohttp
import pytest
import yarl

import tagferry
import tagferry.emulator
from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Emulator,
    Settings,
    TencentSettings,
    serve_in_thread,
)
from tagferry.emulator.pytest_plugin import tagferry_emulator  # noqa: F401
from tests.emulator.raw import TAG, ask, download, exchange, links, poll, read, request

FAST = Settings(job_seconds=0.0, quota_per_second=1000)


def fetch(url, token=None, data=None, method=None):
    headers = {"Authorization": token} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        return answer.status, answer.read()


def test_nothing_of_ours_is_imported():
    folder = pathlib.Path(tagferry.emulator.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("tagferry") and "emulator" not in name]


def test_in_a_thread():
    before = threading.active_count()
    with serve_in_thread(FAST) as emu:
        answers = [json.loads(fetch(emu.base_url + TAG, emu.token)[1]) for _ in range(2)]
        _, body = fetch(answers[1]["downloadLinks"][0])
        assert body == emu.source("growingio-tag", "nxog09md", "5rREn4PL").bytes()
        emu.faults.add("growingio-saas.poll", "status=503")
        with pytest.raises(urllib.request.HTTPError) as caught:
            fetch(emu.base_url + TAG, emu.token)
        caught.value.close()
        assert len(emu.seen) == 4
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        fetch(emu.base_url + TAG)


def test_the_fixture(tagferry_emulator):  # noqa: F811
    status, body = fetch(tagferry_emulator.base_url + TAG, tagferry_emulator.token)
    assert (status, json.loads(body)["status"]) == (200, "done")


def test_a_test_with_the_fixture_waits_for_nothing(tagferry_emulator, tmp_path):  # noqa: F811
    """A client pauses for a second or more before it asks again: here it has no need to."""
    url, token = tagferry_emulator.base_url, tagferry_emulator.token

    async def bring():
        async with tagferry.GrowingIO(token=token, base_url=url) as gio:
            await gio.tag_users("nxog09md", "5rREn4PL").download(tmp_path)
        async with tagferry.GrowingIOCDP(token=token, base_url=url) as cdp:
            await cdp.tag_users("tag_rfm").download(tmp_path)

    asyncio.run(bring())
    counts = tagferry_emulator.seen.counts
    assert (counts["growingio-saas.poll"], counts["growingio-cdp.poll"]) == (1, 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_environment_leads_here():
    with serve_in_thread(FAST) as emu:
        environment = emu.environment
    assert {environment.pop(f"TAGFERRY_{name}_BASE_URL") for name in ("GROWINGIO", "CDP", "TENCENT")} == {
        emu.base_url
    }
    assert environment == {
        "TAGFERRY_GROWINGIO_TOKEN": emu.token,
        "TAGFERRY_CDP_TOKEN": emu.token,
        "TAGFERRY_TENCENT_SDKAPPID": str(DEMO_SDKAPPID),
        "TAGFERRY_TENCENT_IDENTIFIER": DEMO_IDENTIFIER,
        "TAGFERRY_TENCENT_SECRET_KEY": DEMO_SECRET_KEY,
    }
    apps = {7: ("key-of-7", ("one", "two")), 8: ("key-of-8", ("three",))}
    first = Emulator(Settings(tencent=TencentSettings(applications=apps))).environment
    assert [text for name, text in first.items() if "TENCENT" in name] == ["", "7", "one", "key-of-7"]
    none = Emulator(Settings(tencent=TencentSettings(applications={}))).environment
    assert [name for name in none if "TENCENT" in name] == ["TAGFERRY_TENCENT_BASE_URL"]


def test_a_failed_start_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(download_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"), serve_in_thread(settings):
            raise AssertionError("never entered")


def test_the_body_of_with_may_fail():
    with pytest.raises(ZeroDivisionError), serve_in_thread(FAST):
        _ = 1 / 0


@pytest.mark.parametrize(
    "changes",
    [{"host": "0.0.0.0"}, {"parts": 0}, {"rows": -1}, {"quota_per_second": 0}, {"time_scale": -1}],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match=r"loopback|at least 1|negative"):
        Settings(**changes)


def test_settings_do_not_show_tokens():
    assert "emulator-token" not in repr(Settings())


def test_unknown_kinds_are_refused():
    with pytest.raises(
        ValueError, match="known: growingio-cdp-segment, growingio-cdp-tag, growingio-segment, growingio-tag"
    ):
        Emulator().source("growingio-user", "nxog09md", "5rREn4PL")


@pytest.mark.anyio
async def test_nothing_is_left_over():
    before = {task for task in asyncio.all_tasks() if not task.done()}
    async with Emulator(Settings(job_seconds=0.0, quota_per_second=1000, rows=1_000_000)) as emu:
        (target,) = await links(emu)
        emu.faults.add("growingio-saas.download", "stall@10")
        emu.faults.add("growingio-saas.poll", "delay=60")
        stalled = asyncio.create_task(download(emu, target))
        delayed = asyncio.create_task(poll(emu))
        host, port = emu.download_url.removeprefix("http://").split(":")
        reader, deaf = await asyncio.open_connection(host, int(port))
        deaf.transport.pause_reading()
        deaf.write(request(target))
        idle = await asyncio.open_connection(host, int(port))
        await asyncio.sleep(0.1)
    for task in (stalled, delayed):
        assert (await task).end in {"fin", "rst"}
    for writer in (deaf, idle[1]):
        writer.transport.abort()
    del reader, deaf, idle
    await asyncio.sleep(0.01)
    assert {task for task in asyncio.all_tasks() if not task.done()} == before
    gc.collect()


@pytest.mark.anyio
async def test_a_peer_that_leaves_harms_nobody():
    async with Emulator(Settings(job_seconds=0.0, quota_per_second=1000, rows=1_000_000)) as emu:
        (target,) = await links(emu)
        for _ in range(5):
            host, port = emu.download_url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request(target))
            await reader.read(10)
            writer.transport.abort()
        assert (await download(emu, target, Range="bytes=0-9")).status == 206


@pytest.mark.anyio
async def test_connections_are_kept():
    async with Emulator(FAST) as emu:
        headers = {"Authorization": emu.token}
        data = request(TAG, headers, close=False) + request("/nothing", close=False) + request(TAG, headers)
        raw, end = await exchange(emu.base_url, data)
        assert (raw.count(b"HTTP/1.1 200 OK"), raw.count(b"HTTP/1.1 404"), end) == (2, 1, "fin")
        old = request(TAG, headers, close=False).replace(b"HTTP/1.1", b"HTTP/1.0")
        assert read(*await exchange(emu.base_url, old)).headers["Connection"] == "close"


@pytest.mark.anyio
async def test_latency():
    async with Emulator(Settings(latency=0.15, job_seconds=1e-6)) as emu:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        (target,) = await links(emu)
        assert loop.time() - begun >= 0.3
        await download(emu, target)
        assert loop.time() - begun >= 0.45


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /x\r\n\r\n", 400),
        (b"GET /x HTTP/2\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nbroken\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /x HTTP/1.1\r\nContent-Length: x\r\n\r\n", 413),
        (b"GET /x HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_request(data, status):
    async with Emulator(FAST) as emu:
        assert read(*await exchange(emu.base_url, data)).status == status


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data", [b"GET /x HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"]
)
async def test_half_a_request_gets_no_answer(data):
    async with Emulator(FAST) as emu:
        host, port = emu.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == b""
        writer.transport.abort()


@pytest.mark.anyio
async def test_what_was_seen():
    async with Emulator(Settings(job_seconds=0.0, quota_per_second=1000, remember=3)) as emu:
        target = f"{TAG}?expire=%35"
        await poll(emu, target, **{"X-Client-Id": "key"})
        (arrival,) = emu.seen
        assert (arrival.operation, arrival.key, arrival.method) == ("growingio-saas.poll", "5rREn4PL", "GET")
        assert (arrival.target, arrival.status) == (target, 200)
        assert ("X-Client-Id", "key") in arrival.headers
        assert arrival.values("x-client-id") == ["key"]
        assert arrival.sent > 0
        assert emu.token not in repr(arrival)
        for _ in range(4):
            await poll(emu)
        assert (len(emu.seen), emu.seen.counts["growingio-saas.poll"]) == (3, 5)
        stamps = [seen.nanoseconds for seen in emu.seen.of("growingio-saas.poll", "5rREn4PL")]
        assert stamps == sorted(stamps)
        assert emu.seen.of("growingio-saas.poll", "nP2lpkX9") == []
        emu.seen.clear()
        assert not list(emu.seen)


@pytest.mark.anyio
async def test_admin():
    async with Emulator(Settings(job_seconds=1e-6, quota_per_second=1000, rows=5, parts=2)) as emu:
        await links(emu)

        async def admin(path, method="GET", body=b""):
            answer = await ask(emu.base_url, f"/_emulator/{path}", method=method, body=body)
            return answer.status, json.loads(answer.body) if answer.body else None

        assert await admin("healthz") == (200, {"status": "ok"})
        assert (await admin("nothing"))[0] == 404
        files = emu.sources("growingio-tag", "nxog09md", "5rREn4PL")
        status, exports = await admin("exports")
        assert (status, exports) == (
            200,
            [
                {
                    "kind": "growingio-tag",
                    "project": "nxog09md",
                    "id": "5rREn4PL",
                    "parameters": [],
                    "rows": 5,
                    "files": [{"size": f.size, "rows": f.rows, "sha256": f.sha256} for f in files],
                }
            ],
        )
        order = {"operation": "growingio-saas.poll", "fault": "status=503 x2"}
        assert (await admin("faults", "POST", json.dumps(order).encode()))[0] == 201
        status, seen = await admin("seen")
        assert seen["unused_faults"] == ["growingio-saas.poll: status=503 x2"]
        assert seen["operations"] == {"growingio-saas.poll": 2}
        assert seen["quotas"]["growingio-tag"] == {"arrivals": 2, "refused": 0, "max_in_any_second": 2}
        assert emu.token not in json.dumps(seen)
        assert (await poll(emu)).status == 503
        assert (await admin("faults", "DELETE")) == (204, None)
        assert (await poll(emu)).status == 200
        for body in (b"{", b"[]", b"{}", b'{"operation":"x.y","fault":"close"}'):
            status, answer = await admin("faults", "POST", body)
            assert status == 400
            assert answer["message"]


@pytest.mark.anyio
async def test_an_error_of_its_own_is_not_hidden(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a mistake")

    async def run(error):
        async with Emulator(FAST) as emu:
            monkeypatch.setattr(emu.services[0], "answer", broken)
            assert (await poll(emu)).status == 0
            if error is not None:
                raise error

    with pytest.raises(ExceptionGroup, match="the emulator itself failed"):
        await run(None)
    assert "a mistake" in caplog.text
    with pytest.raises(ZeroDivisionError):
        await run(ZeroDivisionError())


@pytest.mark.anyio
async def test_ipv6():
    with contextlib.suppress(OSError):
        async with Emulator(Settings(host="::1", job_seconds=0.0)) as emu:
            assert emu.base_url.startswith("http://[::1]:")
            (target,) = await links(emu)
            assert (await download(emu, target)).status == 200


@pytest.mark.anyio
async def test_with_a_common_client():
    async with Emulator(Settings(job_seconds=0.0, quota_per_second=1000, rows=300_000)) as emu:
        (target,) = await links(emu)
        source = emu.source("growingio-tag", "nxog09md", "5rREn4PL")
        async with aiohttp.ClientSession() as session:
            async with session.get(yarl.URL(emu.download_url + target, encoded=True)) as answer:
                assert await answer.read() == source.bytes()
            async with session.get(emu.download_url + target) as answer:
                assert answer.status == 403
            emu.faults.add("growingio-saas.download", "cut@65536")
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.get(yarl.URL(emu.download_url + target, encoded=True)) as answer:
                    await answer.read()
