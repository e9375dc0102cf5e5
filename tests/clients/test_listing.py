import contextlib
import functools
import json
import types

import pytest

from tagferry import (
    AuthError,
    ConfigError,
    GrowingIO,
    GrowingIOCDP,
    ProtocolError,
    RefusedError,
    UnavailableError,
)
from tagferry.clients import listing
from tagferry.clients.listing import list_pages, list_whole
from tagferry.emulator import CDPSettings, Emulator, Settings
from tagferry.services import growingio_lists as lists
from tagferry.wire.message import Head, Reply
from tests.standing import assert_no_secret

pytestmark = pytest.mark.anyio

PROJECT = "nxog09md"
BASE = "http://cdp.example.com"
SERVICE = "growingio-cdp"


@contextlib.asynccontextmanager
async def world(client=None, **settings):
    async with Emulator(Settings(**{"quota_per_second": 1000} | settings)) as emulator:
        chosen = {"token": emulator.token, "base_url": emulator.base_url} | (client or {})
        async with GrowingIO(**chosen) as gio:
            yield emulator, gio


class FakeCaller:
    """Answers from a function, and notes what was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.backoff = types.SimpleNamespace(clock=types.SimpleNamespace(unix=lambda: 1.6e9))

    async def call(self, request, read):
        self.asked.append(request.url)
        return read(self.answer(request))


def page(keys, *, offset, more, total=None):
    values = [{"id": f"id{key}", "key": f"tag_{key}", "name": f"标签{key}"} for key in keys]
    envelope = {"offset": float(offset), "limit": 1000.0, "hasNextPage": more, "values": values}
    if total is not None:
        envelope["totalCount"] = float(total)
    return Reply(Head(200, {}), json.dumps(envelope).encode())


def offset_of(request):
    return int(request.url.rpartition("offset=")[2])


def list_tags(caller, project=None, space=None, base_url=BASE):
    ask = functools.partial(lists.ask_cdp_tags, base_url, project=project, space=space)
    return list_pages(caller, ask, lists.read_cdp_tags, service=SERVICE)


# GrowingIO SaaS -----------------------------------------------------------------------------------------


async def test_segments_are_listed_and_each_can_be_exported():
    async with world(segments=5, rows=7) as (emulator, gio):
        segments = await gio.list_segments(PROJECT)
        assert [one.kind for one in segments] == ["growingio-segment"] * 5
        assert {one.count for one in segments} == {7}
        assert "nP2lpkX9" in {one.key for one in segments}
        for one in segments:
            assert gio.segment_users(PROJECT, one.key).kind == one.kind
        seen = emulator.seen.of("growingio-saas.list")
    assert [one.target for one in seen] == [f"/projects/{PROJECT}/segmentations.json"]
    assert seen[0].values("Authorization") == [emulator.token]


async def test_variables_of_both_sorts_of_users_are_listed():
    async with world() as (emulator, gio):
        variables = await gio.list_variables(PROJECT)
        targets = [one.target for one in emulator.seen]
    by_type = {one.key: one.type for one in variables}
    assert by_type["open_id"] == "login"
    assert by_type["city"] == "visitor"
    assert targets == [f"/v1/api/projects/{PROJECT}/vars/{users}" for users in ("peoples", "visitors")]


async def test_the_documented_samples_are_read_although_their_ids_repeat():
    async with world(documented_lists=True) as (_, gio):
        segments = await gio.list_segments(PROJECT)
        assert [(one.id, one.type, one.count) for one in segments] == [
            ("Segmentation Uid", "u", 1230),
            ("Segmentation Uid", "cs1", 1230),
        ]


@pytest.mark.parametrize("method", ["list_segments", "list_variables"])
async def test_a_list_needs_an_open_client_and_a_project(method):
    gio = GrowingIO(token="token")
    with pytest.raises(ConfigError, match=r"async with tagferry\.GrowingIO"):
        await getattr(gio, method)(PROJECT)
    async with world() as (emulator, gio):
        for bad in ("", "../x", None):
            with pytest.raises(ConfigError, match="project UID"):
                await getattr(gio, method)(bad)
        assert len(emulator.seen) == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status=401", AuthError),
        ("status=404", RefusedError),
        ("status=500 x*", UnavailableError),
        ("close x*", UnavailableError),
        ("html x*", ProtocolError),
        ("cut@9 x*", UnavailableError),
    ],
)
async def test_a_list_that_fails_says_why_and_shows_no_token(fault, error, canary, logs):
    async with world({"token": canary, "retries": 1}, token=canary) as (emulator, gio):
        for method in (gio.list_segments, gio.list_variables):
            emulator.faults.add("growingio-saas.list", fault)
            with pytest.raises(error) as caught:
                await method(PROJECT)
            assert caught.value.service == "growingio-saas"
            assert bool(caught.value.hint) == (fault != "status=500 x*")
            assert_no_secret(canary, caught.value, logs=logs)


async def test_a_list_survives_what_goes_away():
    async with world({"retries": 3}) as (emulator, gio):
        emulator.faults.add("growingio-saas.list", "status=503 x2")
        assert len(await gio.list_segments(PROJECT)) == 12


async def test_the_lists_keep_their_quotas():
    async with Emulator(Settings()) as emulator:
        async with GrowingIO(token=emulator.token, base_url=emulator.base_url) as gio:
            for _ in range(3):
                await gio.list_segments(PROJECT)
                await gio.list_variables(PROJECT)
        assert emulator.refused == 0
        assert emulator.quotas()["growingio-segments"]["max_in_any_second"] <= 2


# Pages --------------------------------------------------------------------------------------------------


async def test_every_page_is_asked_for_once_at_the_place_where_the_last_one_ended():
    def answer(request):
        at = offset_of(request)
        return page(range(at, min(at + 3, 8)), offset=at, more=at + 3 < 8, total=8)

    caller = FakeCaller(answer)
    found = await list_tags(caller, "P1", "S1")
    assert [one.key for one in found] == [f"tag_{n}" for n in range(8)]
    place = f"{BASE}/v1/api/projects/P1/spaces/S1/user_tags?limit=1000&offset="
    assert caller.asked == [f"{place}{at}" for at in (0, 3, 6)]


async def test_an_item_that_moved_to_the_next_page_is_taken_once():
    pages = {0: page("abc", offset=0, more=True), 3: page("cd", offset=3, more=False)}
    found = await list_tags(FakeCaller(lambda request: pages[offset_of(request)]))
    assert [one.key for one in found] == ["tag_a", "tag_b", "tag_c", "tag_d"]


async def test_an_empty_list_is_a_list():
    assert await list_tags(FakeCaller(lambda _: page("", offset=0, more=False, total=0))) == ()


async def test_a_page_that_repeats_ends_the_list():
    """A server that ignores the offset would be asked for ever."""
    caller = FakeCaller(lambda request: page("ab", offset=offset_of(request), more=True))
    with pytest.raises(ProtocolError, match="gives the page at 2 twice") as caught:
        await list_tags(caller)
    assert len(caller.asked) == 2
    assert (caught.value.service, caught.value.code) == (SERVICE, "list")


async def test_pages_without_end_are_not_read_for_ever(monkeypatch):
    monkeypatch.setattr(listing, "MOST_PAGES", 4)
    caller = FakeCaller(lambda request: page([offset_of(request)], offset=offset_of(request), more=True))
    with pytest.raises(ProtocolError, match="more than 4 pages"):
        await list_tags(caller)
    assert len(caller.asked) == 4


async def test_a_list_that_comes_whole():
    body = '[{"id":"WlGk4Daj","name":"项目一"}]'.encode()
    caller = FakeCaller(lambda _: Reply(Head(200, {}), body))
    (one,) = await list_whole(caller, lists.ask_cdp_projects(BASE), lists.read_cdp_projects)
    assert (one.key, one.name) == ("WlGk4Daj", "项目一")


# GrowingIO CDP ------------------------------------------------------------------------------------------


@pytest.fixture
async def cdp():
    """A client of an emulated CDP that has more tags than a page."""
    settings = Settings(cdp=CDPSettings(tags=2500, segments=3))
    async with (
        Emulator(settings) as emulator,
        GrowingIOCDP(token=emulator.token, base_url=emulator.base_url) as client,
    ):
        yield client, emulator


async def test_thousands_of_tags_of_the_emulated_cdp(cdp):
    client, emulator = cdp
    found = await client.list_tags()
    assert len({one.key for one in found}) == len(found) == 2500
    assert [one.target.rpartition("=")[2] for one in emulator.seen] == ["0", "1000", "2000"]
    for one in found[:5]:
        assert client.tag_users(one.key).kind == one.kind


async def test_the_other_lists_of_the_emulated_cdp(cdp):
    client, _ = cdp
    projects = await client.list_projects()
    assert len(projects) == 2
    segments = await client.list_segments(projects[0].key)
    assert len(segments) == 3
    tags = await client.list_tags(project=projects[0].key)
    assert 0 < len(tags) < 2500
    assert {one.kind for one in (*tags, *segments)} == {"growingio-cdp-tag", "growingio-cdp-segment"}


async def test_a_list_of_what_is_unknown_or_not_for_the_token_is_asked_for_once(cdp):
    client, emulator = cdp
    for work in (client.list_segments("Unknown1"), client.list_tags(project="Unknown1")):
        emulator.seen.clear()
        with pytest.raises(RefusedError, match="unknown, or not for this token") as caught:
            await work
        assert (caught.value.code, caught.value.retryable, caught.value.service) == (500, False, SERVICE)
        assert "check project and space" in caught.value.hint
        assert len(emulator.seen) == 1
