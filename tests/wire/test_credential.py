import asyncio
import dataclasses
import itertools

import pytest

from tagferry.errors import AuthError, ConfigError
from tagferry.wire.credential import Credential
from tests.standing import assert_no_secret
from tests.virtual import run_virtual

pytestmark = pytest.mark.anyio

NAME, HINT = "the GrowingIO token", "set TAGFERRY_GROWINGIO_TOKEN"


def make(token):
    return Credential(token, name=NAME, hint=HINT)


class Vault:
    """Provides tokens one after the other, slowly."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0)
        token = self.tokens[min(self.asked, len(self.tokens)) - 1]
        if isinstance(token, Exception):
            raise token
        return token


async def test_a_fixed_token_is_given_out_without_the_blanks_around_it():
    assert await make(" abc\n").value() == "abc"


async def test_a_fixed_token_cannot_be_renewed():
    credential = make("abc")
    assert not await credential.renew("abc")
    assert await credential.value() == "abc"


@pytest.mark.parametrize(
    "token", ["", "  ", "\n", "a\nb", "a\r\nX-Evil: 1", "a\x00b", "tökén", "a\x7fb", "a\tb", "令牌"]
)
def test_a_token_that_no_header_can_carry_is_refused_at_once_and_not_shown(token):
    with pytest.raises(ConfigError, match=NAME) as caught:
        make(token)
    assert HINT in str(caught.value)
    if token.strip():
        assert token.strip() not in str(caught.value)


@pytest.mark.parametrize("token", [None, 5, b"bytes", ["a"]])
def test_what_is_neither_text_nor_a_function_is_refused_at_once(token):
    with pytest.raises(ConfigError, match=NAME):
        make(token)


async def test_a_provider_is_not_asked_before_the_token_is_needed_and_then_once():
    vault = Vault("one", "two")
    credential = make(vault)
    assert vault.asked == 0
    assert await asyncio.gather(*(credential.value() for _ in range(50))) == ["one"] * 50
    assert vault.asked == 1


async def test_fifty_who_learn_at_once_that_their_token_is_refused_ask_once():
    vault = Vault("one", "two", "three")
    credential = make(vault)
    refused = await credential.value()
    assert all(await asyncio.gather(*(credential.renew(refused) for _ in range(50))))
    assert await credential.value() == "two"
    assert vault.asked == 2


async def test_who_learns_late_that_an_old_token_is_refused_gets_the_new_one():
    vault = Vault("one", "two", "three")
    credential = make(vault)
    await credential.value()
    await credential.renew("one")
    assert await credential.renew("one")
    assert vault.asked == 2


async def test_a_provider_that_gives_the_refused_token_again_has_none():
    credential = make(Vault("one"))
    assert not await credential.renew(await credential.value())


@pytest.mark.parametrize("bad", ["", "a\nb", None, 5])
async def test_a_provider_that_gives_no_token_is_an_error_of_the_credentials(bad):
    with pytest.raises(AuthError, match=NAME) as caught:
        await make(Vault(bad)).value()
    assert not isinstance(caught.value, ConfigError)
    assert HINT in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_provider_that_fails_fails_the_call_and_is_asked_again_next_time():
    credential = make(Vault(OSError("vault is sealed"), "two"))
    with pytest.raises(AuthError, match="OSError in its provider") as caught:
        await credential.value()
    assert isinstance(caught.value.__cause__, OSError)
    assert await credential.value() == "two"


async def test_a_cancelled_caller_does_not_block_the_others():
    vault = Vault("one")
    credential = make(vault)
    first = asyncio.create_task(credential.value())
    second = asyncio.create_task(credential.value())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "one"
    await asyncio.gather(first, return_exceptions=True)


def test_two_credentials_with_the_same_token_or_provider_are_one_caller():
    async def provide():
        return "x"

    assert make("abc").identity == make(" abc ").identity
    assert make("abc").identity != make("abx").identity
    assert make(provide).identity == make(provide).identity
    assert make(provide).identity != make(Vault("x")).identity


def test_a_provider_that_cannot_be_hashed_still_has_an_identity():
    @dataclasses.dataclass
    class Provider:
        path: str

        async def __call__(self):
            return "x"

    one, other = Provider("a"), Provider("a")
    assert len({make(one).identity, make(one).identity, make(other).identity}) == 2


async def test_a_token_is_not_shown_by_what_holds_it(canary):
    credential = make(canary)
    value = await credential.value()
    assert value == canary
    assert_no_secret(canary, credential, [value], {"Authorization": value})
    assert repr(credential) == "Credential(the GrowingIO token)"


async def test_a_refused_token_of_a_provider_is_not_shown(canary):
    with pytest.raises(AuthError) as caught:
        await make(Vault(f"{canary}\n{canary}")).value()
    assert_no_secret(canary, str(caught.value), repr(caught.value))


def test_a_provider_is_asked_again_when_its_token_is_no_longer_fresh():
    async def main():
        old = set()
        asked = itertools.count(1)

        async def provide():
            await asyncio.sleep(0.1)
            return f"token{next(asked)}"

        credential = Credential(provide, name="the token", hint="hint", fresh=lambda: not old)
        assert await credential.value() == "token1"
        assert await credential.value() == "token1"
        old.add(1)
        waiting = [asyncio.create_task(credential.value()) for _ in range(3)]
        await asyncio.sleep(0.05)
        old.clear()
        assert [await task for task in waiting] == ["token2"] * 3
        assert credential.latest == "token2"

    run_virtual(main)


def test_a_fixed_token_is_always_fresh():
    async def main():
        credential = Credential("fixed", name="the token", hint="hint", fresh=lambda: False)
        assert await credential.value() == "fixed"

    run_virtual(main)
