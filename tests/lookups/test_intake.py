"""The accounts of any input: iterables are gone through in parts, and what is wrong in them is named."""

import pytest

from tagferry.errors import ConfigError, DiskError, RecordError
from tagferry.lookups import intake
from tagferry.lookups.intake import blocks_of, is_gone, name_of, stamp_of

pytestmark = pytest.mark.anyio


async def read(accounts):
    return [[one.decode() for one in block] async for block in blocks_of(accounts)]


async def later(accounts):
    for account in accounts:
        yield account


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(intake, "_ITEMS", 3)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("form", [iter, later])
async def test_an_iterable_is_gone_through_in_parts(form):
    pulled = []

    def accounts():
        for number in range(7):
            pulled.append(number)
            yield f"user{number}"

    source = form(accounts())
    assert (name_of(source), stamp_of(source), is_gone(source)) == ("accounts", None, False)
    blocks = blocks_of(source)
    assert pulled == []
    assert await anext(blocks) == [b"user0", b"user1", b"user2"]
    assert len(pulled) == 3
    assert [len(block) async for block in blocks] == [3, 1]


@pytest.mark.parametrize(
    "accounts", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, (one for one in "ab"), later("ab")]
)
async def test_any_iterable_is_an_input(accounts):
    assert await read(accounts) == [["a", "b"]]


async def test_an_empty_iterable_has_no_accounts():
    assert [one for block in await read([]) for one in block] == []
    assert [one for block in await read(later([])) for one in block] == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("form", [list, later])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [("", RecordError, "account number 6 is empty"), (7, ConfigError, "account number 6 is of type int")],
)
async def test_a_bad_item_is_named_by_its_position(form, bad, error, message):
    with pytest.raises(error, match=message):
        await read(form(["a", "b", "c", "d", "e", bad, "f"]))


async def test_an_error_of_the_iterable_is_its_own():
    def accounts():
        yield "a"
        raise OSError("mine")

    with pytest.raises(OSError, match="mine") as caught:
        await read(accounts())
    assert not isinstance(caught.value, DiskError)


async def test_a_single_text_is_no_iterable_of_accounts():
    with pytest.raises(TypeError, match="one str"):
        await read("abc")
