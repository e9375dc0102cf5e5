"""Tokens of older CDPs: exchanged for the key of the deployment, and again when they lapse."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tagferry import AuthError, ClientCredentials, ConfigError, GrowingIOCDP, UnavailableError
from tagferry.emulator import Emulator
from tests.exports.cdp_world import SUBMIT, TAG, fast, hasten
from tests.standing import assert_no_secret

pytestmark = pytest.mark.anyio

KEY = "emulator-api-key"
TOKEN = "growingio-cdp.token"


@asynccontextmanager
async def old_cdp(key=KEY, retries=8, **changes):
    async with Emulator(fast(scheme="Token", **changes)) as emulator:
        credentials = ClientCredentials(base_url=emulator.base_url, client_secret=key)
        client = GrowingIOCDP(base_url=emulator.base_url, token=credentials, scheme="Token", rate="10000/s")
        async with hasten(client, retries=retries) as cdp:
            yield emulator, cdp
        await asyncio.sleep(0)


async def test_a_key_is_exchanged_once_for_a_token_that_serves_for_all(tmp_path):
    async with old_cdp() as (emulator, cdp):
        (file,) = await cdp.tag_users(TAG).download(tmp_path)
        assert file.sha256 == emulator.source("growingio-cdp-tag", "", TAG).sha256
        assert await cdp.list_tags()
        assert len(emulator.seen.of(TOKEN)) == 1


async def test_a_token_that_lapses_is_exchanged_anew(tmp_path):
    # Of the service's seconds, a hundredth each: it lapses in the middle of a job.
    async with old_cdp(token_seconds=8.0, null_seconds=20.0) as (emulator, cdp):
        (file,) = await cdp.tag_users(TAG).download(tmp_path)
        assert file.sha256 == emulator.source("growingio-cdp-tag", "", TAG).sha256
        assert len(emulator.seen.of(TOKEN)) > 1
        assert len(emulator.seen.of(SUBMIT)) == 1


async def test_one_provider_may_serve_several_clients(tmp_path):
    async with old_cdp() as (emulator, cdp):
        credentials = ClientCredentials(base_url=emulator.base_url, client_secret=KEY)
        tokens = await asyncio.gather(*(credentials() for _ in range(5)))
        assert len(set(tokens)) == 5
        assert await cdp.list_tags()


async def test_a_wrong_key_is_told_and_nothing_is_submitted(tmp_path):
    async with old_cdp(key="CANARY-key") as (emulator, cdp):
        with pytest.raises(AuthError, match="gave no token: Bad client credentials") as caught:
            await cdp.tag_users(TAG).download(tmp_path)
        assert "client secret" in str(caught.value.hint)
        assert_no_secret("CANARY-key", caught.value)
        assert emulator.seen.of(SUBMIT) == []


@pytest.mark.parametrize("fault", ["status=503", "status=502", "reset@3", "close"])
async def test_an_exchange_that_fails_is_tried_again(tmp_path, fault):
    async with old_cdp() as (emulator, cdp):
        emulator.faults.add(TOKEN, f"{fault} x2")
        (file,) = await cdp.tag_users(TAG).download(tmp_path)
        assert file.sha256 == emulator.source("growingio-cdp-tag", "", TAG).sha256
        assert len(emulator.seen.of(TOKEN)) == 3
        assert len(emulator.seen.of(SUBMIT)) == 1


async def test_an_exchange_that_fails_for_good_is_told(tmp_path):
    async with old_cdp(retries=1) as (emulator, cdp):
        emulator.faults.add(TOKEN, "status=502 x*")
        with pytest.raises(UnavailableError, match="502 to the request for a token"):
            await cdp.tag_users(TAG).download(tmp_path)
        assert emulator.seen.of(SUBMIT) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_url": "cdp.example.com"}, "base URL"),
        ({"client_secret": ""}, "client secret"),
        ({"client_secret": None}, "client secret"),
        ({"timeout": 0}, "timeout"),
        ({"proxy": "x"}, "proxy"),
    ],
)
def test_values_that_cannot_work_are_refused_at_once(changes, says):
    with pytest.raises(ConfigError, match=says):
        ClientCredentials(**{"base_url": "http://cdp.example.com", "client_secret": "CANARY"} | changes)


def test_nothing_shows_the_key():
    credentials = ClientCredentials(base_url="http://cdp.example.com", client_secret="CANARY")
    assert repr(credentials) == "ClientCredentials(http://cdp.example.com/accounts/oauth/access_token)"
