import asyncio
import contextlib
import datetime as dt
import pickle
import ssl
import time
import zlib

import aiohttp
import msgspec
import pytest
import trustme
from aiohttp.abc import AbstractResolver
from yarl import URL

from tagferry.errors import ConfigError, ProtocolError, RefusedError, TagferryError, UnavailableError
from tagferry.wire import resolver
from tagferry.wire.message import Head, Request
from tagferry.wire.transport import MAX_REPLY, Transport
from tests.standing import assert_no_secret
from tests.wire.raw import always, reply, serve, serve_tls

pytestmark = pytest.mark.anyio

PATH = "/v3/exporter/projects/nxog09md/segmentations/nP2lpkX9/users?expire=5&parameters=user_name,project"
LINK = "/buckets/jobs/2019_%E6%B8%A0%2Fx.csv?sign=R9y9atNVIDqU74q34BX%2FgPJI%2Bo22%3D&expires=1577344409140"


@contextlib.asynccontextmanager
async def open_transport(*, timeout=5.0, api_host="127.0.0.1", **settings):
    transport = Transport("growingio-saas", timeout=timeout, api_host=api_host, **settings)
    try:
        yield transport
    finally:
        await transport.aclose()


def ask(raw, path=PATH, **facts):
    return Request(operation="growingio-segment", method="GET", url=raw.url + path, **facts)


async def get(transport, how, url, headers=None):
    """Get a URL as an API request or as a file."""
    if how == "send":
        return await transport.send(Request(operation="o", method="GET", url=url, headers=headers or {}))
    return await fetch(transport, url, headers)


async def fetch(transport, url, headers=None):
    received = bytearray()
    async with transport.stream(URL(url, encoded=True), headers or {}) as (head, body):
        async for chunk in body:
            received += chunk
    return head, bytes(received)


# What is sent -----------------------------------------------------------------------------------------


async def test_an_api_request_goes_out_byte_for_byte_with_its_credential():
    async with serve(always(reply(b'{"status":"doing"}'))) as raw, open_transport() as transport:
        answer = await transport.send(ask(raw, headers={"Authorization": "token", "X-Client-Id": "key"}))
    assert answer.head.status == 200
    assert answer.body == b'{"status":"doing"}'
    assert raw.lines == [f"GET {PATH} HTTP/1.1".encode()]
    assert raw.headers() == {
        "Host": f"127.0.0.1:{raw.port}",
        "User-Agent": "tagferry",
        "Accept": "application/json",
        "Authorization": "token",
        "X-Client-Id": "key",
        "Accept-Encoding": raw.headers()["Accept-Encoding"],
    }


@pytest.mark.parametrize(
    "path",
    [
        LINK,
        "/a/./b/../c?x=%2F",
        "/x?a=b+c%20d",
        "/x?a=%E6%B8%A0&b=%e6",
        "/x?",
        "/%7Euser/~user?a=,;:@",
        "//double//x",
    ],
)
async def test_a_link_is_sent_byte_for_byte(path):
    async with serve(always(reply(b"x"))) as raw, open_transport() as transport:
        await fetch(transport, raw.url + path)
        await transport.send(ask(raw, path))
    sent = path.removesuffix("?")  # an empty query is not told from none
    assert raw.lines == [f"GET {sent} HTTP/1.1".encode()] * 2


async def test_a_download_sends_its_own_headers_and_the_host_and_nothing_else():
    headers = {"Range": "bytes=5-", "If-Range": '"etag"', "Accept-Encoding": "identity"}
    async with serve(always(reply(b"x"))) as raw, open_transport() as transport:
        await fetch(transport, raw.url + LINK, headers)
    assert raw.headers() == {"Host": f"127.0.0.1:{raw.port}", **headers}


async def test_a_body_is_sent_as_it_is():
    got = []

    async def act(writer, number):
        got.append(number)
        writer.write(reply())

    async with serve(act) as raw, open_transport() as transport:
        request = Request(operation="o", method="POST", url=raw.url + "/x", body=b'{"a":1}')
        await transport.send(request.with_headers({"Content-Type": "application/json"}))
    assert raw.headers()["Content-Length"] == "7"
    assert raw.headers()["Content-Type"] == "application/json"


async def test_no_cookie_is_kept_or_sent_back():
    cookies = "Set-Cookie: a=1; Path=/\r\n" + "".join(f"Set-Cookie: c{n}=1\r\n" for n in range(50))
    async with serve(always(reply(b"{}", headers=cookies))) as raw, open_transport() as transport:
        # By name: jars that keep cookies keep none of bare addresses.
        url = f"http://localhost:{raw.port}/x"
        for _ in range(2):
            await get(transport, "send", url)
            await get(transport, "stream", url)
    assert len(raw.heads) == 4
    assert not any(b"cookie" in head.lower() for head in raw.heads)


@pytest.fixture
def hostile_environment(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login CANARY-login password CANARY-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(netrc.read_text())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.usefixtures("hostile_environment")
async def test_proxies_and_netrc_of_the_environment_are_not_used():
    async with serve(always(reply())) as raw, open_transport() as transport:
        await transport.send(ask(raw))
        await fetch(transport, raw.url + LINK)
    assert len(raw.heads) == 2
    assert "Authorization" not in raw.headers(0) | raw.headers(1)


async def test_a_proxy_that_is_asked_for_is_used_for_both():
    async with serve(always(reply())) as proxy, open_transport(proxy=proxy.url) as transport:
        request = Request(operation="o", method="GET", url="http://api.invalid/x?a=%2F")
        await transport.send(request)
        await fetch(transport, "http://files.invalid/y?b=%2F")
    assert proxy.lines == [
        b"GET http://api.invalid/x?a=%2F HTTP/1.1",
        b"GET http://files.invalid/y?b=%2F HTTP/1.1",
    ]


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_redirects_are_not_followed(status):
    answer = reply(b"", status, headers="Location: /elsewhere\r\n")
    async with serve(always(answer)) as raw, open_transport() as transport:
        assert (await transport.send(ask(raw))).head.status == int(status[:3])
        head, _ = await fetch(transport, raw.url + LINK)
    assert (head.status, head.headers["location"]) == (int(status[:3]), "/elsewhere")
    assert len(raw.heads) == 2


# The caller's own session -----------------------------------------------------------------------------


async def test_a_given_session_is_used_for_the_api_but_never_for_files_and_stays_open():
    async with aiohttp.ClientSession(headers={"X-Own": "1"}) as session:
        async with serve(always(reply())) as raw:
            async with open_transport(session=session) as transport:
                await transport.send(ask(raw, headers={"Authorization": "token"}))
                await fetch(transport, raw.url + LINK)
            assert not session.closed
        assert raw.headers(0)["X-Own"] == "1"
        assert "X-Own" not in raw.headers(1)


async def test_nothing_is_opened_before_the_first_request_and_closing_is_safe_twice():
    transport = Transport("s", timeout=1, api_host="127.0.0.1")
    await transport.aclose()
    await transport.aclose()


async def test_a_closed_transport_opens_nothing_until_it_is_opened_again():
    async with serve(always(reply())) as raw, open_transport() as transport:
        await transport.send(ask(raw))
        await transport.aclose()
        for _ in range(2):
            with pytest.raises(ConfigError, match="not open"):
                await transport.send(ask(raw))
            with pytest.raises(ConfigError, match="not open"):
                await fetch(transport, raw.url)
        assert len(raw.heads) == 1
        transport.reopen()
        await transport.send(ask(raw))
        await fetch(transport, raw.url)
    assert len(raw.heads) == 3


# Connections ------------------------------------------------------------------------------------------


async def test_a_connection_is_kept_and_used_again():
    async with serve(always(reply())) as raw, open_transport() as transport:
        for _ in range(3):
            await transport.send(ask(raw))
    assert (len(raw.heads), raw.connections) == (3, 1)


@pytest.mark.parametrize("own_session", [False, True])
async def test_a_request_on_a_dead_kept_connection_is_not_resent_unseen(own_session):
    async def act(writer, number):
        if number == 0:
            writer.write(reply())
        else:
            writer.close()

    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession()) if own_session else None
        raw = await stack.enter_async_context(serve(act))
        transport = await stack.enter_async_context(open_transport(session=session))
        await transport.send(ask(raw))
        with pytest.raises(UnavailableError, match="closed without an answer"):
            await transport.send(ask(raw))
        assert len(raw.heads) == 2
        # The next call has a connection of its own.
        await transport.send(ask(raw))
    assert len(raw.heads) == 3


async def test_a_request_that_must_not_arrive_twice_has_a_connection_of_its_own():
    async with serve(always(reply())) as raw, open_transport() as transport:
        await transport.send(ask(raw))
        for _ in range(2):
            await transport.send(msgspec.structs.replace(ask(raw), method="POST", once=True))
            assert raw.headers()["Connection"] == "close"
        await transport.send(ask(raw))
        assert "Connection" not in raw.headers()
    assert (len(raw.heads), raw.connections) == (4, 3)


async def test_a_server_that_closes_without_an_answer_is_asked_once():
    async with serve(always(b"", close=True)) as raw, open_transport() as transport:
        with pytest.raises(UnavailableError, match="closed without an answer"):
            await transport.send(ask(raw))
    assert len(raw.heads) == 1


async def test_a_body_that_is_not_read_to_its_end_closes_its_connection():
    async with serve(always(reply(b"x" * 10, length=1_000_000))) as raw, open_transport() as transport:
        async with transport.stream(URL(raw.url + LINK, encoded=True), {}) as (head, _):
            assert head.status == 200
        await fetch_beginning(transport, raw.url)
    assert raw.connections == 2


async def fetch_beginning(transport, url):
    async with transport.stream(URL(url, encoded=True), {}) as (_, body):
        return await anext(body)


async def test_a_cancelled_request_leaves_nothing_behind():
    async with serve(always(b"")) as raw, open_transport() as transport:
        for coroutine in (transport.send(ask(raw)), fetch(transport, raw.url)):
            task = asyncio.create_task(coroutine)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# Replies ----------------------------------------------------------------------------------------------


async def test_the_names_of_headers_come_in_lower_case():
    async with (
        serve(always(reply(headers='ReTrY-AfTeR: 7\r\nETag: "x"\r\n'))) as raw,
        open_transport() as transport,
    ):
        head = (await transport.send(ask(raw))).head
        other, _ = await fetch(transport, raw.url)
    assert isinstance(head, Head)
    assert (head.headers["retry-after"], other.headers["etag"]) == ("7", '"x"')


async def test_a_reply_as_large_as_allowed_is_read_and_one_byte_more_is_refused():
    async with serve(always(reply(b"x" * MAX_REPLY))) as raw, open_transport() as transport:
        assert len((await transport.send(ask(raw))).body) == MAX_REPLY
    async with serve(always(reply(b"x" * (MAX_REPLY + 1)))) as raw, open_transport() as transport:
        with pytest.raises(ProtocolError, match="more than") as caught:
            await transport.send(ask(raw))
    assert caught.value.service == "growingio-saas"


async def test_a_reply_that_grows_out_of_a_few_compressed_bytes_is_refused():
    bomb = zlib.compress(b"\0" * 64 * 1024 * 1024)
    async with (
        serve(always(reply(bomb, headers="Content-Encoding: deflate\r\n"))) as raw,
        open_transport() as transport,
    ):
        with pytest.raises(ProtocolError, match="more than"):
            await transport.send(ask(raw))


async def test_an_endless_reply_is_refused_when_it_is_too_large():
    async def act(writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    async with serve(act) as raw, open_transport() as transport:
        with pytest.raises(ProtocolError, match="more than"):
            await transport.send(ask(raw))


async def test_a_file_comes_as_it_is_without_any_decoding():
    packed = zlib.compress(b"x" * 100)
    async with (
        serve(always(reply(packed, headers="Content-Encoding: deflate\r\n"))) as raw,
        open_transport() as transport,
    ):
        _, body = await fetch(transport, raw.url)
    assert body == packed


# Time-outs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", reply(b"{", length=100)])
async def test_a_server_that_falls_silent_is_given_up_after_the_time_out(data):
    async with serve(always(data)) as raw, open_transport(timeout=0.2) as transport:
        start = time.monotonic()
        with pytest.raises(UnavailableError, match=r"time-out after 0\.2 s"):
            await transport.send(ask(raw))
    assert 0.19 <= time.monotonic() - start < 1.5


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_a_head_that_drips_ends_by_the_time_out_for_the_whole(how):
    async def drip(writer, number):
        with contextlib.suppress(ConnectionError):
            for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 10_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)

    async with serve(drip) as raw, open_transport(timeout=0.3) as transport:
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="time-out"):
            await get(transport, how, raw.url)
    assert time.monotonic() - start < 2


async def test_a_file_may_take_longer_than_the_time_out_of_a_request():
    async def slow(writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            writer.write(b"x")

    async with serve(slow) as raw, open_transport(timeout=0.2) as transport:
        assert (await fetch(transport, raw.url))[1] == b"xxxxx"


# Breaks -----------------------------------------------------------------------------------------------

BREAKS = {
    "cut": always(reply(b"x" * 1000, length=5000), close=True),
    "reset": always(reply(b"x" * 1000, length=5000), reset=True),
    "cut chunk": always(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000 + b"\r\n100\r\nyy",
        close=True,
    ),
}
BREAKS_BEFORE = {
    "bad chunk": always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close=True),
    "garbage": always(b"\x00\x01 no http at all\r\n\r\n", close=True),
    "half a head": always(b"HTTP/1.1 200 OK\r\nContent-", close=True),
    "long header": always(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", close=True),
    "two lengths": always(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", close=True),
    "nothing": always(b"", close=True),
    "reset": always(b"", reset=True),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", BREAKS)
async def test_the_bytes_before_a_break_come_before_the_error(name, late, canary):
    async with serve(BREAKS[name]) as raw, open_transport() as transport:
        received = bytearray()

        async def collect():
            url = URL(f"{raw.url}/x?sign={canary}", encoded=True)
            async with transport.stream(url, {"If-Range": canary}) as (_, body):
                if late:
                    await asyncio.sleep(0.1)  # the break is there before anybody reads
                async for chunk in body:
                    received.extend(chunk)

        with pytest.raises(UnavailableError) as caught:
            await collect()
    assert received.startswith(b"x" * 1000)
    assert caught.value.retryable
    assert_no_secret(canary, caught.value, with_locals=False)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("name", BREAKS_BEFORE | BREAKS)
async def test_a_broken_reply_is_an_error_that_shows_no_query_and_no_header(name, how, canary, logs):
    async with serve((BREAKS_BEFORE | BREAKS)[name]) as raw, open_transport() as transport:
        with pytest.raises(UnavailableError) as caught:
            await get(transport, how, f"{raw.url}/x?sign={canary}", {"Authorization": canary, "X-Id": canary})
    error = caught.value
    assert "127.0.0.1" in str(error)
    assert error.service == "growingio-saas"
    assert error.__cause__ is None
    assert error.__context__ is None
    assert_no_secret(canary, error, logs=logs, with_locals=False)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_after_a_chunk_size_that_is_no_number_the_call_ends_and_a_file_keeps_what_came():
    """aiohttp then never ends the body: the time-out ends the call; a file ends with the watch on stalls."""
    begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000
    async with serve(always(begin, b"\r\nzz\r\n")) as raw, open_transport(timeout=1) as transport:
        with pytest.raises(UnavailableError):
            await transport.send(ask(raw))
        received = bytearray()
        with contextlib.suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(1.5), transport.stream(URL(raw.url), {}) as (_, body):
                async for chunk in body:
                    received += chunk
    assert received == b"x" * 1000


# No connection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_a_refused_connection_is_tried_again_later(how):
    async with serve(always(b"")) as raw:
        pass
    async with open_transport() as transport:
        with pytest.raises(UnavailableError, match=r"no answer from 127\.0\.0\.1") as caught:
            await get(transport, how, raw.url)
    assert "Connect call failed" in str(caught.value)
    assert "base URL" in str(caught.value)


async def test_a_name_that_does_not_exist_is_named():
    async with open_transport(api_host="nonexistent.invalid") as transport:
        for coroutine in (
            transport.send(
                Request(operation="o", method="GET", url="http://nonexistent.invalid/x?CANARY-q=1")
            ),
            fetch(transport, "http://nonexistent.invalid/x?CANARY-q=1"),
        ):
            with pytest.raises(
                UnavailableError, match=r"nonexistent\.invalid.* cannot be resolved"
            ) as caught:
                await coroutine
            assert "CANARY" not in str(caught.value)


# TLS --------------------------------------------------------------------------------------------------

CA = trustme.CA()


def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting():
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


async def test_tls_works_with_a_ca_of_ones_own():
    tls = server_context(CA.issue_cert("127.0.0.1"))
    with serve_tls(tls, reply(headers="Connection: close\r\n")) as raw:
        async with open_transport(ssl=trusting()) as transport:
            assert (await transport.send(ask(raw))).head.status == 200
            assert (await fetch(transport, raw.url))[0].status == 200


PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize(
    ("certificate", "context", "says"),
    [
        (lambda: trustme.CA().issue_cert("127.0.0.1"), trusting, "certificate verify failed|self.signed"),
        (lambda: CA.issue_cert("127.0.0.1"), lambda: None, "certificate verify failed"),
        (lambda: CA.issue_cert("127.0.0.1", not_after=PAST), trusting, "expired"),
        (lambda: CA.issue_cert("wrong.example.com"), trusting, "mismatch|not valid for"),
    ],
    ids=["unknown CA", "not trusted here", "expired", "wrong host"],
)
async def test_a_certificate_that_is_not_trusted_is_refused_for_good(certificate, context, says, how, canary):
    with serve_tls(server_context(certificate()), reply()) as raw:
        async with open_transport(ssl=context()) as transport:
            with pytest.raises(RefusedError, match=says) as caught:
                await get(transport, how, f"{raw.url}/?{canary}", {"Authorization": canary})
    error = caught.value
    assert not error.retryable
    assert error.code == "tls"
    assert "ssl=" in str(error)
    assert raw.heads == []
    assert_no_secret(canary, error, with_locals=False)


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_plain_http_on_a_tls_port_is_refused_for_good(how):
    async def greet(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1")
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with open_transport(ssl=trusting()) as transport:
        with pytest.raises(RefusedError, match="TLS") as caught:
            await get(transport, how, url)
    server.close()
    await server.wait_closed()
    assert caught.value.code == "tls"


# Private addresses ------------------------------------------------------------------------------------


class Names(AbstractResolver):
    """A resolver that knows what it is told."""

    def __init__(self, names):
        self.names = names
        self.closed = False

    async def resolve(self, host, port=0, family=0):
        if host not in self.names:
            raise OSError(f"no such name: {host}")
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self.names[host]
        ]

    async def close(self):
        self.closed = True


@pytest.fixture
def names(monkeypatch):
    names = Names(
        {
            "files.public.example": ["203.0.114.1"],
            "files.inside.example": ["127.0.0.1"],
            "files.both.example": ["203.0.114.1", "10.0.0.1"],
            "api.public.example": ["203.0.114.2"],
            "api.inside.example": ["10.0.0.2"],
        }
    )
    monkeypatch.setattr(resolver, "DefaultResolver", lambda: names)
    return names


@pytest.mark.parametrize("host", ["files.inside.example", "files.both.example"])
async def test_a_name_that_leads_inside_is_refused_for_a_public_service(names, host):
    async with serve(always(reply())) as raw, open_transport(api_host="api.public.example") as transport:
        with pytest.raises(ProtocolError, match="private address") as caught:
            await fetch(transport, f"http://{host}:{raw.port}/x?CANARY-q")
    assert raw.connections == 0
    assert caught.value.code == "private-address"
    assert not caught.value.retryable
    assert host in str(caught.value)
    assert "CANARY" not in str(caught.value)


async def test_the_resolver_is_closed_with_its_transport(names):
    async with serve(always(reply())) as raw, open_transport(api_host="api.inside.example") as transport:
        await fetch(transport, f"http://files.inside.example:{raw.port}/x")
        assert not names.closed
    assert names.closed


async def test_a_name_that_leads_inside_is_fine_for_a_service_whose_name_does_so_too(names):
    async with serve(always(reply(b"x"))) as raw, open_transport(api_host="api.inside.example") as transport:
        _, body = await fetch(transport, f"http://files.inside.example:{raw.port}/x")
    assert body == b"x"


async def test_the_address_that_was_checked_is_the_one_that_is_connected(names):
    async with serve(always(reply())) as raw, open_transport(api_host="api.inside.example") as transport:
        original, asked = names.resolve, []

        async def resolve(host, port=0, family=0):
            asked.append(host)
            return await original(host, port, family)

        names.resolve = resolve
        await fetch(transport, f"http://files.inside.example:{raw.port}/x")
    assert asked.count("files.inside.example") == 1


async def test_an_api_name_that_cannot_be_resolved_excuses_nothing(names):
    async with open_transport(api_host="gone.example") as transport:
        with pytest.raises(TagferryError):
            await fetch(transport, "http://files.inside.example:1/x")
