import asyncio
import contextlib
import functools
import gc
import math
import weakref

import aiohttp
import pytest

import tagferry
from tagferry import AuthError, ConfigError, GrowingIO
from tagferry.clients import growingio as module
from tagferry.emulator import Emulator, Settings
from tagferry.events import Polled
from tagferry.exports.schedule import PollSchedule
from tests.standing import assert_no_secret

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_polls")]

FAST = {"time_scale": 0.01, "job_seconds": 1.0, "rows": 20, "quota_per_second": 1000}


@contextlib.asynccontextmanager
async def world(client=None, **settings):
    """An emulator and a client of it."""
    async with Emulator(Settings(**FAST | settings)) as emulator:
        chosen = {"token": emulator.token, "base_url": emulator.base_url, "rate": "1000/s"} | (client or {})
        async with GrowingIO(**chosen) as gio:
            yield emulator, gio


@pytest.fixture
def quick_polls(monkeypatch):
    """Polls after some milliseconds; the quota stays what it is."""
    monkeypatch.setattr(module, "PollSchedule", functools.partial(PollSchedule, floor=0.01, cap=0.05))


# The constructor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"token": ""}, "token"),
        ({"token": " \n"}, "token"),
        ({"token": "a\r\nb"}, "token"),
        ({"token": None}, "token"),
        ({"token": 5}, "token"),
        ({"base_url": "www.growingio.com"}, "base URL"),
        ({"base_url": "ftp://h"}, "base URL"),
        ({"base_url": "https://user:CANARY-pw@h"}, "base URL"),
        ({"base_url": None}, "base URL"),
        ({"client_id": "a\r\nX-Evil: 1"}, "client_id"),
        ({"client_id": "ключ"}, "client_id"),
        ({"client_id": " "}, "client_id"),
        ({"client_id": 5}, "client_id"),
        ({"rate": "0/s"}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"rate": 2}, "rate"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": "30"}, "timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"stall_timeout": math.inf}, "stall_timeout"),
        ({"stall_timeout": None}, "stall_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": None}, "retries"),
        ({"retries": True}, "retries"),
        ({"proxy": "nonsense"}, "proxy"),
        ({"proxy": "socks5://h:1"}, "proxy"),
        ({"proxy": "http://user:CANARY-pw@"}, "proxy"),
        ({"proxy": "http://user:CANARY-pw@h:99999"}, "proxy"),
        ({"proxy": "http://h/path"}, "proxy"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_to_do_before_anything_is_opened(settings, says):
    with pytest.raises(ConfigError) as caught:
        GrowingIO(**{"token": "token"} | settings)
    assert says in str(caught.value)
    assert caught.value.hint
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_url": "http://10.0.0.1:8080/api/"},
        {"client_id": "0a1b2c3d4e5f"},
        {"rate": "1/s", "timeout": 1, "stall_timeout": 0.5, "retries": 0},
        {"proxy": "http://user:pw@proxy.example.com:3128"},
        {"proxy": "http://[::1]:3128/"},
    ],
)
def test_a_good_value_is_taken_and_making_a_client_opens_nothing(settings):
    GrowingIO(token="token", **settings)


def test_every_argument_is_keyword_only():
    with pytest.raises(TypeError):
        GrowingIO("token")


async def test_a_client_that_is_never_entered_leaves_nothing_behind():
    client = GrowingIO(token="token")
    client.tag_users("nxog09md", "5rREn4PL")
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("act", ["wait", "download"])
async def test_a_client_that_is_not_open_says_how_to_open_it(act, tmp_path):
    async with Emulator(Settings(**FAST)) as emulator:
        gio = GrowingIO(token=emulator.token, base_url=emulator.base_url)
        tag = gio.tag_users("nxog09md", "5rREn4PL")
        with pytest.raises(ConfigError, match=r"async with tagferry\.GrowingIO"):
            await (tag.wait() if act == "wait" else tag.download(tmp_path))
        async with gio:
            pass
        with pytest.raises(ConfigError, match="not open"):
            await tag.wait()
        assert len(emulator.seen) == 0


async def test_a_client_may_be_opened_again():
    async with Emulator(Settings(**FAST)) as emulator:
        gio = GrowingIO(token=emulator.token, base_url=emulator.base_url, rate="1000/s")
        for _ in range(2):
            async with gio:
                assert (await gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=10)).links


async def test_an_export_is_a_description_and_sends_nothing():
    async with world() as (emulator, gio):
        tag = gio.tag_users("nxog09md", "5rREn4PL", expire_minutes=60)
        segment = gio.segment_users("nxog09md", "nP2lpkX9", parameters=["open_id", "role"])
        assert tag == gio.tag_users("nxog09md", "5rREn4PL", expire_minutes=60)
        assert tag != gio.tag_users("nxog09md", "5rREn4PL", expire_minutes=61)
        assert (tag.service, tag.kind, tag.id) == ("growingio-saas", "growingio-tag", "5rREn4PL")
        assert repr(segment) == "Export(growingio-segment nP2lpkX9)"
        assert len(emulator.seen) == 0


@pytest.mark.parametrize("args", [("", "x"), ("a/b", "x"), ("nxog09md", "a b"), ("nxog09md", None)])
async def test_a_bad_id_is_refused_by_the_description(args):
    gio = GrowingIO(token="token")
    for describe in (gio.tag_users, gio.segment_users):
        with pytest.raises(ConfigError):
            describe(*args)


async def test_tags_and_segments_are_asked_for_with_the_documented_bytes():
    async with world({"client_id": "key"}) as (emulator, gio):
        await gio.tag_users("nxog09md", "5rREn4PL", expire_minutes=60).wait(deadline=10)
        await gio.segment_users("nxog09md", "nP2lpkX9", parameters=["open_id", "role"]).wait(deadline=10)
        targets = {seen.target for seen in emulator.seen}
        seen = next(iter(emulator.seen))
    assert targets == {
        "/v3/exporter/projects/nxog09md/tags/5rREn4PL/users?expire=60",
        "/v3/exporter/projects/nxog09md/segmentations/nP2lpkX9/users?expire=60&parameters=open_id,role",
    }
    assert seen.values("Authorization") == [emulator.token]
    assert seen.values("X-Client-Id") == ["key"]


# Credentials ------------------------------------------------------------------------------------------


async def test_a_provider_of_tokens_is_asked_once_for_all():
    asked = []

    async def provide():
        asked.append(1)
        await asyncio.sleep(0.01)
        return "emulator-token"

    async with world({"token": provide}) as (_, gio):
        await asyncio.gather(*(gio.tag_users("nxog09md", f"5rREn4P{n}").wait(deadline=10) for n in range(5)))
    assert len(asked) == 1


async def test_a_provider_is_asked_again_when_the_service_refuses_what_it_gave():
    tokens = iter(["revoked-token", "emulator-token"])

    async def provide():
        return next(tokens)

    async with world({"token": provide}) as (emulator, gio):
        await gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=10)
        sent = [seen.values("Authorization")[0] for seen in emulator.seen.of("growingio-saas.poll")]
    assert sent[:2] == ["revoked-token", "emulator-token"]
    assert "revoked-token" not in sent[1:]


async def test_a_refused_token_ends_the_export_with_a_hint_and_without_a_storm():
    async with world({"token": "wrong"}) as (emulator, gio):
        with pytest.raises(AuthError) as caught:
            await gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=10)
        assert len(emulator.seen) == 1
    assert "TAGFERRY_GROWINGIO_TOKEN" in str(caught.value)
    assert (caught.value.code, caught.value.service) == (401, "growingio-saas")


FAULTS = [
    "pass",
    "status=401",
    "status=403",
    "status=404",
    "status=500",
    "html",
    "close",
    "cut@3",
    "failed=no",
    "extra=9",
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_token_is_nowhere_to_be_seen_whatever_goes_wrong(fault, canary, logs, tmp_path, capsys):
    events = []
    async with world(
        {"token": canary, "client_id": f"{canary}-id", "retries": 1, "on_event": events.append}, token=canary
    ) as (emulator, gio):
        emulator.faults.add("growingio-saas.poll", f"{fault} x2")
        tag = gio.tag_users("nxog09md", "5rREn4PL")
        errors = []
        try:
            await tag.download(tmp_path, deadline=10)
        except tagferry.TagferryError as error:
            errors.append(error)
        assert emulator.seen.of("growingio-saas.poll")[0].values("Authorization") == [canary]
    assert errors or fault in {"pass", "extra=9"}
    assert_no_secret(canary, *errors, gio, tag, *events, logs=logs, capsys=capsys)
    assert logs.lines


async def test_the_download_host_gets_no_credential(tmp_path):
    async with world({"client_id": "key"}) as (emulator, gio):
        await gio.tag_users("nxog09md", "5rREn4PL").download(tmp_path, deadline=10)
        downloads = emulator.seen.of("growingio-saas.download")
    assert downloads
    for seen in downloads:
        names = {name.lower() for name, _ in seen.headers}
        assert names <= {"host", "accept-encoding", "range", "if-range"}
    assert emulator.seen.violations == []


# Sessions ---------------------------------------------------------------------------------------------


async def test_an_own_session_carries_the_api_never_the_files_and_is_not_closed(tmp_path):
    async with aiohttp.ClientSession(headers={"X-Own": "1"}) as session:
        async with world({"session": session}) as (emulator, gio):
            await gio.tag_users("nxog09md", "5rREn4PL").download(tmp_path, deadline=10)
            polls, downloads = (emulator.seen.of(f"growingio-saas.{what}") for what in ("poll", "download"))
        assert not session.closed
    assert all(seen.values("X-Own") == ["1"] for seen in polls)
    assert downloads
    assert not any(seen.values("X-Own") for seen in downloads)


async def test_a_request_that_outlives_its_client_opens_no_new_session():
    """What is still waiting for its next try when the client closes must not open a connection again."""
    async with Emulator(Settings(**FAST)) as emulator:
        emulator.faults.add("growingio-saas.poll", "status=500 x*")
        async with GrowingIO(token=emulator.token, base_url=emulator.base_url, rate="1000/s") as gio:
            waiting = asyncio.create_task(gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=5))
            while len(emulator.seen) == 0:
                await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="not open"):
            await waiting
    # The standing assertions would find the session that nobody closes.


# Events -----------------------------------------------------------------------------------------------


async def test_a_listener_hears_of_every_poll():
    events = []
    async with world({"on_event": events.append}) as (emulator, gio):
        await gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=10)
        polls = emulator.seen.counts["growingio-saas.poll"]
    told = [event for event in events if isinstance(event, Polled)]
    assert len(told) == polls
    assert told[-1] == Polled(kind="growingio-tag", id="5rREn4PL", state="done", delay=None)
    assert all(event.delay is not None for event in told[:-1])


async def test_a_listener_that_fails_stops_nothing(logs):
    def fail(event):
        raise RuntimeError("broken view")

    async with world({"on_event": fail}) as (_, gio):
        assert (await gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=10)).links
    assert "broken view" in logs.text


# Quotas -----------------------------------------------------------------------------------------------


async def test_two_clients_of_one_process_share_the_quota_of_their_token_however_they_spell_the_origin():
    async with Emulator(Settings(**FAST | {"quota_per_second": 5})) as emulator:
        shouted = emulator.base_url.replace("http", "HTTP") + "/"
        async with (
            GrowingIO(token=emulator.token, base_url=emulator.base_url, rate="5/s") as one,
            GrowingIO(token=f" {emulator.token} ", base_url=shouted, rate="10/s") as other,
        ):
            exports = [gio.tag_users("nxog09md", f"5rREn4P{n}") for n in range(4) for gio in (one, other)]
            await asyncio.gather(*(export.wait(deadline=30) for export in exports))
        assert emulator.refused == 0
        assert 1 <= emulator.max_in_any_second <= 5


async def test_the_two_kinds_have_quotas_of_their_own():
    async with Emulator(Settings(**FAST | {"quota_per_second": 2})) as emulator:
        async with GrowingIO(token=emulator.token, base_url=emulator.base_url) as gio:
            await asyncio.gather(
                gio.tag_users("nxog09md", "5rREn4PL").wait(deadline=20),
                gio.segment_users("nxog09md", "nP2lpkX9").wait(deadline=20),
            )
        assert set(emulator.quotas()) == {"growingio-tag", "growingio-segment"}
        assert emulator.refused == 0


async def test_twenty_exports_at_once_keep_to_ten_polls_in_any_second_and_use_them():
    async with Emulator(Settings(**FAST | {"quota_per_second": 10, "latency": 0.01})) as emulator:
        async with GrowingIO(token=emulator.token, base_url=emulator.base_url, rate="10/s") as gio:
            loop = asyncio.get_running_loop()
            start = loop.time()
            exports = [gio.tag_users("nxog09md", f"5rREn4{n:02}") for n in range(20)]
            ready = await asyncio.gather(*(export.wait(deadline=30) for export in exports))
            took = loop.time() - start
        assert all(one.links for one in ready)
        assert emulator.refused == 0
        assert emulator.max_in_any_second <= 10
        polls = emulator.seen.counts["growingio-saas.poll"]
        assert polls >= 40
        assert took < 12


async def test_the_documented_rate_is_kept_by_default():
    """Two in any second, as the documents say and the emulator counts by default."""
    async with Emulator(Settings(**FAST | {"quota_per_second": 2})) as emulator:
        async with GrowingIO(token=emulator.token, base_url=emulator.base_url) as gio:
            exports = [gio.tag_users("nxog09md", f"5rREn4P{n}") for n in range(3)]
            await asyncio.gather(*(export.wait(deadline=30) for export in exports))
        assert emulator.refused == 0
        assert emulator.max_in_any_second <= 2
