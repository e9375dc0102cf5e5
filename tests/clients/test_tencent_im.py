"""The client of Tencent IM against the emulator, over sockets."""

import asyncio
import contextlib
import gc
import io
import itertools
import json
import math
import random
import ssl
import urllib.parse
import weakref
from contextlib import suppress

import aiohttp
import pytest

import tagferry
from tagferry import AccountError, AuthError, ConfigError, Missing, RecordError, Tagged, TencentIM
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, Emulator
from tagferry.errors import ProtocolError, RefusedError, TagferryError, UnavailableError
from tagferry.events import BatchesHalved, OddAnswer, Retrying, Throttled
from tagferry.services import tencent_treatment
from tagferry.services.tencent_usersig import LIFETIME
from tests.emulator.tencent import sign
from tests.lookups.simulated import Network, steady
from tests.lookups.test_stream import Steps
from tests.lookups.world import (
    FAST,
    GET_TAG,
    SECRET_KEY,
    forget_quotas,
    hasten,
    make_accounts,
    open_world,
    settings,
    truth_of,
)
from tests.standing import assert_no_secret
from tests.virtual import run_virtual

pytestmark = pytest.mark.anyio

GOOD = {"sdkappid": 1400000000, "identifier": "admin", "secret_key": "CANARY-key"}
SIGNED = {"sdkappid": 1400000000, "identifier": "admin", "user_sig": "CANARY-sig"}
PEM = "-----BEGIN PRIVATE KEY-----\nCANARY-pem\n-----END PRIVATE KEY-----"
HUNDRED = make_accounts(100)


def plain(*names):
    """Accounts that the emulator knows, whatever is done to their neighbours."""
    return [account for account in make_accounts(700) if truth_of([account])[account]][: 100 - len(names)]


# The constructor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sdkappid": 0}, "SDKAppID"),
        ({"sdkappid": -5}, "SDKAppID"),
        ({"sdkappid": "CANARY-key-in-the-wrong-place"}, "SDKAppID"),
        ({"sdkappid": None}, "SDKAppID"),
        ({"sdkappid": True}, "SDKAppID"),
        ({"identifier": ""}, "identifier"),
        ({"identifier": None}, "identifier"),
        ({"identifier": "a\nb"}, "identifier"),
        ({"secret_key": ""}, "secret key"),
        ({"secret_key": " "}, "secret key"),
        ({"secret_key": 5}, "secret key"),
        ({"secret_key": b"CANARY-key"}, "secret key"),
        ({"secret_key": "CANARY-key\x00"}, "secret key"),
        ({"secret_key": "CANARY-ключ"}, "secret key"),
        ({"secret_key": PEM}, "PEM"),
        ({"secret_key": None}, "neither a secret key nor a UserSig"),
        ({"user_sig": "CANARY-sig"}, "both a secret key and a UserSig"),
        ({"secret_key": None, "user_sig": ""}, "UserSig"),
        ({"secret_key": None, "user_sig": b"CANARY-sig"}, "UserSig"),
        ({"secret_key": None, "user_sig": "CANARY-sig\x00"}, "UserSig"),
        ({"region": "mars"}, "region"),
        ({"region": ""}, "region"),
        ({"region": "china", "base_url": "https://h"}, "both a region"),
        ({"base_url": "h"}, "base URL"),
        ({"base_url": "https://user:CANARY-pw@h"}, "base URL"),
        ({"base_url": "https://h/?a=b"}, "base URL"),
        ({"service": "push"}, "service"),
        ({"service": None}, "service"),
        ({"rate": "0/s"}, "rate"),
        ({"rate": 100}, "rate"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"concurrency": None}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"proxy": "nonsense"}, "proxy"),
        ({"proxy": "http://user:CANARY-pw@"}, "proxy"),
        ({"codes": {90999: "again"}}, "90999"),
        ({"codes": {90999: None}}, "90999"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_to_do_and_no_secret(changes, says):
    with pytest.raises(ConfigError) as caught:
        TencentIM(**GOOD | changes)
    assert says in str(caught.value)
    assert caught.value.hint
    assert_no_secret("CANARY", caught.value, with_locals={"secret_key", "user_sig"} & changes.keys() != set())


@pytest.mark.parametrize(
    "values",
    [
        GOOD,
        SIGNED,
        GOOD | {"sdkappid": " 1400000000 ", "identifier": " 管理员01 ", "secret_key": " CANARY-key\n"},
        GOOD | {"region": "Singapore"},
        GOOD | {"region": "silicon valley", "service": "timpush", "rate": "79/s"},
        GOOD | {"base_url": "http://127.0.0.1:8080/api/", "retries": 0, "concurrency": 1, "timeout": 1},
        GOOD | {"proxy": "http://user:pw@proxy.example.com:3128", "ssl": ssl.create_default_context()},
        GOOD | {"codes": {90999: "retry", 90012: "input"}},
        GOOD | {"rate": "5/15s"},
    ],
)
def test_a_good_value_is_taken_and_making_a_client_opens_nothing(values):
    client = TencentIM(**values)
    assert_no_secret("CANARY", client, client._caller, client._service, vars(client))


def test_every_argument_is_keyword_only():
    with pytest.raises(TypeError):
        TencentIM(1400000000, "admin", "key")


def test_a_client_that_could_not_be_made_changes_nothing_for_others():
    limits = {"base_url": "https://one.example.com"}
    client = TencentIM(**GOOD | limits)
    with pytest.raises(ConfigError):
        TencentIM(**GOOD | limits | {"secret_key": PEM, "rate": "1/s"})
    assert client._service.rate == 100.0
    assert f"{client._caller.limiter!r}".startswith("Limiter(100/s")
    forget_quotas("https://one.example.com")


async def test_a_client_that_is_never_entered_leaves_nothing_behind():
    client = TencentIM(**GOOD)
    client.stream_tags(["user"])
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


async def test_a_client_that_is_not_open_says_how_to_open_it():
    async with Emulator(FAST) as emulator:
        im = TencentIM(**GOOD, base_url=emulator.base_url)
        with pytest.raises(ConfigError, match=r"async with tagferry\.TencentIM"):
            await im.get_tags(["user"])
        async with im:
            pass
        with pytest.raises(ConfigError, match="not open"):
            await im.get_tags(["user"])
        async with im.stream_tags(["user"]) as users:
            with pytest.raises(ConfigError, match="not open"):
                await anext(users)
        assert len(emulator.seen) == 0


async def test_a_client_may_be_opened_again(tmp_path):
    async with open_world(tmp_path) as world:
        for _ in range(2):
            async with world.client:
                world.check(await world.client.get_tags(HUNDRED), HUNDRED)


async def test_a_stream_that_outlives_its_client_ends_with_an_error(tmp_path):
    async with open_world(tmp_path, settings()) as world, contextlib.AsyncExitStack() as stack:
        users = await stack.enter_async_context(world.client.stream_tags(itertools.repeat("user")))
        await anext(users)
        await world.client.__aexit__(None, None, None)
        with pytest.raises(ConfigError, match="not open"):
            async for _ in users:
                pass


# What is sent, and what comes out ---------------------------------------------------------------------


@pytest.mark.parametrize("service", ["all_member_push", "timpush"])
async def test_a_call_as_it_is_documented(tmp_path, service):
    accounts = ["u001", "用户 & more", 'quo"te', "@RBT#001", "0c5b1a1e-7a1e-4d5e-9d3e-2f8f5b1a1e7a"]
    async with open_world(tmp_path, service=service) as world:
        world.check(await world.client.get_tags(accounts), accounts)
        (seen,) = world.emulator.seen.of(GET_TAG)
    path, _, query = seen.target.partition("?")
    assert (
        path
        == {"all_member_push": "/v4/all_member_push/im_get_tag", "timpush": "/v4/timpush/get_tag"}[service]
    )
    given = dict(urllib.parse.parse_qsl(query))
    assert set(given) == {"sdkappid", "identifier", "usersig", "random", "contenttype"}
    assert (given["sdkappid"], given["identifier"]) == (str(DEMO_SDKAPPID), DEMO_IDENTIFIER)
    assert given["contenttype"] == "json"
    assert 0 <= int(given["random"]) < 2**32
    assert seen.method == "POST"
    assert seen.values("Content-Type") == ["application/json"]
    assert seen.values("Cookie") == []


@pytest.mark.parametrize("service", ["all_member_push", "timpush"])
async def test_thousands_of_accounts_each_have_what_the_service_says(tmp_path, service):
    accounts = make_accounts(5432)
    async with open_world(tmp_path, service=service) as world:
        result = await world.client.get_tags(accounts)
        world.check(result, accounts)
        assert world.facts()["asked_again"] == 0
        assert world.calls == 55
        assert (len(result.missing) > 0, world.events) == (True, [])


async def test_nothing_asked_for_is_nothing_sent(tmp_path):
    async with open_world(tmp_path) as world:
        assert await world.client.get_tags([]) == tagferry.TagResult({}, frozenset(), {})
        assert len(world.emulator.seen) == 0


async def test_repeats_are_asked_for_once(tmp_path):
    async with open_world(tmp_path) as world:
        accounts = [*HUNDRED, *HUNDRED, "Ab", "ab", "aB", "Ab"]
        result = await world.client.get_tags(iter(accounts))
        world.check(result, accounts)
        assert (world.facts()["asked"], world.calls) == (103, 2)


@pytest.mark.parametrize("service", ["all_member_push", "timpush"])
async def test_every_label_is_a_new_one(tmp_path, service):
    async with open_world(tmp_path, service=service) as world:
        await world.client.get_tags(make_accounts(2000))
        labels = [urllib.parse.parse_qs(seen.target)["random"][0] for seen in world.emulator.seen]
        assert len(set(labels)) == len(labels) == 20


@pytest.mark.parametrize(
    ("accounts", "error", "says"),
    [
        ("user", TypeError, "one str"),
        (b"user", TypeError, "one bytes"),
        (5, TypeError, "int"),
        (None, TypeError, "NoneType"),
        (["a", "a", 5], ConfigError, "number 3"),
        (["a", ["b"]], ConfigError, "number 2"),
        (["a", "a", ""], RecordError, "number 3"),
        (["a\n"], RecordError, "number 1"),
    ],
)
async def test_what_is_no_list_of_accounts_is_refused_before_anything_is_sent(
    tmp_path, accounts, error, says
):
    async with open_world(tmp_path) as world:
        with pytest.raises(error, match=says):
            await world.client.get_tags(accounts)
        assert len(world.emulator.seen) == 0


# The tolerant behaviours ------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["absent", "empty", "null", "errorlist", "fail"])
async def test_an_unknown_account_in_every_way_a_service_may_show_it(tmp_path, unknown):
    accounts = [*plain("ghost"), "ghost"]
    async with open_world(tmp_path, settings(unknown=unknown, poison_code=70107)) as world:
        result = await world.client.get_tags(accounts)
    if unknown in {"empty", "null"}:
        # Nobody can tell it from one without tags.
        assert result.tags["ghost"] == ()
    elif unknown == "fail":
        assert result.failed == {"ghost": result.failed["ghost"]}
        assert result.failed["ghost"].code == 90012
    else:
        assert result.missing == {"ghost"}
        assert result.failed == {}
    assert {*result.tags, *result.missing, *result.failed} == set(accounts)
    assert {one: result.tags[one] for one in accounts[:-1]} == truth_of(accounts[:-1])


@pytest.mark.parametrize(
    ("account", "odd"),
    [
        ("null", None),
        ("tagless", None),
        ("object", "tags were an object"),
        ("single", "tags were one text"),
        ("number", "tags were numbers"),
        ("many", None),
        ("huge", None),
    ],
)
async def test_tags_in_shapes_that_leave_no_doubt(tmp_path, account, odd):
    accounts = [*plain(account), account]
    async with open_world(tmp_path) as world:
        world.check(await world.client.get_tags(accounts), accounts)
        world.check(await world.client.get_tags(accounts), accounts)
        # Each shape is told for each look-up, and once.
        assert world.of(OddAnswer) == ([OddAnswer(kind="tencent-tags", what=odd)] * 2 if odd else [])


async def test_accounts_that_together_are_more_than_any_reply_may_be_fail_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("tagferry.wire.transport.MAX_REPLY", 300_000)
    # Ten thousand tags each.
    accounts = [f"huge{number}" for number in range(4)]
    async with open_world(tmp_path) as world:
        world.check(await world.client.get_tags(accounts), accounts)
        assert world.calls == 3


STRANGE = ('[["nested"]]', '{"a":{"b":1}}', "[null]", '{"a":1}')


@pytest.mark.parametrize("tags", STRANGE)
async def test_tags_in_a_shape_that_nobody_knows_fail_their_account_and_no_other(tmp_path, monkeypatch, tags):
    accounts = [*plain("strange"), "strange"]
    async with open_world(tmp_path, settings(people={"strange": ()})) as world:
        _spoil(world, monkeypatch, ("strange", f',"Tags":{tags}}}'))
        result = await world.client.get_tags(accounts)
        assert world.calls <= 15
    assert result.failed.keys() == {"strange"}
    assert result.failed["strange"].code is None
    assert "not documented" in result.failed["strange"].message
    assert result.tags == truth_of(accounts[:-1])


def _spoil(world, monkeypatch, entry):
    """Let the emulator tell an account in another way than it can."""
    account, tail = entry
    answerer = world.emulator.tencent._answerer
    answer = answerer.answer

    def spoilt(accounts, plan, *, unknown):
        body, failed = answer(accounts, plan, unknown=unknown)
        return body.replace(f'"{account}","Tags":[]}}'.encode(), f'"{account}"{tail}'.encode()), failed

    monkeypatch.setattr(answerer, "answer", spoilt)


OK = '"ActionStatus":"OK","ErrorCode":0'
USERS = '"UserTags":[{"To_Account":"user0000001","Tags":["a"]},{"To_Account":"user0000002","Tags":[]}]'
ASKED = ["user0000001", "user0000002"]
ANSWERED = {"user0000001": ("a",), "user0000002": ()}


@pytest.mark.parametrize(
    "body",
    [
        # 9: no ErrorInfo, or null; the code as text, or not there; the status in other letters, or not there.
        f"{{{OK},{USERS}}}",
        f'{{{OK},"ErrorInfo":null,{USERS}}}',
        f'{{"ActionStatus":"OK","ErrorCode":"0",{USERS}}}',
        f'{{"ActionStatus":"OK",{USERS}}}',
        f'{{"ActionStatus":" ok ","ErrorCode":0,{USERS}}}',
        f'{{"ErrorCode":0,{USERS}}}',
        # 14: members that nobody knows.
        f'{{{OK},"RequestId":"x","ErrorDisplay":[1],{USERS[:-2]},"New":{{}}}}]}}',
        # 12: an empty ErrorList, or none.
        f'{{{OK},{USERS},"ErrorList":[]}}',
        f'{{{OK},{USERS},"ErrorList":null}}',
        # 15: a byte order mark.
        f"\ufeff{{{OK},{USERS}}}",
    ],
)
async def test_replies_that_are_not_quite_as_documented_are_read(tmp_path, body):
    async with open_world(tmp_path) as world:
        world.order(f"body={body}")
        result = await world.client.get_tags(ASKED)
        assert result.tags == ANSWERED
        assert (world.calls, world.of(Retrying)) == (1, [])


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json; charset=gbk"])
async def test_no_content_type_is_believed(tmp_path, content_type):
    async with open_world(tmp_path, settings(content_type=content_type)) as world:
        world.check(await world.client.get_tags(HUNDRED), HUNDRED)


@pytest.mark.parametrize("fault", ["null-tags", f"body={{{OK}}}", f'body={{{OK},"UserTags":[]}}', "drop=100"])
async def test_an_answer_for_nobody_makes_all_missing(tmp_path, fault):
    async with open_world(tmp_path) as world:
        world.order(fault)
        assert await world.client.get_tags(HUNDRED) == tagferry.TagResult({}, frozenset(HUNDRED), {})
        assert world.calls == 1


@pytest.mark.parametrize(
    ("fault", "odd"),
    [
        ("double=3", "several answers for one account"),
        ("foreign=3", "answers for accounts that were not asked for"),
        ("drop=3 & foreign=3", "answers for accounts that were not asked for"),
        ("other-case", "answers for accounts that were not asked for"),
    ],
)
async def test_an_answer_is_joined_by_account_and_what_is_odd_is_told(tmp_path, fault, odd):
    accounts = plain("")
    async with open_world(tmp_path, settings(reorder="double" in fault)) as world:
        world.order(fault)
        result = await world.client.get_tags(accounts)
        assert world.of(OddAnswer) == [OddAnswer(kind="tencent-tags", what=odd)]
    lost = {"drop=3 & foreign=3": set(accounts[:3]), "other-case": set(accounts)}.get(fault, set())
    assert result.missing == lost
    assert result.tags == truth_of(account for account in accounts if account not in lost)


@pytest.mark.parametrize(
    "fault",
    [
        # 10: the status and the code contradict each other.
        'body={"ActionStatus":"OK","ErrorCode":91000}',
        'body={"ActionStatus":"FAIL","ErrorCode":0}',
        # 9: neither is there.
        "body={}",
        "body=[]",
        "body=null",
        # 15: no JSON at all.
        "html",
        "body=nonsense",
        "short@20",
        "cut@20",
        "reset@20",
        "close",
        "status=502",
        "status=500",
        "status=504",
        "code=91000",
        "code=60008",
        "code=60013",
        # 16: a check that may have broken down.
        "code=60004",
        "code=60005",
        "code=70001",
        "code=60025",
        # A code of no table, near those about signatures.
        "code=70042",
        "code=60007",
        "status=429",
        "status=503 retry-after=0",
    ],
)
async def test_what_may_pass_is_tried_again_and_no_account_is_lost(tmp_path, fault):
    accounts = make_accounts(300)
    async with open_world(tmp_path, settings(track=True)) as world:
        world.order("pass", fault)
        world.check(await world.client.get_tags(accounts), accounts)
        assert world.emulator.faults.all_used
        assert len(world.emulator.seen.of(GET_TAG)) == 4


# 75, and the codes for which there is nothing to be done.
FATAL = [90001, 90009, 60020, 60021, 60010, 60026, 70009, 70020, 90045, 60022, 99999]


@pytest.mark.parametrize("code", FATAL)
async def test_a_fatal_code_is_raised_at_once_and_nothing_is_sent_after_it(tmp_path, code):
    async with open_world(tmp_path, concurrency=1) as world:
        world.order("pass", f"code={code}")
        with pytest.raises((AuthError, RefusedError)) as caught:
            await world.client.get_tags(make_accounts(5000))
        assert (caught.value.code, caught.value.service) == (code, "tencent-im")
        assert caught.value.hint
        assert world.calls == 2
        assert world.of(Retrying) == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status=301", ProtocolError),
        ("status=404", RefusedError),
        ("status=413", RefusedError),
        ("status=401", AuthError),
    ],
)
async def test_what_stands_between_and_says_no_is_raised_at_once(tmp_path, fault, error):
    async with open_world(tmp_path, concurrency=1) as world:
        world.order(f"{fault} x*")
        with pytest.raises(error) as caught:
            await world.client.get_tags(HUNDRED)
        assert caught.value.hint
        assert world.calls == 1


@pytest.mark.parametrize("poison", [70107, 90003, 90012, 90048, 60015])
async def test_one_poisonous_account_fails_no_other(tmp_path, poison):
    accounts = [*plain("poison"), "poison"]
    random.Random(poison).shuffle(accounts)
    async with open_world(tmp_path, settings(poison_code=poison)) as world:
        result = await world.client.get_tags(accounts)
        assert world.calls <= 15
        assert world.facts()["asked_again"] == 0
    accounts.remove("poison")
    assert result.tags == truth_of(accounts)
    if poison in {70107, 90048}:
        assert (result.missing, result.failed) == ({"poison"}, {})
    else:
        assert (result.missing, result.failed["poison"].code) == (frozenset(), poison)


async def test_codes_beside_accounts_mean_what_they_mean_for_each(tmp_path):
    accounts = [*plain(*range(4)), "code70107-a", "code91000x2-b", "code90012-c", "code60008-d"]
    async with open_world(tmp_path) as world:
        result = await world.client.get_tags(accounts)
    assert result.missing == {"code70107-a"}
    assert {one: error.code for one, error in result.failed.items()} == {
        "code90012-c": 90012,
        "code60008-d": 60008,
    }
    assert result.failed["code90012-c"] == AccountError(90012, "an account is not registered")
    assert result.tags == truth_of([*accounts[:96], "code91000x2-b"])


async def test_a_service_that_takes_fewer_accounts_is_asked_for_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr("tagferry.emulator.tencent_answer.MOST_ACCOUNTS", 60)
    accounts = make_accounts(1000)
    async with open_world(tmp_path, concurrency=2) as world:
        world.check(await world.client.get_tags(accounts), accounts)
        assert world.of(BatchesHalved) == [BatchesHalved(kind="tencent-tags", size=50)]
        assert world.calls <= 22


async def test_the_users_own_treatment_of_codes_goes_before_the_table(tmp_path):
    own = {99999: "retry", 90012: "input", 90001: "account", 60022: "throttle"}
    async with open_world(tmp_path, codes=own, concurrency=1) as world:
        world.order("code=99999", "code=60022")
        world.check(await world.client.get_tags(HUNDRED), HUNDRED)
        assert world.calls == 3
        assert len(world.of(Throttled)) == 1
        world.order("code=90001", "code=90001")
        assert (await world.client.get_tags(["a", "b"])).failed["a"].code == 90001
        with pytest.raises(RefusedError) as caught:
            await world.client.get_tags(["a", "poison"])
        assert caught.value.code == 90012
        assert (await world.client.get_tags(["code99999x1-a"])).failed == {}


# Signatures -------------------------------------------------------------------------------------------


def usersigs(world):
    return [urllib.parse.parse_qs(seen.target)["usersig"][0] for seen in world.emulator.seen.of(GET_TAG)]


@pytest.mark.parametrize("code", [70001, 70052])
def test_a_hundred_calls_with_a_lapsed_signature_ask_for_one_new_one(monkeypatch, code):
    network = Network(steady(0.75, 0.75), kicked_code=code)
    accounts = make_accounts(300)

    async def main():
        client = network.client(monkeypatch, batch=1, retries=0)
        async with client:
            await client.get_tags(["first"])
            await asyncio.sleep(10)
            network.service.kick()
            return await client.get_tags(accounts)

    result = run_virtual(main)
    assert len(result.tags) + len(result.missing) == 300
    used = [urllib.parse.parse_qs(url.partition("?")[2])["usersig"][0] for url in network.urls[1:]]
    old, new = dict.fromkeys(used)
    # All hundred were on their way when the first refusal came, and none was asked more than once again.
    assert used == [old] * 100 + [new] * 300
    facts = network.facts
    assert (facts["usersigs"], facts["asked_again"], facts["refused"]) == (2, 0, 0)


async def test_a_signature_of_the_caller_that_lapsed_is_the_end(tmp_path):
    async with open_world(tmp_path, user_sig=sign(key=SECRET_KEY), concurrency=1) as world:
        world.check(await world.client.get_tags(HUNDRED), HUNDRED)
        world.emulator.tencent.kick()
        with pytest.raises(AuthError) as caught:
            await world.client.get_tags(make_accounts(1000))
        assert caught.value.code == 70052
        assert world.calls == 2


async def test_a_provider_of_signatures_is_asked_once_for_all_and_again_when_one_lapsed(tmp_path):
    given = []

    async def provide():
        await asyncio.sleep(0.01)
        given.append(sign(key=SECRET_KEY, expire=600 + len(given)))
        return given[-1]

    accounts = make_accounts(2000)
    async with open_world(tmp_path, user_sig=provide) as world:
        world.check(await world.client.get_tags(accounts), accounts)
        assert len(given) == 1
        world.emulator.tencent.kick()
        world.check(await world.client.get_tags(accounts), accounts)
        assert len(given) == 2
        assert set(usersigs(world)) == set(given)


@pytest.mark.parametrize("wrong", ["", 5, None, "CANARY\nsig"])
async def test_a_provider_of_nonsense_is_an_error_of_credentials(tmp_path, wrong):
    async def provide():
        return wrong

    async with open_world(tmp_path, user_sig=provide) as world:
        with pytest.raises(AuthError, match="UserSig") as caught:
            await world.client.get_tags(["a"])
        assert_no_secret("CANARY", caught.value)
        assert len(world.emulator.seen) == 0


async def test_a_provider_whose_own_task_was_cancelled_does_not_look_like_the_end(tmp_path):
    async def provide():
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting

    async with open_world(tmp_path, user_sig=provide) as world:
        with pytest.raises(RuntimeError, match="was cancelled"):
            await world.client.get_tags(["a"])


@pytest.mark.parametrize("code", [70001, 70003, 60025])
async def test_a_new_signature_that_is_refused_too_is_the_end(tmp_path, code):
    async with open_world(tmp_path, concurrency=1) as world:
        world.order(f"code={code} x*")
        with pytest.raises(AuthError) as caught:
            await world.client.get_tags(HUNDRED)
        assert caught.value.code == code
        assert (world.calls, len(set(usersigs(world)))) == (2, 2)


@pytest.mark.parametrize("code", [60004, 60005])
async def test_a_check_that_stays_broken_is_tried_with_a_new_signature_then_twice_and_is_the_end(
    tmp_path, code
):
    async with open_world(tmp_path, concurrency=1) as world:
        world.order(f"code={code} x*")
        with pytest.raises(AuthError):
            await world.client.get_tags(HUNDRED)
        assert (world.calls, len(set(usersigs(world)))) == (4, 2)


@pytest.mark.parametrize("values", [{"secret_key": "CANARY-key-of-another-app"}, {"identifier": "nobody"}])
async def test_credentials_of_nobody_are_refused_at_once(tmp_path, values):
    async with open_world(tmp_path, concurrency=1, **values) as world:
        with pytest.raises(AuthError) as caught:
            await world.client.get_tags(make_accounts(1000))
        assert "Chat console" in str(caught.value)
        assert world.calls == 1


async def test_a_lockout_silences_all_and_one_call_finds_out_whether_it_is_over(tmp_path, monkeypatch):
    """The minute itself is in `tests.lookups.test_quota`, in virtual time."""
    monkeypatch.setattr(tencent_treatment, "_SILENCE", 0.5)
    accounts = make_accounts(2000)
    async with open_world(tmp_path, concurrency=4) as world:
        world.order("pass x3", "code=70050 & delay=0.1")
        world.check(await world.client.get_tags(accounts), accounts)
        seen = [one.nanoseconds for one in world.emulator.seen.of(GET_TAG)]
        gap = max(later - earlier for earlier, later in itertools.pairwise(seen))
        # What was sent just before the silence may arrive within it.
        assert gap >= 0.4e9
        assert len(seen) == 21
        world.order("code=70050 x*")
        with pytest.raises(AuthError) as caught:
            await world.client.get_tags(accounts)
        assert caught.value.code == 70050
        assert world.of(Throttled)


def test_a_signature_is_renewed_in_time_and_not_before(monkeypatch):
    network = Network()

    async def main():
        client = network.client(monkeypatch)

        async def signatures():
            await client.get_tags(["user"])
            return network.facts["usersigs"]

        async with client:
            assert await signatures() == 1
            await asyncio.sleep(0.89 * LIFETIME)
            assert await signatures() == 1
            await asyncio.sleep(0.02 * LIFETIME)
            assert await signatures() == 2
            for day in range(3, 10):
                await asyncio.sleep(LIFETIME)
                assert await signatures() == day
        assert network.of(Retrying) == []

    run_virtual(main)


@pytest.mark.parametrize("step", [-3600.0, -10 * LIFETIME, 3600.0, 10 * LIFETIME])
def test_a_clock_that_is_set_makes_no_signature_of_yesterday_or_tomorrow(monkeypatch, step):
    """The emulator's clock goes wrong with ours: it takes nothing that is lapsed."""
    network = Network()

    async def main():
        client = network.client(monkeypatch)
        async with client:
            await client.get_tags(["user"])
            network._clock.unix_offset = step
            await client.get_tags(["user"])
        assert network.of(Retrying) == []
        return network.facts["usersigs"]

    assert run_virtual(main) == (1 if 0 < step < LIFETIME else 2)


# Quotas -----------------------------------------------------------------------------------------------


async def test_the_documented_rate_over_sockets_with_jitter_holds_dying_connections_and_cancellations(
    tmp_path,
):
    """Four seconds of real time; the proof and the use of the quota are in `tests.lookups.test_quota`."""
    chance = random.Random(3)
    rough = settings(quota_per_second=100)
    rough = type(rough)(time_scale=0.01, latency=0.03, jitter=0.03, tencent=rough.tencent)
    async with open_world(tmp_path, rough, rate="100/s") as world:
        world.order(
            "pass x60", "hold=0.3", "pass x80", "close x2", "pass x20", "reset@10", "pass x60", "hold=0.3"
        )

        async def read(number):
            await asyncio.sleep(chance.uniform(0, 3))
            accounts = make_accounts(200, 200 * number)
            world.check(await world.client.get_tags(accounts), accounts)

        tasks = [asyncio.create_task(read(number)) for number in range(220)]
        for _ in range(4):
            await asyncio.sleep(0.7)
            for task in chance.sample(tasks, 15):
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [
            one for one in results if one is not None and not isinstance(one, asyncio.CancelledError)
        ] == []
        assert sum(result is None for result in results) >= 160
        facts = world.facts()
        assert facts["calls"] > 300
        assert facts["max_in_any_second"] <= 100
        assert (facts["refused"], world.of(Throttled)) == (0, [])


async def test_two_clients_of_one_application_share_its_quota_however_they_spell_its_origin(tmp_path):
    accounts = make_accounts(2000)
    async with open_world(tmp_path, settings(quota_per_second=20), rate="20/s") as world:
        second = TencentIM(
            sdkappid=f" {DEMO_SDKAPPID}",
            identifier=DEMO_IDENTIFIER,
            secret_key=SECRET_KEY,
            base_url=world.emulator.base_url.replace("http", "HTTP") + "/",
            rate="100/s",
        )
        async with hasten(second):
            await asyncio.gather(world.client.get_tags(accounts), second.get_tags(accounts))
        facts = world.facts()
        assert (facts["calls"], facts["refused"]) == (40, 0)
        assert facts["max_in_any_second"] <= 20


async def test_the_two_services_have_quotas_of_their_own(tmp_path):
    accounts = make_accounts(1000)
    async with open_world(tmp_path, settings(quota_per_second=10), rate="10/s") as world:
        second = TencentIM(
            sdkappid=DEMO_SDKAPPID,
            identifier=DEMO_IDENTIFIER,
            secret_key=SECRET_KEY,
            base_url=world.emulator.base_url,
            service="timpush",
            rate="10/s",
        )
        async with hasten(second):
            await asyncio.gather(world.client.get_tags(accounts), second.get_tags(accounts))
        assert world.emulator.refused == 0
        assert {one["command"]: one["calls"] for one in world.emulator.tencent.statistics()} == {
            "all_member_push/im_get_tag": 10,
            "timpush/get_tag": 10,
        }


@pytest.mark.parametrize(
    ("values", "workers"),
    [
        ({}, 100),
        ({"rate": "79/s"}, 79),
        ({"concurrency": 8}, 8),
        ({"rate": "5/15s"}, 5),
        ({"rate": "900/s"}, 100),
    ],
)
def test_as_many_calls_are_under_way_as_make_sense(values, workers):
    client = TencentIM(**GOOD, base_url=f"https://w{workers}.example.com", **values)
    assert client._service.workers == workers


# Streams ----------------------------------------------------------------------------------------------


async def later(accounts):
    for account in accounts:
        await asyncio.sleep(0)
        yield account


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("make", [list, later])
async def test_a_stream_gives_every_account_its_outcome(tmp_path, ordered, make):
    accounts = [*make_accounts(3000), "poison", "ghost", "user0000001", "user0000001"]
    async with (
        open_world(tmp_path) as world,
        world.client.stream_tags(make(accounts), ordered=ordered) as users,
    ):
        outcomes = [one async for one in users]
    assert sorted(one.account for one in outcomes) == sorted(accounts)
    if ordered:
        assert [one.account for one in outcomes] == accounts
    truth = truth_of(accounts)
    for one in outcomes:
        match one:
            case Tagged() | Missing():
                assert one.tags == truth[one.account]
            case tagferry.AccountFailed():
                assert (one.account, one.error.code) == ("poison", 90012)


async def _read_into(seen, users):
    async for one in users:
        seen.append(one.account)


async def test_a_failure_in_the_middle_reaches_the_iteration_behind_what_was_answered(tmp_path):
    async with open_world(tmp_path, concurrency=1) as world:
        world.order("pass x5", "code=60020")
        seen = []
        async with world.client.stream_tags(later(make_accounts(2000)), ordered=True) as users:
            reading = _read_into(seen, users)
            with pytest.raises(RefusedError):
                await reading
        assert make_accounts(500)[: len(seen)] == seen
        assert len(seen) >= 300
        assert world.calls == 6


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_cancellation_at_any_await_leaves_no_task_and_no_socket(tmp_path, ordered):
    """The standing assertions look for what is left."""
    accounts = make_accounts(900)

    async def read(world):
        forget_quotas(world.emulator.base_url)
        client = hasten(
            TencentIM(
                sdkappid=DEMO_SDKAPPID,
                identifier=DEMO_IDENTIFIER,
                secret_key=SECRET_KEY,
                base_url=world.emulator.base_url,
                rate="10000/s",
                concurrency=3,
            )
        )
        async with client, client.stream_tags(accounts, ordered=ordered) as users:
            return [one.account async for one in users]

    async with open_world(tmp_path) as world:
        steps = Steps(read(world), ())
        assert sorted(await steps) == accounts
        assert steps.taken > 8
        before = asyncio.all_tasks()
        for at in range(1, steps.taken + 1):
            world.order("close", "code=91000")
            with suppress(asyncio.CancelledError):
                await Steps(read(world), (at,))
            world.emulator.faults.clear()
            assert {task for task in asyncio.all_tasks() - before if "Emulator." not in repr(task)} == set()
        world.check(await world.client.get_tags(accounts), accounts)


# Files: the engine behind them has tests of its own, in `tests.lookups` -------------------------------


async def test_a_fetch_writes_each_account_once_and_a_retry_merges_what_was_left(tmp_path):
    accounts = [*make_accounts(300), "poison", "user0000001"]
    async with open_world(tmp_path) as world:
        report = await world.client.fetch_tags(accounts, tmp_path / "tags.jsonl", ordered=True)
        assert (report.accounts, report.distinct, report.failed) == (302, 301, 1)
        assert report.dead_letters == tmp_path / "tags.dead.jsonl"
        world.emulator.tencent._answerer._settings = settings(people={"poison": ["cured"]}).tencent
        again = await world.client.retry_tags(report.dead_letters)
        assert (again.accounts, again.tagged, again.dead_letters) == (1, 1, None)
    rows = [json.loads(line) for line in (tmp_path / "tags.jsonl").read_bytes().splitlines()]
    written = {row["account"]: None if row["tags"] is None else tuple(row["tags"]) for row in rows}
    assert written == {**truth_of(accounts[:300]), "poison": ("cured",)}
    assert len(rows) == 301


async def test_a_fetch_into_a_stream_writes_each_account_once(tmp_path):
    output, dead = io.BytesIO(), io.BytesIO()
    async with open_world(tmp_path) as world:
        report = await world.client.pipe_tags([*HUNDRED, "poison", *HUNDRED], output, dead)
    assert (report.distinct, report.failed, report.output) == (101, 1, None)
    assert sorted(json.loads(line)["account"] for line in output.getvalue().splitlines()) == HUNDRED
    assert [json.loads(line)["account"] for line in dead.getvalue().splitlines()] == ["poison"]


# Secrets ----------------------------------------------------------------------------------------------


SEEN = [
    "pass",
    "code=70001",
    "code=70001 x*",
    "code=60020",
    "code=90012",
    "code=91000 x*",
    "status=502 x*",
    "status=403",
    "close x*",
    "html x*",
    "cut@9 x*",
    "hold=0.01",
    "foreign=3",
]


@pytest.mark.parametrize("fault", SEEN)
@pytest.mark.parametrize("given", ["key", "signature", "provider"])
async def test_no_secret_is_to_be_seen_whatever_goes_wrong(tmp_path, fault, given, logs, capsys):
    signature = sign(key=SECRET_KEY)

    async def provide():
        return signature

    options = {"key": {}, "signature": {"user_sig": signature}, "provider": {"user_sig": provide}}[given]
    errors = []
    async with open_world(tmp_path, retries=1, **options) as world:
        world.order(fault)
        try:
            await world.client.get_tags(["user0000001", "user0000002"])
        except TagferryError as error:
            errors.append(error)
        used = set(usersigs(world))
        client = world.client
    assert used
    assert given == "key" or used == {signature}
    for secret in (SECRET_KEY, *used):
        things = (*errors, client, client._caller, client._service, *world.events)
        assert_no_secret(secret, *things, logs=logs)
        assert_no_secret(secret, capsys=capsys)


async def test_a_service_that_repeats_the_signature_is_not_quoted(tmp_path, logs):
    signature = sign(key=SECRET_KEY)
    async with open_world(tmp_path, user_sig=signature, retries=1) as world:
        said = f"usersig={signature} is wrong"
        world.order(f'body={{"ActionStatus":"FAIL","ErrorCode":60020,"ErrorInfo":{json.dumps(said)}}}')
        with pytest.raises(RefusedError) as caught:
            await world.client.get_tags(["user"])
        world.order(f"body=<html>{said}</html>", f"body=<html>{said}</html>")
        with pytest.raises(UnavailableError) as unread:
            await world.client.get_tags(["user"])
    assert_no_secret(signature, caught.value, unread.value, *world.events, logs=logs)


# Sessions, events -------------------------------------------------------------------------------------


async def test_an_own_session_is_used_and_not_closed(tmp_path):
    async with aiohttp.ClientSession(headers={"X-Own": "1"}) as session:
        async with open_world(tmp_path, session=session) as world:
            world.check(await world.client.get_tags(HUNDRED), HUNDRED)
            assert all(seen.values("X-Own") == ["1"] for seen in world.emulator.seen)
        assert not session.closed


async def test_a_listener_that_fails_stops_nothing(tmp_path, logs):
    def fail(event):
        raise RuntimeError("broken view")

    async with open_world(tmp_path, on_event=fail) as world:
        world.order("code=91000")
        world.check(await world.client.get_tags(HUNDRED), HUNDRED)
    assert "broken view" in logs.text


async def test_a_request_that_takes_too_long_is_given_up_and_made_again(tmp_path):
    async with open_world(tmp_path, timeout=0.2) as world:
        world.order("stall@5")
        world.check(await world.client.get_tags(HUNDRED), HUNDRED)
        assert world.calls == 2
