import asyncio
import json
import time

import pytest

from tagferry.emulator import Emulator, Settings, TencentSettings
from tagferry.emulator.tencent_codes import TEXTS
from tagferry.emulator.wire import Reply
from tests.emulator.raw import ask
from tests.emulator.tencent import GET_TAG, call, code_of, codes_of_many, entries_of

pytestmark = pytest.mark.anyio
PEOPLE = {"Ab": ["x"], "cd": ["y"], "ef": []}
TENCENT = TencentSettings(people=PEOPLE, reorder=False, quota_per_second=1000)


@pytest.fixture
async def emu():
    async with Emulator(Settings(tencent=TENCENT)) as emulator:
        yield emulator
        assert emulator.faults.all_used


@pytest.mark.parametrize("code", [*TEXTS, 99999, 0])
async def test_every_code_on_demand(emu, code):
    emu.faults.add(GET_TAG, f"code={code}")
    answer = await call(emu, PEOPLE)
    told = answer.json()
    assert (answer.status, told["ActionStatus"], told["ErrorCode"]) == (200, "FAIL", code)
    assert told["ErrorInfo"] == TEXTS.get(code, "")
    # The gateway writes the code first, the service behind it last.
    assert list(told).index("ErrorCode") == (2 if code >= 90000 else 1)
    assert await code_of(emu, PEOPLE) == 0


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("drop=1", ["cd", "ef"]),
        ("drop=9", []),
        ("double=1", ["Ab", "cd", "ef", "Ab"]),
        ("foreign=2", ["Ab", "cd", "ef", "foreign-0", "foreign-1"]),
        ("other-case", ["aB", "CD", "EF"]),
        ("drop=2 & double=1", ["ef", "ef"]),
        ("pass", ["Ab", "cd", "ef"]),
    ],
)
async def test_wrong_accounts(emu, fault, names):
    emu.faults.add(GET_TAG, fault)
    told = (await call(emu, PEOPLE)).json()
    assert [entry["To_Account"] for entry in told["UserTags"]] == names
    assert list(await entries_of(emu, PEOPLE)) == list(PEOPLE)


async def test_other_case_keeps_escapes_whole(emu):
    account = 'a"\n\u00e9\\u\x01'
    assert await entries_of(emu, [account])
    emu.faults.add(GET_TAG, "other-case")
    assert list(await entries_of(emu, [account])) == ['A"\n\u00c9\\U\x01']


async def test_null_user_tags(emu):
    emu.faults.add(GET_TAG, "null-tags")
    assert (await call(emu, PEOPLE)).body == (
        b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":null}'
    )


async def test_truncated(emu):
    whole = (await call(emu, PEOPLE)).body
    emu.faults.add(GET_TAG, "short@40")
    answer = await call(emu, PEOPLE)
    assert (answer.headers["Content-Length"], answer.body, answer.end) == ("40", whole[:40], "fin")
    emu.faults.add(GET_TAG, "cut@40")
    answer = await call(emu, PEOPLE)
    assert (answer.headers["Content-Length"], answer.body) == (str(len(whole)), whole[:40])
    emu.faults.add(GET_TAG, "reset@0")
    answer = await call(emu, PEOPLE)
    assert (answer.status, answer.body, answer.end) == (200, b"", "rst")


async def test_pages_of_a_gateway(emu):
    emu.faults.add(GET_TAG, "status=502")
    answer = await call(emu, PEOPLE)
    assert (answer.status, answer.headers["Content-Type"]) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in answer.body
    emu.faults.add(GET_TAG, "status=503 retry-after=2")
    answer = await call(emu, PEOPLE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    emu.faults.add(GET_TAG, "status=204")
    assert (await call(emu, PEOPLE)).body == b""
    emu.faults.add(GET_TAG, "html")
    answer = await call(emu, PEOPLE)
    assert (answer.status, answer.body[:9]) == (200, b"<!DOCTYPE")
    emu.faults.add(GET_TAG, 'body={"ActionStatus":"OK","ErrorCode":91000}')
    assert (await call(emu, PEOPLE)).body == b'{"ActionStatus":"OK","ErrorCode":91000}'
    emu.faults.add(GET_TAG, "close")
    answer = await call(emu, PEOPLE)
    assert (answer.status, answer.end) == (0, "fin")
    emu.faults.add(GET_TAG, "header=Content-Type: application/json")
    assert (await call(emu, PEOPLE)).headers["Content-Type"] == "application/json"


async def test_a_fault_for_one_application(emu):
    emu.faults.add(f"{GET_TAG}:1400000000", "code=91000")
    emu.faults.add(f"{GET_TAG}:1400000001", "code=90995")
    assert [await code_of(emu, PEOPLE) for _ in range(2)] == [91000, 0]
    emu.faults.clear()


async def test_a_refused_call_takes_no_fault():
    async with Emulator(Settings(tencent=TencentSettings(quota_per_second=1))) as emu:
        emu.faults.add(GET_TAG, "code=91000 x2")
        assert await codes_of_many(emu, 3) == [91000, 60007, 60007]
        assert await code_of(emu, usersig="xxx") == 60007
        assert not emu.faults.all_used


@pytest.mark.parametrize(
    ("operation", "fault", "message"),
    [
        (GET_TAG, "no-etag", "no-etag is a fault of download"),
        (GET_TAG, "code", "code is written code=N"),
        (GET_TAG, "drop=-1", "not negative"),
        ("growingio-saas.poll", "code=60007", "code is a fault of get-tag"),
        ("tencent-im.other", "close", "unknown operation"),
    ],
)
async def test_what_cannot_be_ordered(emu, operation, fault, message):
    with pytest.raises(ValueError, match=message):
        emu.faults.add(operation, fault)


async def test_slow_answers(emu):
    emu.faults.add(GET_TAG, "delay=0.2")
    begun = time.monotonic()
    assert await code_of(emu, PEOPLE) == 0
    assert time.monotonic() - begun >= 0.2


async def test_answers_held_and_released_at_once(emu):
    emu.faults.add(GET_TAG, "hold=0.3")
    begun = time.monotonic()

    async def ended(**changes):
        await call(emu, PEOPLE, **changes)
        return time.monotonic() - begun

    first = asyncio.create_task(ended())
    while not emu.seen.of(GET_TAG):
        await asyncio.sleep(0.005)
    assert (await ask(emu.base_url, "/_emulator/healthz")).status == 200
    emu.faults.add(GET_TAG, "status=502")
    others = [asyncio.create_task(ended(**changes)) for changes in ({}, {}, {"usersig": "xxx"})]
    times = await asyncio.gather(first, *others)
    assert min(times) >= 0.3
    assert [seen.status for seen in emu.seen.of(GET_TAG)].count(502) == 1
    assert (await call(emu, PEOPLE)).status == 200


def test_jitter_is_the_same_in_every_run():
    def delays(**changes):
        emulator = Emulator(Settings(**changes))
        return [emulator._delay(Reply(status=200, delay=1.0)).delay for _ in range(100)]

    assert delays() == [1.0] * 100
    assert delays(latency=0.5) == [1.5] * 100
    late = delays(latency=0.05, jitter=0.02)
    assert late == delays(latency=0.05, jitter=0.02) != delays(latency=0.05, jitter=0.02, seed=2)
    assert min(late) >= 1.03
    assert max(late) <= 1.07
    assert len(set(late)) > 90
    # It can only be late.
    assert min(delays(latency=0.01, jitter=5.0)) == 1.0
    with pytest.raises(ValueError, match="jitter must not be negative"):
        Settings(jitter=-0.1)


async def test_ordered_from_outside(emu):
    order = json.dumps({"operation": GET_TAG, "fault": "code=60018 x2"}).encode()
    assert (await ask(emu.base_url, "/_emulator/faults", method="POST", body=order)).status == 201
    assert [await code_of(emu, PEOPLE) for _ in range(3)] == [60018, 60018, 0]
