"""The client of GrowingIO CDP, end to end: jobs that are made once, and their files."""

import asyncio
import base64
import contextlib
import gc
import gzip
import hashlib
import json
import math
import random
import socket
import ssl
import weakref
from collections import Counter
from dataclasses import replace

import aiohttp
import msgspec
import pytest
import trustme

import tagferry
from tagferry import (
    AuthError,
    ConfigError,
    DeadlineError,
    DiskError,
    ExportDone,
    ExportFailed,
    GrowingIOCDP,
    JobFailedError,
    RefusedError,
    SubmitUnknownError,
    TagferryError,
    ThrottledError,
    UnavailableError,
    download_all,
)
from tagferry.emulator import Emulator
from tagferry.emulator.wire import json_reply
from tagferry.events import PartSaved, Polled, Resumed, Retrying, Submitted, Throttled, UnknownStatus
from tagferry.exports import delivery, workplace
from tagferry.exports import export as export_module
from tagferry.exports.record import Submission
from tagferry.wire import transport
from tests.exports.cdp_world import (
    DOWNLOAD,
    FAST,
    POLL,
    PROJECT,
    SPACE,
    SUBMIT,
    TAG,
    TOKEN,
    fast,
    hasten,
    open_cdp,
)
from tests.standing import assert_no_secret
from tests.wire.raw import always, reply, serve, serve_tls

pytestmark = pytest.mark.anyio

BASE = "http://127.0.0.1:1"
UNKNOWN = Submission()


@pytest.fixture
async def cdp(tmp_path):
    async with open_cdp(tmp_path) as world:
        yield world


# The constructor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"token": ""}, "token"),
        ({"token": " \n"}, "token"),
        ({"token": "a\r\nb"}, "token"),
        ({"token": None}, "token"),
        ({"base_url": "cdp.example.com"}, "base URL"),
        ({"base_url": "ftp://h"}, "base URL"),
        ({"base_url": "https://user:CANARY-pw@h"}, "base URL"),
        ({"base_url": None}, "base URL"),
        ({"download_url": "files"}, "base URL"),
        ({"download_url": "http://user:CANARY-pw@h"}, "base URL"),
        ({"scheme": "CANARY token"}, "scheme"),
        ({"scheme": "Bearer:"}, "scheme"),
        ({"scheme": None}, "scheme"),
        ({"language": "DE"}, "language"),
        ({"language": ""}, "language"),
        ({"rate": "0/s"}, "rate"),
        ({"rate": 5}, "rate"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"max_jobs": -1}, "max_jobs"),
        ({"max_jobs": 1.5}, "max_jobs"),
        ({"max_jobs": True}, "max_jobs"),
        ({"max_jobs": "5"}, "max_jobs"),
        ({"max_jobs": None}, "max_jobs"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"proxy": "socks5://h:1"}, "proxy"),
        ({"proxy": "http://user:CANARY-pw@"}, "proxy"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_to_do_before_anything_is_opened(settings, says):
    with pytest.raises(ConfigError) as caught:
        GrowingIOCDP(**{"token": "token", "base_url": BASE} | settings)
    assert says in str(caught.value)
    assert caught.value.hint
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_url": "https://cdp.example.com/growing/"},
        {"download_url": "https://files.example.com"},
        {"scheme": ""},
        {"scheme": "Token", "language": "US"},
        {"rate": "50/s", "max_jobs": 1, "timeout": 1, "stall_timeout": 0.5, "retries": 0},
        {"proxy": "http://user:pw@proxy.example.com:3128"},
    ],
)
def test_a_good_value_is_taken_and_making_a_client_opens_nothing(settings):
    GrowingIOCDP(**{"token": "token", "base_url": BASE} | settings)


def test_every_argument_is_keyword_only_and_two_are_needed():
    for wrong in (
        lambda: GrowingIOCDP(BASE, token="t"),
        lambda: GrowingIOCDP(token="t"),
        lambda: GrowingIOCDP(base_url=BASE),
    ):
        with pytest.raises(TypeError):
            wrong()


async def test_a_client_that_is_never_entered_leaves_nothing_behind():
    client = GrowingIOCDP(token="token", base_url=BASE)
    client.tag_users(TAG)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("act", ["submit", "wait", "download", "attached"])
async def test_a_client_that_is_not_open_says_how_to_open_it_and_writes_nothing_down(act, tmp_path):
    async with Emulator(FAST) as emulator:
        client = GrowingIOCDP(token=TOKEN, base_url=emulator.base_url)
        tag = client.tag_users(TAG)
        acts = {
            "submit": tag.submit,
            "wait": tag.wait,
            "download": lambda: tag.download(tmp_path),
            "attached": client.attach("j1", tag).wait,
        }
        with pytest.raises(ConfigError, match=r"async with tagferry\.GrowingIOCDP"):
            await acts[act]()
        async with client:
            pass
        with pytest.raises(ConfigError, match="not open"):
            await acts[act]()
        assert len(emulator.seen) == 0
        assert list(tmp_path.iterdir()) == []


async def test_a_client_may_be_opened_again_and_made_outside_of_a_loop():
    async with Emulator(FAST) as emulator:
        made = await asyncio.to_thread(
            lambda: GrowingIOCDP(token=TOKEN, base_url=emulator.base_url, rate="10000/s", max_jobs=2)
        )
        for number in range(2):
            async with hasten(made) as client:
                tags = [client.tag_users(f"tag_0{number}00{n}") for n in range(4, 8)]
                assert all(ready.links for ready in await asyncio.gather(*(tag.wait() for tag in tags)))


# What is sent -----------------------------------------------------------------------------------------


async def test_an_export_is_a_description_and_sends_nothing(cdp):
    keys = ["id_$basic_userId", "usr_gender"]
    tag = cdp.tag(properties=keys)
    assert tag == cdp.tag(properties=keys)
    others = [
        cdp.tag(),
        cdp.tag(properties=keys[:1]),
        cdp.tag(properties=keys, file_format="json"),
        cdp.tag(properties=keys, csv_header="name"),
        cdp.tag(properties=keys, project=PROJECT),
        cdp.tag(properties=keys, project=PROJECT, space=SPACE),
        cdp.client.attach("j1", tag),
    ]
    assert tag not in others
    assert len({tag, *others}) == 8
    # What is left of one of them is not taken up for another, but an attached one is the same export.
    assert len({one.digest for one in (tag, *others)}) == 7
    assert (tag.service, tag.kind, tag.id) == ("growingio-cdp", "growingio-cdp-tag", TAG)
    assert repr(tag) == "Export(growingio-cdp-tag tag_rfm)"
    assert len(cdp.emulator.seen) == 0


SCOPES = [
    ("growingio-cdp-tag", {}, "/v1/api/user_tags/tag_rfm", "/v1/api"),
    (
        "growingio-cdp-tag",
        {"project": PROJECT},
        f"/v1/api/projects/{PROJECT}/user_tags/tag_rfm",
        "/v1/api",
    ),
    (
        "growingio-cdp-tag",
        {"project": PROJECT, "space": SPACE},
        f"/v1/api/projects/{PROJECT}/spaces/{SPACE}/user_tags/tag_rfm",
        f"/v1/api/projects/{PROJECT}",
    ),
    (
        "growingio-cdp-segment",
        {"project": PROJECT},
        f"/v1/api/projects/{PROJECT}/segment_profiles/seg_51activity",
        "/v1/api",
    ),
    (
        "growingio-cdp-segment",
        {"project": PROJECT, "space": SPACE},
        f"/v1/api/projects/{PROJECT}/spaces/{SPACE}/segment_profiles/seg_51activity",
        f"/v1/api/projects/{PROJECT}",
    ),
]


@pytest.mark.parametrize(("kind", "scope", "path", "below"), SCOPES)
async def test_the_documented_requests_and_whole_files_in_every_scope(cdp, kind, scope, path, below):
    key = "tag_rfm" if kind.endswith("tag") else "seg_51activity"
    describe = cdp.client.tag_users if kind.endswith("tag") else cdp.client.segment_users
    export = describe(key, properties=["ids_$basic_userId", "usr_gender", "tag_rfm"], **scope)
    files = await export.download(cdp.out)
    parameters = ("ids_$basic_userId", "usr_gender", "tag_rfm")
    cdp.check(files, cdp.source(key, *parameters, kind=kind, place="/".join(scope.values())))
    assert files[0].path.name == "-".join([kind, *scope.values(), key]) + ".csv"
    (submit,), (poll,) = cdp.emulator.seen.of(SUBMIT), cdp.emulator.seen.of(POLL)
    (job,) = cdp.emulator.cdp.jobs
    assert (submit.method, submit.target) == ("POST", f"{path}/export_jobs")
    assert (poll.method, poll.target) == ("GET", f"{below}/job/result/{job}")
    assert submit.values("Content-Type") == ["application/json"]
    for seen in (submit, poll):
        assert seen.values("Authorization") == [f"Bearer {TOKEN}"]
        assert seen.values("language") == []
    assert list(cdp.out.iterdir()) == [files[0].path]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"file_format": "json"}, ("fileFormat=json",)),
        ({"csv_header": "name", "properties": ["usr_gender"]}, ("usr_gender", "csvHeaderType=name")),
        ({"properties": [f"usr_a{n}" for n in range(60)]}, tuple(f"usr_a{n}" for n in range(60))),
    ],
)
async def test_the_options_of_a_job(cdp, options, parameters):
    cdp.check(await cdp.tag(**options).download(cdp.out), cdp.source(TAG, *parameters))


async def test_scheme_and_language_of_old_and_of_english_servers(tmp_path):
    async with open_cdp(tmp_path, fast(scheme="Token"), scheme="Token", language="US") as world:
        await world.tag(csv_header="name", properties=["usr_gender"]).download(world.out)
        for seen in world.emulator.seen.of(SUBMIT) + world.emulator.seen.of(POLL):
            assert seen.values("Authorization") == [f"Token {TOKEN}"]
            assert seen.values("language") == ["US"]
        for seen in world.emulator.seen.of(DOWNLOAD):
            assert seen.values("language") == []
    async with open_cdp(tmp_path / "bare", fast(scheme=""), scheme="") as world:
        world.check_tag(await world.tag().download(world.out))
        assert world.emulator.seen.of(SUBMIT)[0].values("Authorization") == [TOKEN]


@pytest.mark.parametrize(("header", "languages"), [("name", ["CH", "US"]), ("key", ["CH"])])
async def test_a_file_with_names_is_not_taken_up_in_another_language(tmp_path, header, languages):
    wish = {"csv_header": header, "properties": ["usr_gender"]}
    async with open_cdp(tmp_path, retries=0, language="CH") as world:
        world.order("cut@300 x2", operation=DOWNLOAD)
        with pytest.raises(UnavailableError):
            await world.tag(**wish).download(world.out)
        async with world.client_of(language="US") as english:
            files = await english.tag_users(TAG, **wish).download(world.out)
        parameters = ["csvHeaderType=name", "language=US"] if header == "name" else []
        world.check(files, world.source(TAG, "usr_gender", *parameters))
        assert len(world.jobs()) == len(languages)
        assert len(world.of(Resumed)) == (header == "key")


async def test_what_was_begun_by_one_process_is_the_same_export_in_another(cdp):
    export = cdp.client.tag_users("a", properties=["usr_a"], csv_header="name")
    facts = [
        "growingio-cdp-tag",
        "POST",
        f"{cdp.emulator.base_url}/v1/api/user_tags/a/export_jobs",
        [["Content-Type", "application/json"]],
        base64.b64encode(b'{"properties":["usr_a"],"fileFormat":"csv","csvHeaderType":"name"}').decode(),
    ]
    text = json.dumps(facts, separators=(",", ":"))
    assert export.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda c: c.tag_users("会员 等级"),
        lambda c: c.tag_users(""),
        lambda c: c.tag_users(TAG, properties="usr_gender"),
        lambda c: c.tag_users(TAG, properties=[f"usr_{n}" for n in range(61)]),
        lambda c: c.tag_users(TAG, properties=["a", "a"]),
        lambda c: c.tag_users(TAG, file_format="parquet"),
        lambda c: c.tag_users(TAG, csv_header="none"),
        lambda c: c.tag_users(TAG, space=SPACE),
        lambda c: c.tag_users(TAG, project="a/b"),
        lambda c: c.segment_users("seg", project=""),
        lambda c: c.segment_users("seg", project=None),
        lambda c: c.attach("", c.tag_users(TAG)),
        lambda c: c.attach("..", c.tag_users(TAG)),
        lambda c: c.attach("a b", c.tag_users(TAG)),
        lambda c: c.attach(None, c.tag_users(TAG)),
    ],
)
def test_what_the_service_cannot_take_is_refused_before_anything_is_sent(wrong):
    with pytest.raises(ConfigError) as caught:
        wrong(GrowingIOCDP(token="token", base_url=BASE))
    assert caught.value.hint


async def test_an_export_of_another_client_cannot_be_attached_to(cdp):
    async with cdp.client_of() as other:
        with pytest.raises(ConfigError, match="another client"):
            cdp.client.attach("j1", other.tag_users(TAG))


# Jobs in Python ---------------------------------------------------------------------------------------


async def test_a_job_is_submitted_noted_and_attached_to_by_another_process(cdp):
    job = await cdp.tag().submit()
    assert [job.id] == cdp.jobs()
    assert cdp.of(Submitted) == [Submitted(kind="growingio-cdp-tag", id=TAG, job_id=job.id)]
    async with cdp.client_of() as other:
        export = other.attach(job.id, other.tag_users(TAG))
        assert (await export.submit()).id == job.id
        ready = await export.wait()
        assert ready.job_id == job.id
        assert len(ready.links) == 1
        assert TOKEN not in repr(ready)
        assert "download" not in repr(ready)
        cdp.check_tag(await export.download(cdp.out))
    assert cdp.requests(SUBMIT) == 1


async def test_submit_wait_and_download_of_one_client_are_of_one_job(cdp):
    tag = cdp.tag()
    first, second = await tag.submit(), await tag.submit()
    ready = await cdp.tag().wait()
    assert {first.id, second.id, ready.job_id} == set(cdp.jobs())
    cdp.check_tag(await tag.download(cdp.out))
    assert cdp.requests(SUBMIT) == 1
    # Its files are there: whoever asks again wants fresh ones.
    cdp.check_tag(await tag.download(cdp.out, if_exists="replace"))
    assert len(cdp.jobs()) == 2


async def test_equal_exports_at_the_same_time_are_one_job(tmp_path):
    async with open_cdp(tmp_path, replace(FAST, job_seconds=10.0, latency=0.01)) as world:
        downloads = [world.tag().download(tmp_path / f"out{n}") for n in range(5)]
        waits = [world.tag().wait() for _ in range(5)]
        found = await asyncio.gather(*downloads, *waits)
        for files in found[:5]:
            world.check(files, world.source())
        assert {ready.job_id for ready in found[5:]} == set(world.jobs())
        assert world.requests(SUBMIT) == 1


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("way", ["download_all", "download", "wait"])
async def test_no_more_jobs_are_under_way_than_are_allowed(tmp_path, most, way):
    async with open_cdp(tmp_path, replace(FAST, job_seconds=2.0), max_jobs=most) as world:
        tags = world.tags(8)
        if way == "download_all":
            async with download_all(tags, world.out) as outcomes:
                assert [type(outcome) async for outcome in outcomes] == [ExportDone] * 8
        elif way == "download":
            await asyncio.gather(*(tag.download(world.out) for tag in tags))
        else:
            await asyncio.gather(*(tag.wait() for tag in tags))
        running, most_seen = 0, 0
        for event in world.events:
            running += isinstance(event, Submitted)
            most_seen = max(most_seen, running)
            if way == "wait":
                running -= isinstance(event, Polled) and event.state == "done"
            else:
                running -= isinstance(event, PartSaved)
        assert (running, most_seen) == (0, most)


async def test_the_deadline_covers_the_making_of_the_job(tmp_path):
    async with open_cdp(tmp_path) as world:
        world.order("delay=2.8")
        with pytest.raises(DeadlineError, match="was not done within 2 s"):
            await world.tag().download(world.out, deadline=2)
        # The answer was on its way, and was waited for.
        assert world.submission() == Submission(world.jobs()[0])
        world.check_tag(await world.tag().download(world.out))
        assert world.requests(SUBMIT) == 1


# Lost answers -----------------------------------------------------------------------------------------


def break_gateway(world, status):
    """Let a gateway answer in the service's place, which does what it is told; return what mends it."""
    real = world.emulator.cdp.answer

    def answer(request, plan):
        reply = real(request, plan)
        return json_reply(status, "<html>Bad Gateway</html>") if request.method == "POST" else reply

    world.emulator.cdp.answer = answer
    return lambda: setattr(world.emulator.cdp, "answer", real)


LOST = {
    # What goes wrong with the answer, and how many jobs there are then.
    "closed": ("lost", 1),
    "reset": ("reset@0", 1),
    "cut body": ("cut@5", 1),
    "reset body": ("reset@5", 1),
    "time-out": ("delay=3600", 1),
    "time-out in the body": ("stall@5", 1),
    "a dripping head": ("drip-head every=0.2", 1),
    "a gateway in front, 502": (502, 1),
    "a gateway in front, 504": (504, 1),
    "a gateway in front, 503": (503, 1),
    "a gateway in front, 408": (408, 1),
    "closed before it was read": ("close", 0),
    "502": ("status=502", 0),
    "503 without a word when to come back": ("status=503", 0),
    "500 with a page": ("status=500", 0),
    "no id": ('body={"name":"DES-1"}', 0),
    "an id that is none": ('body={"id":{},"name":"DES-1"}', 0),
    "null": ("body=null", 0),
    "nothing": ("status=204", 0),
    "a page": ("html", 0),
    "junk": ("body=\x00", 0),
    "too much": ('body={"x":"' + "y" * 9_000_000 + '"}', 0),
}


async def test_a_server_that_closes_idle_connections_as_the_submission_comes_makes_the_job(tmp_path):
    async def act(writer, number):
        if number == 0:
            writer.write(reply(b'{"id":"j1"}' if raw.lines[-1].startswith(b"POST") else b"[]"))
        else:
            writer.close()

    async with serve(act) as raw, GrowingIOCDP(base_url=raw.url, token=TOKEN) as client:
        for number in range(3):
            await client.list_projects()
            job = await client.tag_users(f"tag_{number}").submit()
            assert job.id == "j1"
    # A list finds out, and is asked for again.
    assert [line.partition(b" ")[0] for line in raw.lines] == [b"GET", b"POST"] + [
        b"GET",
        b"GET",
        b"POST",
    ] * 2
    assert raw.connections == 6


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("settle", ["attach", "anew"])
async def test_a_lost_answer_is_never_followed_by_a_second_job_of_itself(tmp_path, case, settle):
    fault, made = LOST[case]
    async with open_cdp(tmp_path, timeout=0.4) as world:
        mend = break_gateway(world, fault) if isinstance(fault, int) else lambda: None
        if not isinstance(fault, int):
            world.order(fault)
        with pytest.raises(SubmitUnknownError) as caught:
            await world.tag().download(world.out)
        mend()
        assert "whether growingio-cdp has begun to export tag tag_rfm is not known" in str(caught.value)
        assert "--job ID (attach)" in caught.value.hint
        assert not caught.value.retryable
        assert (world.requests(SUBMIT), len(world.jobs())) == (1, made)
        assert world.submission() == UNKNOWN
        assert world.of(Retrying) == []
        # Each later run says so again, this process's and others', and asks nobody.
        before = len(world.emulator.seen)
        async with world.client_of() as client:
            for one in (world.client, client, client):
                with pytest.raises(SubmitUnknownError, match="since an earlier run") as again:
                    await one.tag_users(TAG).download(world.out)
                assert "--no-resume" in again.value.hint
            assert len(world.emulator.seen) == before
            tag = client.tag_users(TAG)
            if settle == "anew":
                world.check_tag(await tag.download(world.out, resume=False))
                assert len(world.jobs()) == made + 1
            else:
                job = world.jobs()[0] if made else (await tag.submit()).id
                world.check_tag(await client.attach(job, tag).download(world.out))
                assert len(world.jobs()) == 1


async def test_a_lost_answer_takes_no_other_export_down(cdp):
    cdp.order("lost", operation=f"{SUBMIT}:tag_00005")
    async with download_all(cdp.tags(5), cdp.out) as outcomes:
        found = [outcome async for outcome in outcomes]
    (failed,) = (one for one in found if isinstance(one, ExportFailed))
    assert (failed.export.id, type(failed.error)) == ("tag_00005", SubmitUnknownError)
    async with download_all(cdp.tags(5), cdp.out, if_exists="skip") as outcomes:
        found = [outcome async for outcome in outcomes]
    assert Counter(type(one) for one in found) == {ExportDone: 4, ExportFailed: 1}
    assert set(cdp.emulator.cdp.made.values()) == {1}


async def test_submit_says_that_nobody_knows_and_who_asks_again_makes_another_one(cdp):
    cdp.order("lost")
    with pytest.raises(SubmitUnknownError) as caught:
        await cdp.tag().submit()
    assert "attach to it, or submit anew" in caught.value.hint
    assert len(cdp.jobs()) == 1
    assert (await cdp.tag().submit()).id == cdp.jobs()[1]


# Failures of which it is known that no job was made ------------------------------------------------------


@pytest.mark.parametrize("fault", ["status=429", "status=429 retry-after=1", "status=503 retry-after=1"])
async def test_a_server_that_says_too_fast_is_asked_again(tmp_path, fault):
    async with open_cdp(tmp_path, replace(FAST, rows=5)) as world:
        world.order(fault)
        world.check_tag(await world.tag().download(world.out))
        assert (world.requests(SUBMIT), len(world.jobs())) == (2, 1)
        assert len(world.of(Throttled)) == len(world.of(Retrying)) == 1


async def test_a_server_that_says_too_fast_for_ever_has_made_nothing(tmp_path):
    async with open_cdp(tmp_path, retries=2) as world:
        world.order("status=429 x*")
        with pytest.raises(ThrottledError):
            await world.tag().download(world.out)
        assert world.requests(SUBMIT) == 3
        assert list(world.out.iterdir()) == []
        world.emulator.faults.clear()
        world.check_tag(await world.tag().download(world.out))


async def test_a_port_that_is_closed_for_a_while_is_asked_again_and_one_job_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed, events = asyncio.Event(), []

    def listen(event):
        events.append(event)
        if isinstance(event, Retrying):
            failed.set()

    client = GrowingIOCDP(token=TOKEN, base_url=f"http://127.0.0.1:{port}", rate="1000/s", on_event=listen)
    async with hasten(client, retries=10_000):
        downloading = asyncio.create_task(client.tag_users(TAG).download(tmp_path))
        await failed.wait()
        # Killed now, nobody would have to ask whether there is a job.
        async with Emulator(replace(FAST, port=port)) as emulator:
            (file,) = await downloading
            assert file.path.read_bytes() == emulator.source("growingio-cdp-tag", "", TAG).bytes()
            assert list(emulator.cdp.made.values()) == [1]
    assert {event.error.code for event in events if isinstance(event, Retrying)} == {"connect"}


async def test_while_a_retry_waits_nothing_is_in_the_air(tmp_path):
    async with open_cdp(tmp_path) as world:
        noted = []
        real = world.client._caller.backoff.clock

        class Clock:
            now, unix = real.now, real.unix

            async def sleep(self, seconds):
                noted.append(await asyncio.to_thread(world.submission))
                await real.sleep(0)

        caller = world.client._caller
        backoff = msgspec.structs.replace(caller.backoff, clock=Clock())
        world.client._jobs.caller = msgspec.structs.replace(caller, backoff=backoff)
        world.order("status=429", "status=503 retry-after=0")
        with contextlib.suppress(SubmitUnknownError):
            await world.tag().download(world.out)
        assert noted
        assert set(noted) == {None}


class Lost(aiohttp.TCPConnector):
    """Never gets a connection."""

    async def _create_connection(self, *_):
        await asyncio.sleep(3600)


@pytest.mark.parametrize("timeout", [0.05, 0.5, 4.9, 5.0, 5.1, 6.0, 6.5, 10.0, 30.0, 300.0])
def test_a_connection_has_a_little_less_time_than_a_request(timeout):
    connect = transport._connect_within(timeout)
    assert 0.8 * timeout < connect < timeout
    # Rounded up to a whole second, as aiohttp does from 5 s on, it still ends before.
    for now in (0.0, 0.3, 0.999):
        ends = now + connect if connect <= 5 else math.ceil(now + connect)
        assert ends < (now + timeout if timeout < 5 else math.ceil(now + timeout)) or timeout - connect < 0.01


async def test_a_connection_that_is_never_made_has_sent_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "_connect_within", lambda _: 0.1)
    async with aiohttp.ClientSession(connector=Lost()) as session:
        client = GrowingIOCDP(token=TOKEN, base_url=BASE, session=session)
        async with hasten(client, retries=2):
            with pytest.raises(UnavailableError, match="time-out after") as caught:
                await client.tag_users(TAG).download(tmp_path)
    assert caught.value.code == "connect"
    assert list(tmp_path.iterdir()) == []


async def test_a_name_that_nobody_knows_has_sent_nothing(tmp_path):
    class Nowhere(aiohttp.abc.AbstractResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            raise OSError(None, "nobody knows that name")

        async def close(self):
            pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere())) as session:
        client = GrowingIOCDP(token=TOKEN, base_url="http://cdp.invalid", session=session)
        async with hasten(client, retries=2):
            with pytest.raises(UnavailableError, match="cannot be resolved") as caught:
                await client.tag_users(TAG).download(tmp_path)
    assert caught.value.code == "connect"
    assert list(tmp_path.iterdir()) == []


async def test_an_untrusted_certificate_has_sent_nothing_and_is_not_asked_again(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serve_tls(context, reply()) as raw:
        async with hasten(GrowingIOCDP(token=TOKEN, base_url=raw.url)) as client:
            with pytest.raises(RefusedError, match="no trusted TLS connection") as caught:
                await client.tag_users(TAG).download(tmp_path)
        assert raw.heads == []
        assert raw.connections == 1
    assert caught.value.code == "tls"
    assert list(tmp_path.iterdir()) == []


async def test_a_proxy_that_connects_nobody_has_passed_nothing_on(tmp_path):
    async with serve(always(reply(b"", "502 Bad Gateway"))) as proxy:
        client = GrowingIOCDP(token=TOKEN, base_url="https://cdp.invalid", proxy=proxy.url)
        async with hasten(client, retries=2):
            with pytest.raises(UnavailableError, match="the proxy answered 502") as caught:
                await client.tag_users(TAG).download(tmp_path)
        assert [line.split()[0] for line in proxy.lines] == [b"CONNECT"] * 3
    assert caught.value.code == "connect"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", ["session", "client"])
async def test_what_is_closed_meanwhile_has_sent_nothing(tmp_path, closed):
    async with Emulator(FAST) as emulator, aiohttp.ClientSession() as session:
        client = GrowingIOCDP(token=TOKEN, base_url=emulator.base_url, session=session, rate="1/2s")
        async with client:
            first = await client.tag_users("tag_example_api").submit()
            assert first.id
            # The next one has to wait for its turn.
            task = asyncio.create_task(client.tag_users(TAG).download(tmp_path))
            await asyncio.sleep(0.1)
            await (session.close() if closed == "session" else client.__aexit__(None, None, None))
            with pytest.raises(ConfigError):
                await task
        assert len(emulator.cdp.jobs) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("status=400", RefusedError, "answered 400"),
        ("status=401", AuthError, "answered 401"),
        ("status=403", AuthError, "answered 403"),
        ("status=404", RefusedError, "answered 404"),
        ("status=413", RefusedError, "answered 413"),
        ("redirect=/elsewhere", tagferry.ProtocolError, "answered 302"),
        ('body={"message":"最大查询60个"}', RefusedError, "最大查询60个"),
        ("body=Internal Server Error & pass", SubmitUnknownError, "without a job id"),
    ],
)
async def test_a_refusal_is_told_and_leaves_nothing(cdp, fault, error, says):
    cdp.order(fault)
    with pytest.raises(error, match=says) as caught:
        await cdp.tag().download(cdp.out)
    assert caught.value.hint or caught.value.code in {400, 413}
    assert cdp.requests(SUBMIT) == 1
    if error is not SubmitUnknownError:
        assert list(cdp.out.iterdir()) == []
        cdp.check_tag(await cdp.tag().download(cdp.out))


@pytest.mark.parametrize("scope", [{}, {"project": PROJECT}, {"project": "nowhere0"}])
async def test_an_unknown_or_unauthorised_key_is_refused_and_says_so(cdp, scope):
    with pytest.raises(RefusedError, match="unknown or unauthorised key") as caught:
        await cdp.tag("tag_nobody", **scope).download(cdp.out)
    assert caught.value.code == 500
    assert "tagferry list" in caught.value.hint
    assert cdp.requests(SUBMIT) == 1
    assert list(cdp.out.iterdir()) == []


# Credentials ------------------------------------------------------------------------------------------


async def test_a_refused_submission_of_a_provider_is_made_with_its_next_token(tmp_path):
    tokens = iter(["CANARY-revoked", TOKEN])

    async def provide():
        return next(tokens)

    async with open_cdp(tmp_path, token=provide) as world:
        world.check_tag(await world.tag().download(world.out))
        sent = [one.values("Authorization") for one in world.emulator.seen.of(SUBMIT)]
        assert sent == [["Bearer CANARY-revoked"], [f"Bearer {TOKEN}"]]
        assert len(world.jobs()) == 1


async def test_a_provider_that_fails_has_sent_nothing(tmp_path):
    async def provide():
        raise OSError("vault is sealed")

    async with open_cdp(tmp_path, token=provide) as world:
        with pytest.raises(AuthError, match="OSError in its provider"):
            await world.tag().download(world.out)
        assert list(world.out.iterdir()) == []


FAULTS = [
    (SUBMIT, "pass"),
    (SUBMIT, "lost"),
    (SUBMIT, "status=401"),
    (SUBMIT, "status=500"),
    (SUBMIT, "status=502"),
    (SUBMIT, "html"),
    (POLL, "status=401"),
    (POLL, "status=404"),
    (POLL, "failed=no such thing"),
    (POLL, "cut@3"),
    (POLL, "html x9"),
    (DOWNLOAD, "cut@300"),
    (DOWNLOAD, "status=401"),
    (DOWNLOAD, "status=403"),
    (DOWNLOAD, "status=404 x2"),
    (DOWNLOAD, "status=405"),
    (DOWNLOAD, "close x9"),
    (DOWNLOAD, "reset@100 x9"),
    (DOWNLOAD, "html x9"),
]


@pytest.mark.parametrize(("operation", "fault"), FAULTS)
async def test_a_token_is_nowhere_to_be_seen_whatever_goes_wrong(
    tmp_path, canary, logs, capsys, operation, fault
):
    errors = []
    settings = replace(fast(download_token=True), token=canary)
    async with open_cdp(tmp_path, settings, retries=1) as world:
        world.order(fault, operation=operation)
        tag = world.tag()
        for _ in range(2):
            try:
                await tag.download(world.out, if_exists="replace")
            except TagferryError as error:
                errors.append(error)
        assert world.emulator.seen.of(SUBMIT)[0].values("Authorization") == [f"Bearer {canary}"]
        world.emulator.faults.clear()
        job = await world.tag("tag_example_api").submit()
        ready = await world.client.attach(job.id, world.tag("tag_example_api")).wait()
        assert_no_secret(
            canary, *errors, world.client, tag, job, ready, *world.events, logs=logs, capsys=capsys
        )
        for path in world.out.iterdir():
            assert canary.encode() not in path.read_bytes()
            assert canary not in path.name
    assert errors or fault in {"pass", "cut@3", "cut@300"}


# Results ----------------------------------------------------------------------------------------------


async def test_all_stages_and_unknown_words_which_are_told_once(cdp):
    words = [
        "NONE",
        "READY",
        "RUNNING",
        "DATA_READY",
        "Preparing",
        "PREPARING",
        "Preparing",
        "running",
        "排队",
    ]
    cdp.order(*(f"status-word={word}" for word in words), operation=POLL)
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert [event.word for event in cdp.of(UnknownStatus)] == ["Preparing", "PREPARING", "排队"]
    assert [event.state for event in cdp.of(Polled)] == ["running"] * len(words) + ["done"]


@pytest.mark.parametrize("word", ["finish", "FINISHED", "Success"])
async def test_words_for_the_end_in_any_spelling(cdp, word):
    uri = "%2Fjobs%2Fresults%2Fx.csv"
    cdp.order(f'body={{"stage":"{word}","uris":["{uri}","{uri}",null,""]}}', operation=POLL)
    assert (await cdp.tag().wait()).links == (f"{cdp.emulator.base_url}/download?file={uri}",)


async def test_a_new_job_may_be_unknown_to_the_service_for_a_while(tmp_path):
    async with open_cdp(tmp_path, fast(null_seconds=5.0)) as world:
        world.check_tag(await world.tag().download(world.out))
        assert world.requests(SUBMIT) == 1


async def test_a_job_that_the_service_forgot_is_given_up_after_twenty_looks_and_made_anew(cdp):
    cdp.order("status-word=RUNNING", "body=null x20", operation=POLL)
    with pytest.raises(JobFailedError, match="knows nothing of the job") as caught:
        await cdp.tag().download(cdp.out)
    assert "again" in caught.value.hint
    assert cdp.requests(POLL) == 21
    assert list(cdp.out.iterdir()) == []
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert len(cdp.jobs()) == 2


@pytest.mark.parametrize("word", ["ERROR", "failed"])
@pytest.mark.parametrize(
    "reason", ["", ',"error":{"code":"E1","message":"磁盘已满"}', ',"message":"磁盘已满"']
)
async def test_a_job_that_failed_is_told_with_its_reason_and_the_next_run_makes_another_one(
    cdp, word, reason
):
    cdp.order(f'body={{"stage":"{word}","uris":null{reason}}}', operation=POLL)
    with pytest.raises(JobFailedError, match="磁盘已满" if reason else "no reason given"):
        await cdp.tag().download(cdp.out)
    assert list(cdp.out.iterdir()) == []
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert len(cdp.jobs()) == 2


@pytest.mark.parametrize("status", [404, 410])
async def test_a_job_that_is_gone_is_forgotten(cdp, status):
    cdp.order(f"status={status} x2", operation=POLL)
    with pytest.raises(RefusedError) as caught:
        await cdp.tag().download(cdp.out)
    assert caught.value.code == status
    assert list(cdp.out.iterdir()) == []
    cdp.emulator.faults.clear()
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert len(cdp.jobs()) == 2


@pytest.mark.parametrize("fault", ["status=400", "status=403", "status=500 x*", "html x*", "close x*"])
async def test_a_result_that_cannot_be_had_keeps_the_job(tmp_path, fault):
    async with open_cdp(tmp_path, retries=1) as world:
        world.order(fault, operation=POLL)
        with pytest.raises(TagferryError):
            await world.tag().download(world.out)
        world.emulator.faults.clear()
        assert world.submission() == Submission(world.jobs()[0])
        async with world.client_of() as client:
            world.check_tag(await client.tag_users(TAG).download(world.out))
        assert world.requests(SUBMIT) == 1


async def test_an_outage_of_the_results_in_the_middle_is_waited_out(cdp):
    cdp.order(
        "status-word=RUNNING", "status=500 x5", "close x5", "cut@3 x3", "reset@0 x3", "html", operation=POLL
    )
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert cdp.requests(SUBMIT) == 1


async def test_done_without_files_is_believed_at_the_third_look(cdp):
    cdp.order("no-links x2", operation=POLL)
    cdp.check_tag(await cdp.tag().download(cdp.out))
    cdp.order("no-links x3", operation=POLL)
    assert await cdp.tag("tag_example_api").download(cdp.out) == ()
    assert len(list(cdp.out.iterdir())) == 1
    assert (await cdp.tag("tag_example_api").wait()).job_id == cdp.jobs("tag_example_api")[1]


# Where results are told -------------------------------------------------------------------------------

FORMS = [
    # What the server knows, the scope, how many polls are in vain: of a job, and of the next one.
    ("plain", {"project": PROJECT}, 0),
    ("project", {"project": PROJECT}, 1),
    ("plain", {"project": PROJECT, "space": SPACE}, 1),
    ("project", {"project": PROJECT, "space": SPACE}, 0),
    ("both", {"project": PROJECT}, 0),
    ("both", {"project": PROJECT, "space": SPACE}, 0),
]


@pytest.mark.parametrize(("known", "scope", "vain"), FORMS)
async def test_the_form_of_the_path_that_the_server_knows_is_found_once_and_remembered(
    tmp_path, known, scope, vain
):
    async with open_cdp(tmp_path, replace(fast(result_path=known), job_seconds=3.0)) as world:
        for key in ("tag_00004", "tag_00005", "tag_00007"):
            await world.tag(key, **scope).download(world.out)
        statuses = [seen.status for seen in world.emulator.seen.of(POLL)]
        assert statuses.count(404) == vain
        assert statuses[:vain] == [404] * vain


async def test_what_was_found_for_one_scope_helps_the_others_and_jobs_at_once_do_not_confuse_it(tmp_path):
    async with open_cdp(
        tmp_path, replace(fast(result_path="project"), job_seconds=3.0, latency=0.01)
    ) as world:
        scopes = [{"project": PROJECT}, {"project": PROJECT, "space": SPACE}, {"project": "nR8mK2vX"}]
        keys = [f"tag_{n:05d}" for n in range(4, 40) if n % 3]
        tags = [world.tag(key, **scopes[n % 3]) for n, key in enumerate(keys)]
        await asyncio.gather(*(tag.wait() for tag in tags))
        at_once = [seen.status for seen in world.emulator.seen.of(POLL)].count(404)
        # Of those that were asked for together, each may find out for itself.
        assert 1 <= at_once <= len(tags)
        world.emulator.seen.clear()
        await asyncio.gather(*(tag.wait() for tag in tags))
        assert [seen for seen in world.emulator.seen.of(POLL) if seen.status != 200] == []


@pytest.mark.parametrize("second", ["status=404", "status=401", "status=403", "status=400"])
async def test_a_job_that_neither_form_knows_is_told_by_the_first(cdp, second):
    cdp.order("status=404", second, operation=POLL)
    with pytest.raises(RefusedError) as caught:
        await cdp.tag(project=PROJECT).wait()
    assert caught.value.code == 404
    # Nothing was learned.
    cdp.order("status=404", operation=POLL)
    assert (await cdp.tag(project=PROJECT).wait()).links
    targets = [seen.target.rpartition("/")[0] for seen in cdp.emulator.seen.of(POLL)]
    assert targets == ["/v1/api/job/result", f"/v1/api/projects/{PROJECT}/job/result"] * 2


async def test_an_outage_of_the_second_form_is_waited_out(tmp_path):
    async with open_cdp(tmp_path, fast(result_path="project")) as world:
        world.order("pass", "status=500 x3", operation=POLL)
        assert (await world.tag(project=PROJECT).wait()).links


# Records ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", ["id", "unknown"])
async def test_a_damaged_record_may_hold_a_job_so_nothing_is_sent(tmp_path, found):
    async with open_cdp(tmp_path) as world:
        world.order(*(["lost"] if found == "unknown" else []))
        world.order("status=400", operation=POLL)
        with pytest.raises(TagferryError):
            await world.tag().download(world.out)
        (record,) = world.out.glob("*.part.json")
        record.write_bytes(record.read_bytes()[:60])
        async with world.client_of() as client:
            tag = client.tag_users(TAG)
            for _ in range(2):
                with pytest.raises(
                    DiskError, match="a job that was asked for may be written in it"
                ) as caught:
                    await tag.download(world.out)
                assert "--no-resume" in caught.value.hint
            assert world.requests(SUBMIT) == 1
            world.emulator.faults.clear()
            world.check_tag(await tag.download(world.out, resume=False))
        assert len(world.jobs()) == 2


async def test_a_job_whose_id_cannot_be_written_down_is_told_by_its_id(cdp, monkeypatch):
    real = workplace.Workplace.note_submission

    def note(place, submission):
        if submission is not None and submission.job_id is not None:
            raise DiskError("cannot write the record", code="ENOSPC")
        real(place, submission)

    monkeypatch.setattr(workplace.Workplace, "note_submission", note)
    with pytest.raises(DiskError) as caught:
        await cdp.tag().download(cdp.out)
    (job,) = cdp.jobs()
    assert f"--job {job}" in caught.value.hint
    assert cdp.submission() == UNKNOWN
    monkeypatch.undo()
    # This client knows it.
    cdp.check_tag(await cdp.tag().download(cdp.out))
    assert cdp.requests(SUBMIT) == 1


@pytest.mark.parametrize("if_exists", ["error", "skip", "replace"])
async def test_what_another_process_finished_since_it_was_looked_for_costs_no_job(
    cdp, monkeypatch, if_exists
):
    """Two runs overlap: the second one gets the lock when the first has just ended."""
    real = delivery.check_targets

    def check(*args):
        found = real(*args)
        cdp.out.mkdir()
        (cdp.out / "growingio-cdp-tag-tag_rfm.csv").write_bytes(b"of another run")
        return found

    monkeypatch.setattr(export_module, "check_targets", check)
    if if_exists == "replace":
        cdp.check_tag(await cdp.tag().download(cdp.out, if_exists=if_exists))
        return
    if if_exists == "skip":
        (file,) = await cdp.tag().download(cdp.out, if_exists=if_exists)
        assert file.path.read_bytes() == b"of another run"
    else:
        with pytest.raises(DiskError, match="came into being in the meantime"):
            await cdp.tag().download(cdp.out)
    assert cdp.requests(SUBMIT) == 0
    assert len(list(cdp.out.iterdir())) == 1


# Three hundred ----------------------------------------------------------------------------------------


def draw_faults(dice):
    """What goes wrong on the way of one export; none of it loses the answer to a submission."""
    submit = ["status=429", "status=429 retry-after=0", "delay=0.02", "pass"]
    poll = [
        "status=500",
        "status=429",
        "status=503",
        "close",
        "cut@4",
        "reset@0",
        "body=null",
        "html",
        "status-word=RUNNING",
        "status-word=Preparing",
        "drip-head every=0.001",
        "delay=0.02",
        "no-links",
        "status=401",
    ]
    download = [
        f"cut@{dice.randrange(1, 800)}",
        f"reset@{dice.randrange(1, 800)}",
        f"drip@{dice.randrange(1, 800)} bytes=100 every=0.002",
        f"stall@{dice.randrange(1, 800)} for=0.05",
        "status=500",
        "status=429",
        "close",
        "html",
        "chunked",
        "gzip",
        "no-length",
        "weak-etag & cut@200",
        "status=404",
        'body={"message":"busy"}',
        "status=401",
    ]
    return {
        SUBMIT: dice.sample(submit, 1),
        POLL: ["status-word=RUNNING", *dice.sample(poll, 3)],
        DOWNLOAD: dice.sample(download, 3),
    }


async def run_many(tmp_path, count, seed):
    dice = random.Random(seed)
    provided = []

    async def provide():
        """Another token for each that is refused on the way."""
        provided.append(tokens[len(provided) % len(tokens)])
        return provided[-1]

    tokens = [TOKEN, *(f"CANARY-other-{n}" for n in range(3))]
    settings = replace(FAST, job_seconds=1.0, other_tokens=tuple(tokens[1:]))
    async with open_cdp(tmp_path, settings, token=provide, retries=30) as world:
        tags = world.tags(count)
        for tag in tags:
            for operation, faults in draw_faults(dice).items():
                for fault in faults:
                    world.order(fault, operation=f"{operation}:{tag.id}")
        # Everybody waits for these.
        for tag in tags[::100]:
            world.order("status=503 retry-after=1", operation=f"{SUBMIT}:{tag.id}")
        async with download_all(tags, world.out, concurrency=16) as outcomes:
            found = {outcome.export.id: outcome async for outcome in outcomes}
        for tag in tags:
            outcome = found[tag.id]
            assert isinstance(outcome, ExportDone), outcome
            (source,) = world.emulator.sources(tag.kind, "", tag.id)
            (file,) = outcome.files
            body = file.path.read_bytes()
            if body[:2] == b"\x1f\x8b":
                body = gzip.decompress(body)
            assert hashlib.sha256(body).hexdigest() == source.sha256, tag.id
        assert len(found) == count
        assert len(list(world.out.iterdir())) == count
        assert len(world.emulator.cdp.made) == count
        assert set(world.emulator.cdp.made.values()) == {1}
        assert len(provided) > 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("count", [80, pytest.param(300, marks=pytest.mark.soak)])
def test_hundreds_of_exports_with_faults_on_the_way_are_whole_and_each_job_is_made_once(tmp_path, count):
    # On a loop of its own: the debug mode of the others takes minutes for so many.
    asyncio.run(run_many(tmp_path, count, seed=20261124))
