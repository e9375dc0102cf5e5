import asyncio
import json
import re
import time

import pytest

from tagferry.emulator import Emulator, Settings
from tests.emulator.raw import SEGMENT, TAG, ask, download, links, poll

pytestmark = pytest.mark.anyio
ONCE = 1e-6
"""How long a job takes that is `doing` at the first question only."""
FAST = Settings(job_seconds=ONCE, quota_per_second=1000, other_tokens=("second-token",))


def fast(**changes):
    return Emulator(Settings(**{"job_seconds": ONCE, "quota_per_second": 1000, **changes}))


async def test_the_documented_payloads_byte_for_byte():
    async with fast() as emu:
        doing = (await poll(emu)).body.decode()
        assert re.sub(r'"id":"[^"]+"', '"id":"random-id"', doing) == '{"id":"random-id","status":"doing"}'
        done = (await poll(emu)).body.decode()
        link = json.loads(done)["downloadLinks"][0]
        assert re.sub(r'"id":"[^"]+"', '"id":"random-id"', done) == (
            f'{{"id":"random-id","status":"done","downloadLinks":["{link}"],"errorMsg":""}}'
        )
        failed = (await poll(emu, f"{TAG}?expire=10081")).body.decode()
        assert re.sub(r'"id":"[^"]+"', '"id":"random-id"', failed) == (
            '{"id":"random-id","status":"failed","downloadLinks":[],"errorMsg":"过期时间应小于7天"}'
        )
        denied = await poll(emu, token="Bearer emulator-token")
        assert (denied.status, denied.body) == (401, b'{"message":"Unauthorized","errors":[]}')


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "wrong"}, {"Authorization": "Token emulator-token"}]
)
async def test_only_the_bare_token_is_accepted(headers):
    async with fast() as emu:
        assert (await ask(emu.base_url, TAG, headers)).status == 401
        twice = {"Authorization": emu.token, "authorization": emu.token}
        assert (await ask(emu.base_url, TAG, twice)).status == 401
        both = {"Authorization": emu.token, "X-Client-Id": "public-key"}
        assert (await ask(emu.base_url, TAG, both)).status == 200


async def test_only_get():
    async with fast() as emu:
        answer = await ask(emu.base_url, TAG, {"Authorization": emu.token}, method="POST", body=b"{}")
        assert answer.status == 405


async def test_a_job_takes_its_time():
    async with fast(job_seconds=20.0, time_scale=0.01) as emu:
        begun = time.monotonic()
        assert (await poll(emu)).json()["status"] == "doing"
        await links(emu)
        assert 0.2 <= time.monotonic() - begun < 2.0


async def test_a_job_that_takes_no_time_is_done_at_the_first_question():
    async with fast(job_seconds=0.0) as emu:
        answer = (await poll(emu)).json()
        assert (answer["status"], len(answer["downloadLinks"])) == ("done", 1)


async def test_jobs_are_keyed_on_the_request():
    async with Emulator(FAST) as emu:
        requests = [
            (TAG, None),
            (TAG, "second-token"),
            (SEGMENT, None),
            (f"{SEGMENT}?parameters=open_id,role", None),
            (f"{SEGMENT}?parameters=role,open_id", None),
            (TAG.replace("nxog09md", "nxog09me"), None),
        ]
        for state in ("doing", "done"):
            answers = [(await poll(emu, target, token)).json() for target, token in requests]
            assert {answer["status"] for answer in answers} == {state}
        assert len({answer["downloadLinks"][0] for answer in answers}) == len(requests)
        # Neither another expiry nor another spelling of the comma makes another job.
        assert (await poll(emu, f"{TAG}?expire=60")).json()["downloadLinks"] == answers[0]["downloadLinks"]
        same = await poll(emu, f"{SEGMENT}?parameters=open_id%2Crole")
        assert same.json()["downloadLinks"] == answers[3]["downloadLinks"]


async def test_columns_follow_the_parameters():
    async with fast(rows=3) as emu:
        for query, header in (("", b"user_id\n"), ("?parameters=open_id,role", b"user_id,open_id,role\n")):
            (target,) = await links(emu, SEGMENT + query)
            assert (await download(emu, target)).body.startswith(header)
        names = ["open_id", "role"]
        assert (await download(emu, target)).body == emu.source(
            "growingio-segment", "nxog09md", "nP2lpkX9", names
        ).bytes()


async def test_a_live_link_is_kept_and_not_prolonged():
    async with fast(time_scale=0.004) as emu:
        (first,) = await links(emu, f"{TAG}?expire=1")
        ends = time.monotonic() + 0.24
        while time.monotonic() < ends - 0.1:
            assert await links(emu, f"{TAG}?expire=10080") == [first]
            await asyncio.sleep(0.02)
        assert (await download(emu, first)).status == 200
        await asyncio.sleep(ends - time.monotonic())
        assert (await download(emu, first)).status == 403
        (second,) = await links(emu)
        assert second != first
        assert (await download(emu, second)).status == 200


async def test_links_live_five_minutes_by_default():
    async with fast() as emu:
        (target,) = await links(emu)
        left = int(target.rpartition("=")[2]) / 1000 - time.time()
        assert 295 < left <= 300


async def test_a_lapsed_export_may_run_again():
    async with fast(restart_lapsed=True) as emu:
        first = await links(emu)
        emu.expire_links()
        assert (await poll(emu)).json()["status"] == "doing"
        assert await links(emu) != first


@pytest.mark.parametrize("repeat_header", [True, False])
async def test_parts(repeat_header):
    async with fast(parts=3, repeat_header=repeat_header, rows=100) as emu:
        targets = await links(emu)
        assert [target.partition("?")[0][-10:] for target in targets] == [
            "-00000.csv",
            "-00001.csv",
            "-00002.csv",
        ]
        bodies = [(await download(emu, target)).body for target in targets]
        assert bodies == [file.bytes() for file in emu.sources("growingio-tag", "nxog09md", "5rREn4PL")]
        assert [body.startswith(b"user_id") for body in bodies] == [True, repeat_header, repeat_header]


@pytest.mark.parametrize(
    ("target", "status", "why"),
    [
        (f"{TAG}?expire=0", 400, "expire is not a number of minutes: 0"),
        (f"{TAG}?expire=soon", 400, "expire is not a number of minutes: soon"),
        (f"{TAG}?expire=-5", 400, "expire is not a number of minutes: -5"),
        (f"{TAG}?expire=", 400, "expire is not a number"),
        (f"{TAG}?expire=5&expire=6", 400, "expire is unknown here or repeated"),
        (f"{TAG}?parameters=role", 400, "parameters is unknown here"),
        (f"{SEGMENT}?param=role", 400, "param is unknown here"),
        (f"{SEGMENT}?parameters=", 400, "请求参数不合法"),
        (f"{SEGMENT}?parameters=role,", 400, "请求参数不合法，role,"),
        (f"{SEGMENT}?parameters=a%20b", 400, "请求参数不合法，a b"),
        (TAG.replace("5rREn4PL", "5rREn4P"), 404, "id is not 8 letters and digits: 5rREn4P"),
        (TAG.replace("nxog09md", "nxog-9md"), 404, "project_uid is not 8 letters and digits"),
        ("/v3/exporter/projects/nxog09md/tags/5rREn4PL", 404, "Not Found"),
    ],
)
async def test_what_the_service_refuses(target, status, why):
    async with fast() as emu:
        answer = await poll(emu, target)
        assert answer.status == status
        assert why in answer.json()["message"]
        assert not emu.services[0].exports()


async def test_seven_days():
    async with fast() as emu:
        assert (await poll(emu, f"{TAG}?expire=10080")).json()["status"] == "doing"
    async with fast(seven_days_refused=True) as emu:
        assert (await poll(emu, f"{TAG}?expire=10080")).json()["errorMsg"] == "过期时间应小于7天"
        assert (await poll(emu, f"{TAG}?expire=10079")).json()["status"] == "doing"


async def test_known_exports():
    async with fast(known_exports=frozenset({"5rREn4PL"})) as emu:
        assert (await poll(emu)).status == 200
        answer = await poll(emu, SEGMENT)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "not_found")


async def test_each_exporter_and_token_has_a_quota_of_its_own():
    async with Emulator(Settings(other_tokens=("second-token",))) as emu:
        for target, token in ((TAG, None), (SEGMENT, None), (TAG, "second-token")):
            answers = [await poll(emu, target, token) for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].json()["message"] == "at most 2 requests a second of growingio-tag"
        assert (emu.refused, emu.max_in_any_second) == (3, 3)
        assert emu.quotas()["growingio-tag"] == {"arrivals": 6, "refused": 2, "max_in_any_second": 3}
        await asyncio.sleep(1.01)
        assert (await poll(emu)).status == 200


SEGMENTS = "/projects/nxog09md/segmentations.json"
VARIABLES = "/v1/api/projects/nxog09md/vars/"


async def test_the_documented_lists():
    async with fast(documented_lists=True) as emu:
        segments = (await poll(emu, SEGMENTS)).json()
        assert [segment["userType"] for segment in segments] == ["u", "cs1"]
        for users in ("peoples", "visitors"):
            (variable,) = (await poll(emu, VARIABLES + users)).json()
            assert variable["key"] == "ml02"
        assert (await ask(emu.base_url, SEGMENTS)).status == 401


async def test_every_listed_segment_can_be_exported_and_has_the_rows_that_are_listed():
    async with fast(segments=7, rows=5, rows_by_export={"nP2lpkX9": 3}) as emu:
        segments = (await poll(emu, SEGMENTS)).json()
        assert len({segment["id"] for segment in segments}) == 7
        assert {"u", "cs1"} == {segment["userType"] for segment in segments}
        assert [segment["userNum"] for segment in segments] == [3] + [5] * 6
        for segment in segments:
            (target,) = await links(emu, SEGMENT.replace("nP2lpkX9", segment["id"]))
            lines = (await download(emu, target)).body.count(b"\n")
            assert lines >= 1 + segment["userNum"]
        other = (await poll(emu, SEGMENTS.replace("nxog09md", "nxog09me"))).json()
        assert other != segments
        assert (await poll(emu, SEGMENTS)).json() == segments


async def test_known_exports_are_what_is_listed():
    async with fast(known_exports=frozenset({"5rREn4PL", "nP2lpkX9"})) as emu:
        assert [one["id"] for one in (await poll(emu, SEGMENTS)).json()] == ["5rREn4PL", "nP2lpkX9"]
    async with fast(segments=0) as emu:
        assert (await poll(emu, SEGMENTS)).body == b"[]"


async def test_variables_of_the_two_sorts_of_users():
    async with fast() as emu:
        login = (await poll(emu, f"{VARIABLES}peoples")).json()
        visitor = (await poll(emu, f"{VARIABLES}visitors")).json()
        assert {"open_id", "role"} <= {one["key"] for one in login}
        assert {one["projectId"] for one in login + visitor} == {"nxog09md"}
        assert all({"attribution", "valueType"} <= one.keys() for one in login)
        assert not any("attribution" in one for one in visitor)
        keys = ",".join(one["key"] for one in login + visitor)
        assert (await poll(emu, f"{SEGMENT}?parameters={keys}")).status == 200
        assert (await poll(emu, f"{VARIABLES}all")).status == 404


async def test_the_lists_have_quotas_of_their_own():
    async with Emulator(Settings()) as emu:
        answers = [await poll(emu, SEGMENTS) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert {(await poll(emu, f"{VARIABLES}peoples")).status for _ in range(10)} == {200}
        assert (await poll(emu, f"{VARIABLES}visitors")).status == 429
        assert emu.quotas()["growingio-variables"] == {
            "arrivals": 11,
            "refused": 1,
            "max_in_any_second": 11,
        }
