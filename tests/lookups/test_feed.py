"""Batches of accounts for many workers: of a spool, and of any iterable."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError, RecordError
from tagferry.lookups.feed import Batch, IterableFeed, SpoolFeed
from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tests.lookups.world import make_accounts
from tests.virtual import run_virtual


async def later(accounts):
    for account in accounts:
        await asyncio.sleep(0)
        yield account


async def drain(feed, workers=1):
    """What workers get who take until there is no more."""
    batches = []

    async def work():
        while (batch := await feed.take()) is not None:
            batches.append(batch)
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(workers)))
    return batches


def feed_of(accounts, size=3, ahead=100):
    return IterableFeed(accounts, size, Window(Watermark(), ahead))


def check(batches, accounts, size):
    assert [batch.number for batch in batches] == list(range(len(batches)))
    assert [len(batch.accounts) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert [account for batch in batches for account in batch.accounts] == accounts


# Iterables --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [list, iter, tuple, dict.fromkeys, later])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7, 100])
@pytest.mark.parametrize("workers", [1, 5])
def test_any_iterable_is_cut_into_batches_of_a_size_in_order(make, count, workers):
    accounts = make_accounts(count)
    check(run_virtual(lambda: drain(feed_of(make(accounts)), workers)), accounts, 3)


@given(
    st.lists(st.sampled_from(["a", "b", "ä", "用户"])), st.integers(1, 5), st.integers(1, 4), st.booleans()
)
def test_repeats_and_their_order_are_kept(accounts, size, workers, waits):
    given = later(accounts) if waits else accounts
    check(run_virtual(lambda: drain(feed_of(given, size), workers)), accounts, size)


class Odd:
    """An iterator that begins again when asked beyond its end, as a terminal does."""

    def __init__(self):
        self.items = iter("abcd")
        self.ends = 0

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return next(self.items)
        except StopIteration:
            self.items = iter("wxyz")
            self.ends += 1
            raise

    def __aiter__(self):
        return Odder(self)


class Odder:
    def __init__(self, odd):
        self.odd = odd

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.odd)
        except StopIteration:
            raise StopAsyncIteration from None


@pytest.mark.parametrize("waits", [True, False])
def test_a_source_is_not_asked_beyond_its_end(waits):
    odd = Odd()
    given = Odder(odd) if waits else odd
    batches = run_virtual(lambda: drain(feed_of(given), workers=4))
    check(batches, list("abcd"), 3)
    assert odd.ends == 1


def test_a_source_is_asked_for_no_more_than_what_is_taken_and_never_after_it():
    asked = []

    def endless():
        for number in itertools.count():
            asked.append(number)
            yield f"user{number}"

    async def main():
        feed = feed_of(endless(), size=3)
        for number in range(4):
            assert (await feed.take()).number == number
            assert len(asked) == 3 * (number + 1)

    run_virtual(main)


def test_batches_too_far_ahead_wait_for_the_slowest():
    async def main():
        window = Window(Watermark(), 2)
        feed = IterableFeed(itertools.repeat("a"), 1, window)
        assert [(await feed.take()).number for _ in range(2)] == [0, 1]
        taking = asyncio.create_task(feed.take())
        window.done(1)
        await asyncio.sleep(1)
        assert not taking.done()
        window.done(0)
        assert (await taking).number == 2

    run_virtual(main)


@pytest.mark.parametrize("account", [5, None, b"user", ["user"]])
def test_an_item_that_is_no_text_is_named_by_its_number(account):
    async def main():
        feed = feed_of(["a", "b", "c", "d", account])
        await feed.take()
        with pytest.raises(ConfigError, match="number 5"):
            await feed.take()

    run_virtual(main)


@pytest.mark.parametrize("account", ["", "  ", "a\nb", "a\x00", "\ud800", "x" * 2000])
def test_an_account_that_cannot_be_asked_for_is_named_by_its_number(account):
    async def main():
        feed = feed_of(later(["a", "b", "c", account]))
        await feed.take()
        with pytest.raises(RecordError, match="number 4"):
            await feed.take()

    run_virtual(main)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("user", "one str"),
        (b"user", "one bytes"),
        (bytearray(b"u"), "one bytearray"),
        (5, "int"),
        (None, "None"),
    ],
)
def test_what_is_no_collection_is_refused_at_once(given, says):
    with pytest.raises(TypeError, match=says):
        feed_of(given)


def test_a_source_that_breaks_breaks_the_take():
    async def broken():
        yield "a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run_virtual(lambda: drain(feed_of(broken())))


# Spools -----------------------------------------------------------------------------------------------


class Reader:
    """Batches 0, 1, … of one account each, in blocks of so many at most; counts the reads."""

    def __init__(self, count, first=0, block=1000):
        self.batches = [[f"user{number}"] for number in range(first, count)]
        self.block = block
        self.reads = 0

    def read(self, most):
        self.reads += 1
        taken, self.batches = self.batches[: min(most, self.block)], self.batches[min(most, self.block) :]
        return taken


@pytest.mark.parametrize("workers", [1, 7])
@pytest.mark.parametrize(("low", "above"), [(0, []), (2, [3, 5]), (0, range(1, 9)), (9, [9]), (10, [])])
@pytest.mark.parametrize("block", [2, 1000])
def test_the_batches_of_a_spool_that_are_not_done_come_in_order(workers, low, above, block):
    async def main():
        marks = Watermark(low, above)
        todo = [number for number in range(10) if number not in marks]
        feed = SpoolFeed(Reader(10, low, block), Window(marks, 1000))
        assert await drain(feed, workers) == [Batch(number, [f"user{number}"]) for number in todo]
        assert await feed.take() is None

    run_virtual(main)


def test_a_spool_is_read_many_batches_at_a_time_and_by_one_worker_at_a_time():
    async def main():
        reader = Reader(2500)
        feed = SpoolFeed(reader, Window(Watermark(), 5000))
        assert len(await drain(feed, 20)) == 2500
        # Five hundred at a time, and the end.
        assert reader.reads == 6

    run_virtual(main)


def test_batches_of_a_spool_too_far_ahead_wait_for_the_slowest():
    async def main():
        window = Window(Watermark(1, [3]), 3)
        feed = SpoolFeed(Reader(10, 1), window)
        assert [(await feed.take()).number for _ in range(2)] == [1, 2]
        taking = asyncio.create_task(feed.take())
        await asyncio.sleep(1)
        assert not taking.done()
        window.done(1)
        assert (await taking).number == 4

    run_virtual(main)
