import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.emulator import (
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Emulator,
    Settings,
    TencentSettings,
    serve_in_thread,
    tags_of,
)
from tagferry.emulator.faults import Plan
from tagferry.emulator.service import Export
from tagferry.emulator.tencent_answer import Answerer, FailureError, read_accounts
from tagferry.emulator.tencent_codes import TEXTS, write_failure
from tests.emulator.raw import ask, exchange, read, request
from tests.emulator.tencent import PATHS, body_of, call, code_of, codes_of_many, entries_of, sign, target

pytestmark = pytest.mark.anyio
SECOND_APP = 20000001
APPS = {DEMO_SDKAPPID: (DEMO_SECRET_KEY, ("administrator", "管理员01")), SECOND_APP: ("k2", ["admin"])}


def service(time_scale=1.0, **changes):
    return Emulator(Settings(time_scale=time_scale, tencent=TencentSettings(**changes)))


async def test_the_documented_payloads_byte_for_byte():
    people = {"u001": ("vip", "beta"), "u002": ("vip",)}
    async with service(people=people, reorder=False) as emu:
        answer = await call(emu, ["u001", "u002"])
        assert answer.body == (
            b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":[{"To_Account":"u001","Tags":'
            b'["vip","beta"]},{"To_Account":"u002","Tags":["vip"]}]}'
        )
        assert (await call(emu, body=b"{")).body == (
            b'{"ActionStatus":"FAIL","ErrorInfo":"Fail to Parse json data of body, Please check it",'
            b'"ErrorCode":90001}'
        )
        assert (await call(emu, ["poison"])).body == (
            b'{"ActionStatus":"FAIL","ErrorInfo":"invalid To_Account","ErrorCode":90012}'
        )
        assert (await call(emu, random="x")).body == (
            b'{"ActionStatus":"FAIL","ErrorCode":60002,"ErrorInfo":"HTTP parse Error"}'
        )
        assert (await call(emu, [1])).body == (
            b'{"ActionStatus":"FAIL","ErrorCode":60015,"ErrorInfo":"body account invalid"}'
        )
    people = {"u001": ("黄金会员",), "u002": ("月卡",)}
    async with service(people=people, reorder=False) as emu:
        answer = await call(emu, ["u001", "u002", "ghost"], service="timpush")
        assert answer.body.decode() == (
            '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":[{"To_Account":"u001","Tags":'
            '["黄金会员"]},{"To_Account":"u002","Tags":["月卡"]}],"ErrorList":[{"ErrorCode":70107,'
            '"To_Account":"ghost"}]}'
        )
    assert write_failure(60008) == (
        b'{"ActionStatus":"FAIL","ErrorCode":60008,"ErrorInfo":"service timeout or request format error,'
        b'please check and try again"}'
    )
    assert write_failure(70032) == b'{"ActionStatus":"FAIL","ErrorCode":70032,"ErrorInfo":""}'


async def test_the_head_of_an_answer():
    async with service() as emu:
        answer = await call(emu)
        assert "Content-Type" not in answer.headers
        assert int(answer.headers["Content-Length"]) == len(answer.body)
    async with service(content_type="text/plain") as emu:
        assert (await call(emu)).headers["Content-Type"] == "text/plain"


async def test_connections_are_kept():
    async with service() as emu:
        one = request(target(), method="POST", body=body_of(["u001"]), close=False)
        last = request(target(), method="POST", body=body_of(["u002"]))
        raw, end = await exchange(emu.base_url, one * 3 + last)
        assert (raw.count(b"HTTP/1.1 200"), raw.count(b"Connection: keep-alive"), end) == (4, 3, "fin")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"random": 0}, 0),
        ({"random": 4294967296}, 60002),
        ({"random": -1}, 60002),
        ({"random": "1.5"}, 60002),
        ({"random": ""}, 60002),
        ({"random": None}, 60002),
        ({"method": "GET"}, 60002),
        ({"method": "PUT"}, 60002),
        ({"extra": "1"}, 60002),
        ({"SdkAppId": "1"}, 60002),
        ({"service": "/v4/all_member_push/get_tag"}, 60009),
        ({"service": "/v4/nothing"}, 60009),
        ({"sdkappid": None}, 60012),
        ({"sdkappid": ""}, 60012),
        ({"sdkappid": "abc"}, 60025),
        ({"sdkappid": "9" * 30}, 60025),
        ({"sdkappid": 1400000001}, 70020),
        ({"identifier": None}, 60025),
        ({"contenttype": None}, 60025),
        ({"contenttype": "JSON"}, 60025),
        ({"usersig": None}, 70002),
        ({"usersig": ""}, 70002),
        ({"usersig": "xxx"}, 70003),
        ({"usersig": sign(identifier="someone")}, 70013),
        ({"identifier": "Administrator"}, 70013),
        ({"usersig": sign(sdkappid=SECOND_APP)}, 70014),
        ({"sdkappid": SECOND_APP}, 70014),
        ({"usersig": sign(made=1000)}, 70001),
        ({"usersig": sign(key="another")}, 70009),
        ({"usersig": sign(identifier="user"), "identifier": "user"}, 60010),
        ({"usersig": sign(identifier="管理员01"), "identifier": "管理员01"}, 0),
        ({"body": b""}, 60003),
        ({"body": b"{}"}, 90003),
        ({"body": b"[]"}, 90010),
        ({"body": b'"To_Account"'}, 90010),
        ({"body": b'{"To_Account":["a"]'}, 90001),
        ({"body": b'\xef\xbb\xbf{"To_Account":["a"]}'}, 90001),
        ({"body": '{"To_Account":["é"]}'.encode("latin-1")}, 90001),
        ({"body": '{"To_Account":["a"]}'.encode("utf-16")}, 90001),
        ({"body": b'{"To_Account":["\\ud800"]}'}, 90001),
        ({"body": b'{"To_Account":' + b"[" * 100_000}, 90001),
        ({"body": b'{"To_Account":"a"}'}, 90028),
        ({"body": b'{"To_Account":null}'}, 90028),
        ({"body": b'{"To_Account":[]}'}, 90029),
        ({"accounts": ["a", 1]}, 60015),
        ({"accounts": ["a", None]}, 60015),
        ({"accounts": [1] * 101}, 60015),
        ({"accounts": ["a", ""]}, 90012),
        ({"accounts": [f"u{number}" for number in range(100)]}, 0),
        ({"accounts": [f"u{number}" for number in range(101)]}, 90018),
    ],
)
async def test_what_is_refused(changes, code):
    async with service(applications=APPS) as emu:
        assert await code_of(emu, **changes) == code
        assert code in TEXTS or code == 0


async def test_what_cannot_be_read_as_a_url():
    async with service() as emu:
        good = target()
        bad = ["&random=1", "&x", "&%zz=1", "&"]
        for one in [
            *(good + end for end in bad),
            good.replace("identifier=a", "identifier=%zz"),
            good.replace("identifier=a", "identifier=%ff"),
        ]:
            answer = await ask(emu.base_url, one, method="POST", body=body_of(["a"]))
            assert answer.json()["ErrorCode"] == 60002
        bare = await ask(emu.base_url, PATHS["timpush"], method="POST", body=body_of(["a"]))
        assert bare.json()["ErrorCode"] == 60012


async def test_a_star_may_be_escaped_or_not():
    async with service() as emu:
        usersig = next(text for text in (sign(expire=600 + n) for n in range(1000)) if "*" in text)
        escaped = target(usersig=usersig)
        assert "%2A" in escaped
        for one in (escaped, escaped.replace("%2A", "*")):
            answer = await ask(emu.base_url, one, method="POST", body=body_of(["a"]))
            assert answer.json()["ErrorCode"] == 0


async def test_the_code_for_no_administrator_is_a_setting():
    async with service(not_admin_code=90009) as emu:
        assert await code_of(emu, usersig=sign(identifier="user"), identifier="user") == 90009


async def test_the_hundred_and_first_call_of_a_second_is_refused():
    async with service() as emu:
        codes = await codes_of_many(emu, 130)
        assert codes == [0] * 100 + [60007] * 30
        assert (emu.refused, emu.max_in_any_second) == (30, 130)
        assert emu.quotas()["all_member_push/im_get_tag"]["arrivals"] == 130
        # Another command has another quota.
        assert await code_of(emu, service="timpush") == 0
        await asyncio.sleep(1.01)
        assert await code_of(emu) == 0


async def test_each_application_has_a_quota_of_its_own():
    async with service(applications=APPS, quota_per_second=2) as emu:
        second = {
            "sdkappid": SECOND_APP,
            "identifier": "admin",
            "usersig": sign(sdkappid=SECOND_APP, identifier="admin", key="k2"),
        }
        assert await codes_of_many(emu, 3) == [0, 0, 60007]
        assert await codes_of_many(emu, 3, **second) == [0, 0, 60007]


async def test_every_call_that_names_an_application_counts():
    async with service(quota_per_second=4) as emu:
        for changes in ({"usersig": "xxx"}, {"contenttype": "x"}, {"method": "GET"}, {"body": b""}):
            assert await code_of(emu, **changes) != 60007
        assert await code_of(emu) == 60007


async def test_the_refusal_is_a_setting():
    async with service(quota_per_second=1, throttle_code=60019, throttle_status=429) as emu:
        assert (await call(emu)).status == 200
        answer = await call(emu)
        assert (answer.status, answer.json()["ErrorCode"]) == (429, 60019)


async def test_too_many_bad_signatures_block_an_application_for_a_minute():
    async with service(time_scale=0.02, quota_per_second=1000, applications=APPS) as emu:
        bad = sign(key="wrong")
        assert await codes_of_many(emu, 21, usersig=bad) == [70009] * 20 + [70050]
        assert await codes_of_many(emu, 2) == [70050] * 2
        second = sign(sdkappid=SECOND_APP, identifier="admin", key="k2")
        assert await code_of(emu, sdkappid=SECOND_APP, identifier="admin", usersig=second) == 0
        await asyncio.sleep(1.21)
        assert await code_of(emu) == 0


async def test_expired_signatures_block_nobody():
    async with service(bad_signatures=1) as emu:
        assert await codes_of_many(emu, 30, usersig=sign(made=1000)) == [70001] * 30
        assert await code_of(emu, usersig="xxx") == 70003
        assert await code_of(emu, usersig="xxx") == 70050


async def test_a_kick_makes_void_what_was_signed_before():
    async with service(applications=APPS) as emu:
        now = int(time.time())
        seen, old = sign(made=now), sign(made=now - 10)
        second = sign(sdkappid=SECOND_APP, identifier="admin", key="k2")
        others = {"sdkappid": SECOND_APP, "identifier": "admin", "usersig": second}
        assert [await code_of(emu, usersig=one) for one in (seen, old)] == [0, 0]
        assert await code_of(emu, **others) == 0
        emu.tencent.kick(DEMO_SDKAPPID)
        assert [await code_of(emu, usersig=one) for one in (seen, old)] == [70052] * 2
        assert await code_of(emu, usersig=sign(made=int(time.time()), expire=900)) == 0
        assert await code_of(emu, usersig=sign(made=now - 20)) == 70052
        assert await code_of(emu, **others) == 0
        answer = await ask(emu.base_url, "/_emulator/tencent/kick", method="POST")
        assert answer.status == 204
        assert await code_of(emu, **others) == 70052
    async with service(kicked_code=70001) as emu:
        usersig = sign()
        assert await code_of(emu, usersig=usersig) == 0
        emu.tencent.kick()
        assert await code_of(emu, usersig=usersig) == 70001


async def test_a_kick_of_nobody():
    async with service() as emu:
        for body in (b'{"sdkappid":1}', b"[]", b"{", b'{"sdkappid":[]}'):
            answer = await ask(emu.base_url, "/_emulator/tencent/kick", method="POST", body=body)
            assert answer.status == 400
            assert answer.json()["message"]
        with pytest.raises(ValueError, match="no application 1"):
            emu.tencent.kick(1)


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [("absent", {}), ("empty", {"ghost": []}), ("null", {"ghost": None}), ("errorlist", {})],
)
async def test_how_unknown_accounts_look(unknown, expected):
    async with service(unknown=unknown, people={"a": ["x"]}) as emu:
        told = (await call(emu, ["a", "ghost"])).json()
        assert {one["To_Account"]: one["Tags"] for one in told["UserTags"]} == {"a": ["x"], **expected}
        errors = [{"ErrorCode": 70107, "To_Account": "ghost"}]
        assert told.get("ErrorList") == (errors if unknown == "errorlist" else None)
        assert (await call(emu, ["ghost"], service="timpush")).json()["ErrorList"] == errors


async def test_an_unknown_account_may_fail_the_call():
    async with service(unknown="fail") as emu:
        assert await code_of(emu, ["ghost"]) == 90012
        assert await code_of(emu, ["ghost"], service="timpush") == 0


async def test_poison_fails_the_whole_call():
    async with service(poison_code=70107, people={"a": []}) as emu:
        assert await code_of(emu, ["a", "poison-1"]) == 70107
        assert await code_of(emu, ["a"]) == 0


async def test_errors_of_single_accounts():
    async with service(people={"a": ["x"]}) as emu:
        for count in range(4):
            told = (await call(emu, ["a", "code91000x2-b", "code70051-c"])).json()
            errors = [(one["To_Account"], one["ErrorCode"]) for one in told["ErrorList"]]
            entries = {one["To_Account"]: one["Tags"] for one in told["UserTags"]}
            assert ("code70051-c", 70051) in errors
            assert (("code91000x2-b", 91000) in errors) == (count < 2)
            assert entries == {"a": ["x"]} | (
                {"code91000x2-b": tags_of("code91000x2-b")} if count >= 2 else {}
            )


async def test_shapes_of_tags():
    async with service() as emu:
        names = [f"{word}1" for word in ("null", "tagless", "object", "single", "number", "many", "huge")]
        entries = await entries_of(emu, names)
        assert entries["null1"] is None
        assert entries["tagless1"] is ...
        assert list(entries["object1"].values()) == tags_of("object1")
        assert [entries["single1"]] == tags_of("single1")
        assert [str(one) for one in entries["number1"]] == tags_of("number1")
        assert entries["many1"] == tags_of("many1")
        assert entries["huge1"] == tags_of("huge1")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=100))
def test_what_is_answered_is_the_truth(accounts):
    accounts = [f"u{account}" for account in accounts]
    read_back = read_accounts(body_of(accounts))
    body, failed = Answerer(TencentSettings(), 1).answer(read_back, Plan(), unknown="absent")
    told = sorted((one["To_Account"], one["Tags"]) for one in json.loads(body)["UserTags"])
    known = [(account, tags_of(account)) for account in accounts]
    assert told == sorted((account, tags) for account, tags in known if tags is not None)
    assert not failed


@given(st.binary())
def test_no_body_is_too_odd(body):
    with pytest.raises(FailureError) as caught:
        read_accounts(body)
    assert caught.value.code in TEXTS


async def test_the_order_is_another_and_always_the_same():
    names = [f"u{number:02d}" for number in range(100)]
    orders = []
    for _ in range(2):
        async with service() as emu:
            orders.append(list(await entries_of(emu, names)))
    known = [name for name in names if tags_of(name) is not None]
    assert orders[0] == orders[1] != known
    assert sorted(orders[0]) == known
    async with service(reorder=False) as emu:
        assert list(await entries_of(emu, names)) == known


async def test_another_seed_gives_other_people():
    names = [f"u{number}" for number in range(50)]
    async with Emulator(Settings(seed=7)) as emu:
        entries = await entries_of(emu, names)
    assert entries == {name: tags for name in names if (tags := tags_of(name, 7)) is not None}
    assert entries != {name: tags for name in names if (tags := tags_of(name)) is not None}


async def test_statistics():
    async with service(quota_per_second=5, people={"a": [], "b": [], "c": []}) as emu:
        first, second = sign(), sign(expire=601)
        await call(emu, ["a", "b", "code91000x1-d"], usersig=first)
        await call(emu, ["a", "c", "code91000x1-d"], usersig=first)
        # A call that failed is no answer, so asking again is right.
        await call(emu, ["c", "poison"], usersig=first)
        await call(emu, ["b", "ghost"], usersig=second)
        await call(emu, ["b"], usersig=None)
        await call(emu, ["c"], usersig=second)
        answer = await ask(emu.base_url, "/_emulator/tencent")
        assert answer.json() == [
            {
                "sdkappid": DEMO_SDKAPPID,
                "command": "all_member_push/im_get_tag",
                "calls": 6,
                "refused": 1,
                "max_in_any_second": 6,
                "usersigs": 2,
                "asked": 7,
                "accounts": 5,
                "asked_again": 2,
                "examples_asked_again": ["a", "b"],
            }
        ]
        assert answer.json() == emu.tencent.statistics()
        seen = emu.seen.of("tencent-im.get-tag", str(DEMO_SDKAPPID))
        assert len(seen) == 6
        assert first not in repr(seen)
        assert (await ask(emu.base_url, "/v4/nothing")).status == 200
        assert emu.seen.counts["tencent-im.other"] == 1
        assert (await ask(emu.base_url, "/_emulator/exports")).json() == []


async def test_accounts_need_not_be_tracked():
    async with service(track=False) as emu:
        await call(emu, ["a"])
        await call(emu, ["a"])
        (facts,) = emu.tencent.statistics()
        assert (facts["calls"], facts["asked"], facts["accounts"], facts["asked_again"]) == (2, 0, 0, 0)


def test_settings():
    assert DEMO_SECRET_KEY not in repr(Settings())
    for changes in ({"quota_per_second": 0}, {"bad_signatures": 0}, {"unknown": "gone"}):
        with pytest.raises(ValueError, match=r"at least 1|absent, empty, null, errorlist or fail"):
            TencentSettings(**changes)


def test_it_makes_no_exports():
    emu = Emulator()
    assert emu.tencent.exports() == []
    with pytest.raises(ValueError, match="unknown kind 'tencent'"):
        emu.source("tencent", "a", "b")
    with pytest.raises(ValueError, match="no files are made here"):
        emu.tencent.sources(Export("tencent", "a", "b"))


def test_in_a_thread_and_with_the_fixture(tagferry_emulator):
    async def look(emu):
        return await codes_of_many(emu, 150)

    assert asyncio.run(look(tagferry_emulator)) == [0] * 150
    with serve_in_thread(Settings(tencent=TencentSettings(quota_per_second=3))) as emu:
        assert asyncio.run(look(emu)) == [0] * 3 + [60007] * 147


async def test_half_a_call_gets_no_answer():
    async with service() as emu:
        whole = request(target(), method="POST", body=body_of(["a"]))
        for data in (whole[:100], whole[:-3]):
            host, port = emu.base_url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == b""
            writer.transport.abort()
        assert read(*await exchange(emu.base_url, whole)).status == 200
