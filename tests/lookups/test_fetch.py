from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tagferry
from tagferry.emulator import DEMO_SDKAPPID
from tagferry.errors import ConfigError, DeadlineError, DiskError, IntegrityError, RecordError, RefusedError
from tagferry.events import Checkpointed, Fetching, FetchPlanned
from tagferry.ledger import Ledger
from tagferry.lookups import fetch as module
from tagferry.lookups.plan import Checkpoint
from tagferry.lookups.sources import Source, open_source
from tagferry.lookups.target import Target
from tagferry.lookups.workplace import Workplace
from tests.exports.test_cancel import Steps
from tests.lookups.fetches import (
    Disk,
    Memory,
    aside,
    check_done,
    check_report,
    check_unfinished,
    names_in,
    read_answers,
    read_checkpoint,
    read_dead,
    refuse_after,
)
from tests.lookups.world import RATE, make_accounts, open_world

COOL = module._COOL


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(module, "_COOL", 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "tags.jsonl"


def source_of(text: str) -> Source:
    return aside(open_source, text)


# --- what a fetch does when nothing goes wrong


@pytest.mark.anyio
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_every_account_is_in_the_output_once(world, kind, ordered):
    for count in (0, 1, 99, 100, 101, 2_345):
        output = world.out / f"tags{count}.{kind}"
        accounts = make_accounts(count)
        world.events.clear()
        before = world.calls
        report = await world.client.fetch_tags(accounts, output, ordered=ordered)
        check_report(report, accounts)
        calls = math.ceil(count / 100)
        assert world.calls - before == report.requests == calls
        (plan,) = world.of(FetchPlanned)
        assert (plan.accounts, plan.distinct, plan.left, plan.calls) == (count, count, count, calls)
        assert plan.seconds == pytest.approx(calls / 10_000)
        assert world.of(Fetching)[:1] == [one for one in world.events if isinstance(one, Fetching)][:1]
        assert [one.accounts for one in world.of(Checkpointed)][-1:] == ([count] if count else [])
        if ordered:
            assert list(read_answers(output)) == accounts
        check_done(output, accounts)
        output.unlink()


@pytest.mark.anyio
async def test_repeats_are_asked_for_once(world):
    accounts = make_accounts(150) * 3 + make_accounts(50)
    report = await world.client.fetch_tags(accounts, world.out / "tags.csv")
    check_report(report, accounts)
    check_done(world.out / "tags.csv", accounts)
    assert world.facts()["asked"] == 150
    assert world.calls == 2


STRANGE = [" a", "a ", "A", "a", "é", "e\u0301", 'say "hi"', "a,b", "=1+1", "一二三", "0", "00", "null", "🚀"]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_accounts_are_compared_exactly(world, kind):
    output = world.out / f"tags.{kind}"
    report = await world.client.fetch_tags(STRANGE, output)
    check_report(report, STRANGE)
    check_done(output, STRANGE)


@pytest.mark.anyio
@pytest.mark.parametrize("shape", ["generator", "async", "text", "csv", "jsonl"])
async def test_accounts_come_from_anywhere(world, tmp_path, shape):
    accounts = make_accounts(12_050)

    async def later() -> AsyncIterator[str]:
        for account in accounts:
            yield account

    path = tmp_path / f"accounts.{shape}"
    source: Any
    match shape:
        case "generator":
            source = (account for account in accounts)
        case "async":
            source = later()
        case "text":
            path.write_text("\n".join(accounts))
            source = source_of(str(path))
        case "csv":
            path.write_text("uid,x\n" + "".join(f"{account},1\n" for account in accounts))
            source = source_of(f"{path}:uid")
        case _:
            path.write_text("".join(f'{{"uid":"{account}"}}\n' for account in accounts))
            source = source_of(f"{path}:uid")
    report = await world.client.fetch_tags(source, world.out / "tags.jsonl")
    check_report(report, accounts)
    check_done(world.out / "tags.jsonl", accounts)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_what_fails_goes_to_the_dead_letters(world, kind):
    bad = ["code90020-a", "poison1", "code70500-b", "poison2"]
    accounts = [*make_accounts(140), bad[0], *make_accounts(90, 200), *bad[1:], "code70500x2-c", "ghost1"]
    output = world.out / f"tags.{kind}"
    report = await world.client.fetch_tags(accounts, output)
    check_report(report, accounts, bad)
    check_done(output, accounts, bad)
    assert read_dead(world.out / "tags.dead.jsonl") == {
        "code90020-a": 90020,
        "poison1": 90012,
        "poison2": 90012,
        "code70500-b": 70500,
    }
    assert report.requests == world.calls > 3


@pytest.mark.anyio
async def test_throttle_answers_are_counted_and_lose_nothing(world):
    world.order("code=60007 x2")
    accounts = make_accounts(1000)
    report = await world.client.fetch_tags(accounts, world.out / "tags.jsonl")
    check_done(world.out / "tags.jsonl", accounts)
    assert (report.throttled, report.requests) == (2, 12)


@pytest.mark.anyio
async def test_a_listener_that_fails_breaks_nothing(tmp_path):
    def fail(_: object) -> None:
        raise ValueError("a bug of the listener")

    async with open_world(tmp_path, on_event=fail) as world:
        accounts = make_accounts(300)
        await world.client.fetch_tags(accounts, world.out / "tags.jsonl")
        check_done(world.out / "tags.jsonl", accounts)


# --- what is refused before any request, and leaves nothing behind


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["user1\nuser2\n\x07user3\n", "user1\nuser2\n" + "x" * 2000])
async def test_a_damaged_line_is_named_and_nothing_is_sent(world, tmp_path, text):
    path = tmp_path / "accounts.txt"
    path.write_text(text)
    with pytest.raises(RecordError, match="line 3"):
        await world.client.fetch_tags(source_of(str(path)), world.out / "tags.jsonl")
    assert world.calls == 0
    assert names_in(world.out) == set()


@pytest.mark.anyio
async def test_a_damaged_item_is_named_and_nothing_is_sent(world):
    async def later() -> AsyncIterator[str]:
        for account in [*make_accounts(12_000), ""]:
            yield account

    for accounts in ([*make_accounts(12_000), ""], later()):
        with pytest.raises(RecordError, match="account number 12001 is empty"):
            await world.client.fetch_tags(accounts, world.out / "tags.jsonl")
    assert world.calls == 0
    assert names_in(world.out) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("accounts", ["user1", b"user1", 7, None])
async def test_what_is_no_collection_of_accounts_is_a_bug_of_the_caller(output, accounts):
    memory = Memory()
    with pytest.raises(TypeError):
        await memory.fetch(accounts, output)
    assert memory.calls == 0
    assert names_in(output.parent) == set()


@pytest.mark.anyio
async def test_an_input_that_fails_leaves_nothing_behind(output):
    def broken() -> Iterator[str]:
        yield from make_accounts(100)
        raise LookupError("of the caller")

    async def later() -> AsyncIterator[str]:
        for account in broken():
            yield account

    memory = Memory()
    for accounts in (broken(), later()):
        with pytest.raises(LookupError, match="of the caller"):
            await memory.fetch(accounts, output)
    assert names_in(output.parent) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("deadline", [0, -1.0, math.nan])
async def test_a_deadline_that_is_none_is_refused(output, deadline):
    with pytest.raises(ConfigError, match="is not positive"):
        await Memory().fetch(["a"], output, deadline)
    assert not output.parent.exists()


@pytest.mark.anyio
async def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no directory"):
        await Memory().fetch(["a"], tmp_path / "file" / "tags.jsonl")


# --- files that are there


async def leave_an_output(output: Path) -> None:
    await Memory().fetch(["old", "bad old"], output)


@pytest.mark.anyio
async def test_an_output_that_is_there_is_refused(output):
    await leave_an_output(output)
    memory = Memory()
    with pytest.raises(ConfigError, match="is already there") as caught:
        await memory.fetch(["new"], output)
    assert caught.value.hint
    assert memory.calls == 0
    check_done(output, ["old", "bad old"], ["bad old"], truth=Memory.truth_of(["old"]))


@pytest.mark.anyio
async def test_an_output_that_is_there_is_kept(output):
    await leave_an_output(output)
    memory = Memory()
    report = await memory.fetch(["new"], output, if_exists="skip")
    assert report == tagferry.FetchReport(state="skipped", output=output)
    assert memory.calls == 0
    check_done(output, ["old", "bad old"], ["bad old"], truth=Memory.truth_of(["old"]))


@pytest.mark.anyio
@pytest.mark.parametrize("accounts", [["new"], ["new", "bad new"]])
async def test_an_output_that_is_there_is_replaced_with_its_dead_letters(output, accounts):
    await leave_an_output(output)
    bad = accounts[1:]
    await Memory().fetch(accounts, output, if_exists="replace")
    check_done(output, accounts, bad, truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_an_output_stays_until_it_is_replaced(output):
    await leave_an_output(output)
    with pytest.raises(RefusedError):
        await Memory(before=refuse_after(1)).fetch(many(50), output, if_exists="replace")
    assert read_answers(output) == Memory.truth_of(["old"])
    memory = Memory()
    # Whoever does not say it again is asked before anything is sent, and not at the end.
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch(many(50), output)
    report = await memory.fetch(many(50), output, if_exists="skip")
    assert (report.state, memory.calls) == ("skipped", 0)
    await memory.fetch(many(50), output, if_exists="replace")
    check_done(output, many(50), bad_of(many(50)), truth=Memory.truth_of(many(50)))


def leave_a_ledger(output: Path) -> None:
    def leave() -> None:
        Workplace.open(Target.of(output))._ledger.close()

    aside(leave)


@pytest.mark.anyio
async def test_whoever_is_refused_loses_no_resume_point(output):
    memory = Memory(workers=1, before=refuse_after(3))
    with pytest.raises(RefusedError):
        await memory.fetch(many(50), output)
    output.write_text("mine")
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch(many(50), output, resume=False)
    output.unlink()
    memory.before = None
    await go_on(memory, output, many(50), 30)


@pytest.mark.anyio
async def test_without_a_ledger_no_file_is_taken_for_ours(output):
    """Such as the list of accounts itself, if it happens to be called that."""
    output.parent.mkdir()
    mine = Target.of(output).spool
    mine.write_text("a\nb\n")
    memory = Memory()
    for resume in (True, False):
        with pytest.raises(DiskError, match="no ledger tells what for") as caught:
            await memory.fetch(source_of(str(mine)), output, resume=resume)
        assert caught.value.hint
    assert memory.calls == 0
    assert mine.read_text() == "a\nb\n"
    assert names_in(output.parent) == {mine.name}


@pytest.mark.anyio
async def test_a_ledger_without_a_plan_says_nothing_about_an_output(output):
    """A run that was to replace it was killed while it read its input."""
    await leave_an_output(output)
    leave_a_ledger(output)
    memory = Memory()
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch(["new"], output)
    assert names_in(output.parent) == {"tags.jsonl", "tags.dead.jsonl"}
    leave_a_ledger(output)
    assert (await memory.fetch(["new"], output, if_exists="skip")).state == "skipped"
    assert names_in(output.parent) == {"tags.jsonl", "tags.dead.jsonl"}
    assert memory.calls == 0


@pytest.mark.anyio
async def test_an_output_that_comes_into_being_meanwhile_is_not_replaced(output):
    async def write(_: Sequence[str]) -> None:
        await asyncio.to_thread(output.write_text, "mine")

    with pytest.raises(DiskError, match="came into being in the meantime"):
        await Memory(before=write).fetch(["a"], output)
    assert output.read_text() == "mine"
    memory = Memory()
    # Its answers are not lost.
    report = await memory.fetch(["a"], output, if_exists="replace")
    assert (memory.calls, report.tagged) == (0, 1)
    check_done(output, ["a"], truth=Memory.truth_of(["a"]))


@pytest.mark.anyio
async def test_a_foreign_file_in_place_of_the_ledger_is_left_alone(output):
    output.parent.mkdir()
    ledger = Target.of(output).ledger
    ledger.write_text("mine" * 1000)
    with pytest.raises(DiskError, match="is damaged or no ledger"):
        await Memory().fetch(["a"], output)
    assert ledger.read_text() == "mine" * 1000
    assert names_in(output.parent) == {ledger.name}


# --- runs that are ended, and the ones that follow


def many(count: int) -> list[str]:
    """Accounts for `Memory`: one in ten is unknown, one in twenty fails."""
    heads = ["bad"] + ["ghost"] * 2 + ["user"] * 17
    return [f"{heads[number % 20]}{number}" for number in range(count)]


def bad_of(accounts: Sequence[str]) -> list[str]:
    return [one for one in accounts if one.startswith("bad")]


async def go_on(memory: Memory, output: Path, accounts: Sequence[str], safe: int, **options: Any) -> None:
    """Run again to the end: all is there, and nothing that was safe was asked for again."""
    asked = memory.asked.total()
    report = await memory.fetch(accounts, output, **options)
    assert memory.asked.total() - asked == len(set(accounts)) - safe
    assert report.tagged + report.missing + report.failed == report.distinct == len(set(accounts))
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_the_first_fatal_code_stops_at_once_and_the_next_run_goes_on(world, kind, ordered):
    accounts = make_accounts(5_000)
    output = world.out / f"tags.{kind}"
    world.order("pass x20", "code=60020 x*")
    with pytest.raises(RefusedError) as caught:
        await world.client.fetch_tags(accounts, output, ordered=ordered)
    assert caught.value.code == 60020
    # What was on the wire when it came, and nothing after it.
    calls = world.calls
    assert 21 <= calls < 50
    safe = check_unfinished(output)
    assert 0 < safe <= 2000
    world.emulator.faults.clear()
    report = await world.client.fetch_tags(accounts, output, ordered=ordered)
    check_done(output, accounts)
    check_report(report, accounts)
    assert world.facts()["asked_again"] <= 2000 - safe
    assert report.requests == world.calls
    first, second = world.of(FetchPlanned)
    assert (first.left, second.left) == (5000, 5000 - safe)
    assert second.calls == math.ceil((5000 - safe) / 100)


@pytest.mark.anyio
async def test_an_answer_that_came_before_the_fatal_one_is_not_asked_for_again(output):
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(many(200), output)
    assert check_unfinished(output) == 70
    memory.before = None
    await go_on(memory, output, many(200), 70)
    assert memory.held == [0.0]


@pytest.mark.anyio
async def test_a_run_that_follows_another_waits_for_what_that_had_in_flight(output, monkeypatch):
    monkeypatch.setattr(module, "_COOL", COOL)
    assert COOL > 1.0
    for resume in (True, False):
        memory = Memory(before=refuse_after(3))
        with pytest.raises(RefusedError):
            await memory.fetch(many(100), output)
        assert memory.held == []
        memory.before = None
        await memory.fetch(many(100), output, resume=resume)
        assert memory.held == [COOL]
        shutil.rmtree(output.parent)


@pytest.mark.anyio
async def test_a_deadline_ends_a_run_and_the_next_one_goes_on(output):
    accounts = many(100)
    forever = asyncio.Event()

    async def wait(asked: Sequence[str]) -> None:
        if accounts[40] in asked:
            await forever.wait()

    memory = Memory(workers=2, before=wait)
    with pytest.raises(DeadlineError, match="was not done within 1 s") as caught:
        await memory.fetch(accounts, output, 1.0)
    assert caught.value.hint
    safe = check_unfinished(output)
    assert safe <= 90
    memory.before = None
    await go_on(memory, output, accounts, safe)


@pytest.mark.anyio
async def test_names_are_given_after_the_deadline_too(output, monkeypatch):
    """All is answered: to stop now would say that something is missing."""
    finish = Workplace.finish
    waits = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(place: Workplace, *, replace: bool) -> None:
        asyncio.run_coroutine_threadsafe(waits.wait(), loop).result(10)
        finish(place, replace=replace)

    monkeypatch.setattr(Workplace, "finish", slow)
    running = asyncio.create_task(Memory().fetch(["a"], output, 2.0))
    done, _ = await asyncio.wait([running], timeout=2.5)
    assert not done
    waits.set()
    assert (await running).tagged == 1
    check_done(output, ["a"], truth=Memory.truth_of(["a"]))


@pytest.mark.anyio
@pytest.mark.parametrize("stop", ["cancel", "deadline"])
async def test_an_input_that_never_comes_can_be_given_up(output, stop):
    async def never() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    running = asyncio.create_task(Memory().fetch(never(), output, 0.2 if stop == "deadline" else None))
    if stop == "cancel":
        await asyncio.sleep(0.1)
        running.cancel()
    with pytest.raises(asyncio.CancelledError if stop == "cancel" else DeadlineError):
        await running
    assert names_in(output.parent) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("stop", ["cancel", "deadline"])
async def test_a_pipe_that_nothing_comes_through_can_be_given_up(output, tmp_path, stop):
    path = tmp_path / "accounts.txt"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, b"user1\n")
    try:
        source = source_of(str(path))
        running = asyncio.create_task(Memory().fetch(source, output, 0.3 if stop == "deadline" else None))
        if stop == "cancel":
            await asyncio.sleep(0.1)
            running.cancel()
        with pytest.raises(asyncio.CancelledError if stop == "cancel" else DeadlineError):
            await running
    finally:
        os.close(writer)
    assert names_in(output.parent) == set()


@pytest.mark.anyio
async def test_a_source_of_the_callers_own_will_do(output):
    class Mine:
        name = "mine"

        def stamp(self) -> str | None:
            return None

        def exists(self) -> bool:
            return True

        def blocks(self) -> Iterator[list[bytes]]:
            return iter([[b"a", b"b"], [], [b"a", b"c"]])

    report = await Memory().fetch(Mine(), output)
    assert (report.accounts, report.distinct) == (4, 3)
    check_done(output, "abc", truth=Memory.truth_of("abc"))


CHANGES = [
    ("accounts", lambda accounts: [*accounts, "one more"], "200 accounts before, 201 now"),
    ("accounts", lambda accounts: accounts[:-1], "200 accounts before, 199 now"),
    ("accounts", lambda accounts: accounts[::-1], "others or in another order"),
    ("accounts", lambda accounts: [*accounts[:-1], "another"], "others or in another order"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("_", "change", "told"), CHANGES)
async def test_another_input_is_noticed_and_changes_nothing(output, _, change, told):
    accounts = many(200)
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(accounts, output)
    memory.before = None
    with pytest.raises(ConfigError, match="the input is not the one") as caught:
        await memory.fetch(change(accounts), output)
    assert told in caught.value.message
    assert check_unfinished(output) == 70
    await go_on(memory, output, accounts, 70)


@pytest.mark.anyio
async def test_a_changed_file_is_noticed_and_a_touched_one_is_not(output, tmp_path):
    accounts = many(200)
    path = tmp_path / "accounts.txt"
    path.write_text("\n".join(accounts))
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(source_of(str(path)), output)
    memory.before = refuse_after(0)
    path.write_text("\n".join([*accounts[:-1], "user000"]))
    with pytest.raises(ConfigError, match=r"accounts\.txt"):
        await memory.fetch(source_of(str(path)), output)
    # The same accounts, written another way.
    path.write_text("\r\n".join(accounts) + "\r\n\r\n")
    with pytest.raises(RefusedError):
        await memory.fetch(source_of(str(path)), output)
    memory.before = None
    await go_on(memory, output, accounts, 70)


@pytest.mark.anyio
async def test_a_file_that_was_not_touched_is_not_read_again(output, tmp_path, monkeypatch):
    accounts = many(200)
    path = tmp_path / "accounts.txt"
    path.write_text("\n".join(accounts))
    source = source_of(str(path))
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(source, output)
    memory.before = None
    monkeypatch.setattr(type(source), "blocks", lambda _: pytest.fail("it was read again"))
    await memory.fetch(source, output)
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


async def gone_list(path: Path) -> Any:
    return []


async def gone_generator(path: Path) -> Any:
    return iter(())


async def gone_async(path: Path) -> Any:
    async def nothing() -> AsyncIterator[str]:
        return
        yield

    return nothing()


async def gone_file(path: Path) -> Any:
    source = source_of(str(path))
    path.unlink()
    return source


async def gone_content(path: Path) -> Any:
    path.write_text("")
    return source_of(str(path))


@pytest.mark.anyio
@pytest.mark.parametrize("take_away", [gone_list, gone_generator, gone_async, gone_file, gone_content])
async def test_a_run_goes_on_although_its_input_is_gone(output, tmp_path, take_away):
    accounts = many(200)
    path = tmp_path / "accounts.txt"
    path.write_text("\n".join(accounts))
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(source_of(str(path)), output)
    memory.before = None
    report = await memory.fetch(await take_away(path), output)
    assert (report.accounts, report.distinct) == (200, 200)
    assert memory.asked.total() == 200
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_a_file_that_is_gone_before_the_first_run_is_told(output, tmp_path):
    path = tmp_path / "accounts.txt"
    path.write_text("a")
    source = source_of(str(path))
    path.unlink()
    with pytest.raises(DiskError, match="cannot read"):
        await Memory().fetch(source, output)
    assert names_in(output.parent) == set()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"service": "timpush"}, "service all_member_push, and now it is timpush"),
        ({"sdkappid": 1400000001}, "SDKAppID 1400000000, and now it is 1400000001"),
        ({"base_url": "http://127.0.0.1:9"}, "address http"),
    ],
)
async def test_other_settings_of_the_client_are_noticed(world, options, told):
    accounts = make_accounts(1000)
    output = world.out / "tags.jsonl"
    world.order("pass x2", "code=60020 x*")
    with pytest.raises(RefusedError):
        await world.client.fetch_tags(accounts, output)
    chosen = {
        "sdkappid": DEMO_SDKAPPID,
        "identifier": "administrator",
        "secret_key": "x" * 64,
        "base_url": world.emulator.base_url,
        "rate": RATE,
    }
    calls = world.calls
    async with tagferry.TencentIM(**(chosen | options)) as other:
        with pytest.raises(ConfigError, match="the unfinished fetch was begun with") as caught:
            await other.fetch_tags(accounts, output)
    assert told in caught.value.message
    assert world.calls == calls
    world.emulator.faults.clear()
    await world.client.fetch_tags(accounts, output)
    check_done(output, accounts)


@pytest.mark.anyio
async def test_another_order_or_size_of_calls_is_noticed(output):
    accounts = many(100)
    with pytest.raises(RefusedError):
        await Memory(before=refuse_after(2)).fetch(accounts, output)
    with pytest.raises(ConfigError, match="order as answered, and now it is of the input"):
        await Memory().fetch(accounts, output, ordered=True)
    # The numbers of batches in the checkpoint would stand for others.
    with pytest.raises(ConfigError, match="accounts in a call 10, and now it is 7"):
        await Memory(batch=7).fetch(accounts, output)
    await Memory().fetch(accounts, output)
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_all_can_be_begun_anew(output):
    with pytest.raises(RefusedError):
        await Memory(before=refuse_after(4)).fetch(many(100), output)
    memory = Memory()
    accounts = many(60)[::-1]
    report = await memory.fetch(accounts, output, resume=False, ordered=True)
    assert report.requests == memory.calls == 6
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_only_the_owner_can_read_what_is_kept_and_no_secret_is_in_it(world):
    world.order("pass x20", "code=60020 x*")
    with pytest.raises(RefusedError):
        await world.client.fetch_tags(make_accounts(5000), world.out / "tags.jsonl")
    target = Target.of(world.out / "tags.jsonl")
    for path in (target.ledger, target.spool):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    user_sig = await world.client._caller.credential.value()
    check_unfinished(target.output, user_sig)
    check_unfinished(target.output)


# --- files that are changed between two runs


async def leave_half(output: Path, **options: Any) -> Memory:
    memory = Memory(workers=1, before=refuse_after(7))
    with pytest.raises(RefusedError):
        await memory.fetch(many(200), output, **options)
    memory.before = None
    return memory


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["part", "dead_part"])
async def test_lost_lines_are_told_and_all_can_be_begun_anew(output, name):
    memory = await leave_half(output)
    path = getattr(Target.of(output), name)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DiskError, match="has lost 1 of the") as caught:
        await memory.fetch(many(200), output)
    assert caught.value.hint == "start over with --no-resume (resume=False)"
    await memory.fetch(many(200), output, resume=False)
    check_done(output, many(200), bad_of(many(200)), truth=Memory.truth_of(many(200)))


@pytest.mark.anyio
async def test_lines_beyond_the_checkpoint_are_dropped(output):
    memory = await leave_half(output)
    with Target.of(output).part.open("ab") as file:
        file.write(b'{"account":"user4","tags":["twice"]}\n' * 1000 + b'{"acc')
    await go_on(memory, output, many(200), 70)


@pytest.mark.anyio
@pytest.mark.parametrize("change", ["removed", "cut at a line", "cut in a line", "grown"])
async def test_a_spool_that_was_changed_is_told_and_all_can_be_begun_anew(output, change):
    memory = await leave_half(output)
    spool = Target.of(output).spool
    text = spool.read_bytes()
    match change:
        case "removed":
            spool.unlink()
        case "cut at a line":
            spool.write_bytes(text[: text.rindex(b"\n", 0, -1) + 1])
        case "cut in a line":
            spool.write_bytes(text[:-3])
        case _:
            spool.write_bytes(text + b"stranger\n")
    with pytest.raises(DiskError, match=r"tags\.jsonl\.accounts is") as caught:
        await memory.fetch(many(200), output)
    assert caught.value.hint == "start over with --no-resume (resume=False)"
    await memory.fetch(many(200), output, resume=False)
    check_done(output, many(200), bad_of(many(200)), truth=Memory.truth_of(many(200)))


@pytest.mark.anyio
async def test_an_account_that_was_never_answered_is_not_passed_over(output):
    """Whatever is wrong with the checkpoint, an output is not given its name without all accounts."""
    memory = await leave_half(output)

    def skip_a_batch() -> None:
        ledger = Ledger.open(Target.of(output).ledger)
        checkpoint = ledger.get("checkpoint", Checkpoint)
        assert checkpoint is not None
        ledger.put("checkpoint", msgspec.structs.replace(checkpoint, low=checkpoint.low + 1))
        ledger.close()

    aside(skip_a_batch)
    with pytest.raises(IntegrityError, match="190 accounts of 200 were answered") as caught:
        await memory.fetch(many(200), output)
    assert caught.value.hint
    assert not output.exists()


@pytest.mark.anyio
async def test_a_ledger_of_another_version_is_told(output):
    memory = await leave_half(output)
    database = sqlite3.connect(Target.of(output).ledger)
    database.execute("PRAGMA user_version = 7")
    database.close()
    before = names_in(output.parent)
    for resume in (True, False):
        with pytest.raises(DiskError, match=r"another version \(7\)"):
            await memory.fetch(many(200), output, resume=resume)
    assert names_in(output.parent) == before


# --- two at once


@pytest.mark.anyio
@pytest.mark.parametrize("resume", [True, False])
async def test_of_two_fetches_of_one_output_the_second_is_told(output, resume):
    goes_on = asyncio.Event()

    async def wait(_: Sequence[str]) -> None:
        await goes_on.wait()

    first = Memory(before=wait)
    running = asyncio.create_task(first.fetch(many(100), output))
    while not first.calls:
        await asyncio.sleep(0.005)
    second = Memory()
    with pytest.raises(DiskError, match="another run is writing this output") as caught:
        await second.fetch(many(100), output, resume=resume)
    assert caught.value.code == "EBUSY"
    goes_on.set()
    await running
    assert second.calls == 0
    check_done(output, many(100), bad_of(many(100)), truth=Memory.truth_of(many(100)))


@pytest.mark.anyio
async def test_a_run_that_ended_while_another_waited_for_it_is_not_done_again(output, monkeypatch):
    opening = Workplace.open

    def late(target: Target) -> Workplace:
        monkeypatch.undo()
        place = opening(target)
        place._ledger.remove()
        target.output.write_text("of the first run")
        return opening(target)

    memory = Memory()
    monkeypatch.setattr(Workplace, "open", late)
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch(many(100), output)
    assert memory.calls == 0
    assert names_in(output.parent) == {output.name}


@pytest.mark.anyio
async def test_outputs_of_one_name_and_two_formats_do_not_meet(tmp_path):
    one, other = tmp_path / "out" / "tags.csv", tmp_path / "out" / "tags.jsonl"
    plain = [account for account in many(300) if not account.startswith("bad")]
    await asyncio.gather(Memory().fetch(many(300), one), Memory().fetch(plain, other))
    assert read_answers(one) == read_answers(other) == Memory.truth_of(plain)
    assert names_in(tmp_path / "out") == {"tags.csv", "tags.jsonl", "tags.dead.jsonl"}


# --- the end


async def leave_at_the_end(output: Path, accounts: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All is answered, the dead letters have their name, and the output has not."""

    def crash(*_: object, **__: object) -> None:
        raise DiskError("the power is gone", code="EIO")

    with monkeypatch.context() as patch:
        patch.setattr("tagferry.lookups.workplace._place", crash)
        with pytest.raises(DiskError):
            await Memory().fetch(accounts, output)
    assert not output.exists()


@pytest.mark.anyio
async def test_an_end_is_gone_on_with(output, monkeypatch):
    accounts = many(100)
    await leave_at_the_end(output, accounts, monkeypatch)
    memory = Memory()
    report = await memory.fetch(accounts, output)
    assert (memory.calls, memory.held) == (0, [])
    assert (report.accounts, report.failed, report.requests) == (100, 5, 10)
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_an_end_is_not_taken_for_that_of_another_input(output, monkeypatch):
    accounts = many(100)
    await leave_at_the_end(output, accounts, monkeypatch)
    memory = Memory()
    with pytest.raises(ConfigError, match="the input is not the one"):
        await memory.fetch(many(101), output)
    with pytest.raises(ConfigError, match="order as answered"):
        await memory.fetch(accounts, output, ordered=True)
    await memory.fetch([], output)
    assert memory.calls == 0
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))


@pytest.mark.anyio
async def test_an_end_is_reached_before_all_is_begun_anew(output, monkeypatch):
    accounts = many(100)
    await leave_at_the_end(output, accounts, monkeypatch)
    output.write_text("mine")
    memory = Memory()
    with pytest.raises(DiskError, match="came into being in the meantime"):
        await memory.fetch(many(40), output, resume=False)
    output.unlink()
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch(many(40), output, resume=False)
    check_done(output, accounts, bad_of(accounts), truth=Memory.truth_of(accounts))
    assert memory.calls == 0
    await leave_at_the_end(output.with_name("b.jsonl"), accounts, monkeypatch)
    await memory.fetch(many(40), output.with_name("b.jsonl"), resume=False, if_exists="replace")
    assert memory.held == [0.0]
    output.unlink()
    Target.of(output).dead.unlink()
    check_done(output.with_name("b.jsonl"), many(40), bad_of(many(40)), truth=Memory.truth_of(many(40)))


# --- cancellation and failures of the disk at every step


def look(output: Path) -> int:
    """Return how many accounts are safe; None of the files may be half."""
    if output.exists():
        assert read_answers(output)
        return len(read_answers(output)) + len(read_dead(Target.of(output).dead))
    return check_unfinished(output) if output.parent.exists() else 0


SMALL = many(25)


async def finish_it(memory: Memory, output: Path) -> None:
    safe = look(output)
    if output.exists() and not Target.of(output).ledger.exists():
        assert safe == len(SMALL)
    else:
        asked = memory.asked.total()
        await memory.fetch(SMALL, output)
        assert memory.asked.total() - asked == len(SMALL) - safe
    check_done(output, SMALL, bad_of(SMALL), truth=Memory.truth_of(SMALL))


@pytest.mark.anyio
async def test_a_cancellation_at_any_await(tmp_path):
    at = 0
    while True:
        at += 1
        output = tmp_path / f"{at}" / "tags.jsonl"
        memory = Memory(batch=5, workers=2)
        steps = Steps(memory.fetch(SMALL, output), at)
        with suppress(asyncio.CancelledError):
            await steps
        assert set(names_in(output.parent)) <= all_names(output)
        await finish_it(memory, output)
        if steps.taken < at:
            break
    assert at > 20


def all_names(output: Path) -> set[str]:
    target = Target.of(output)
    return {path.name for path in (*target.unfinished, target.ledger, target.output, target.dead)}


STRIKES = ["cancel", "EIO", "ENOSPC"]


@pytest.mark.anyio
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", STRIKES)
@pytest.mark.parametrize("half", [False, True])
async def test_any_call_on_the_disk_may_fail_or_be_the_last(tmp_path, monkeypatch, kind, half, every):
    running: asyncio.Task[Any]
    loop = asyncio.get_running_loop()

    def strike(name: str) -> None:
        if kind == "cancel":
            loop.call_soon_threadsafe(running.cancel)
            return
        number = getattr(errno, kind)
        if name.startswith("Ledger"):
            raise DiskError("cannot use the ledger", code=kind, hint="check the disk")
        raise OSError(number, os.strerror(number))

    disk = Disk(monkeypatch, tmp_path / "nowhere", strike)
    at = 1 + (STRIKES.index(kind) + half) % every
    while True:
        output = tmp_path / f"{at}" / "tags.jsonl"
        memory = Memory(batch=5, workers=2)
        if half:
            memory.before = refuse_after(2)
            with pytest.raises(RefusedError):
                await memory.fetch(SMALL, output)
            memory.before = None
        disk.out, disk.at, disk.calls = output.parent, at, []
        running = asyncio.create_task(memory.fetch(SMALL, output))
        await asyncio.wait([running])
        struck, disk.at = len(disk.calls) >= at, None
        error = None if running.cancelled() else running.exception()
        assert error is None or isinstance(error, (DiskError, ConfigError)), repr(error)
        assert error is None or getattr(error, "hint", None)
        await finish_it(memory, output)
        if not struck:
            break
        at += every
    assert at > 40


@pytest.mark.anyio
async def test_a_full_disk_that_has_room_again_at_once_loses_no_line(output, monkeypatch):
    """Lines that could not be written must not be counted by the checkpoint after it."""
    accounts = many(400)
    writes = 0
    write = os.write
    part = Target.of(output).part

    def fail_once(handle: int, text: Any) -> int:
        nonlocal writes
        if Path(f"/proc/self/fd/{handle}").readlink() == part:
            writes += 1
            if writes == 2:
                written = write(handle, bytes(text)[:5])
                assert written == 5
                time.sleep(0.02)  # more is answered meanwhile
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, text)

    async def take_time(_: Sequence[str]) -> None:
        await asyncio.sleep(0.002)

    monkeypatch.setattr("tagferry.lookups.saver._EVERY", 0.001)
    monkeypatch.setattr(os, "write", fail_once)
    memory = Memory(before=take_time)
    with pytest.raises(DiskError) as caught:
        await memory.fetch(accounts, output)
    assert caught.value.code == "ENOSPC"
    await go_on(memory, output, accounts, check_unfinished(output))


# --- any sequence of what can go wrong

ACCOUNTS = many(60)
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["refuse", "cancel", "EIO", "crash", "power cut"]),
        st.integers(0, 120),
        st.floats(0, 1),
    ),
    max_size=5,
)


class Story:
    """Runs of one fetch that end in all kinds of ways."""

    def __init__(self, patch: pytest.MonkeyPatch, directory: Path, *, ordered: bool, kind: str) -> None:
        self.out = directory / "out"
        self.output = self.out / f"tags.{kind}"
        self.ordered = ordered
        self.memory = Memory(batch=5, workers=3)
        self.copy = directory / "copy"
        self.disk = Disk(patch, self.out, self._strike)
        self.kind = ""
        self.share = 0.0
        self.asked: Any = None

    async def run(self, kind: str, at: int, share: float) -> None:
        self.kind, self.share, self.asked = kind, share, None
        self.loop = asyncio.get_running_loop()
        self.memory.before = refuse_after(at // 8) if kind == "refuse" else None
        before = dict(self.memory.asked)
        safe = self.safe()
        self.disk.calls, self.disk.at = [], None if kind == "refuse" else at + 1
        self.task = asyncio.create_task(self.fetch())
        await asyncio.wait([self.task])
        self.disk.at = None
        if self.asked is not None:
            # The process ended back then: what came after it never was.
            shutil.rmtree(self.out, ignore_errors=True)
            if self.copy.exists():
                self.copy.rename(self.out)
            self.memory.asked = self.asked
        if not self.task.cancelled() and (error := self.task.exception()):
            assert isinstance(error, (RefusedError, DiskError, ConfigError)), repr(error)
        for account in safe:
            assert self.memory.asked[account] == before[account], "it was asked for again"

    async def fetch(self) -> None:
        await self.memory.fetch(ACCOUNTS, self.output, ordered=self.ordered, if_exists="skip")

    def safe(self) -> set[str]:
        """The accounts that are on disk for good."""
        target = Target.of(self.output)
        if self.output.exists():
            return set(ACCOUNTS)
        checkpoint = read_checkpoint(target)
        if checkpoint is None:
            return set()
        lines = target.part.read_bytes()[: checkpoint.output_size]
        letters = target.dead if target.dead.exists() else target.dead_part
        dead = letters.read_bytes()[: checkpoint.dead_size]
        there = lines.decode() + dead.decode()
        return {one for one in ACCOUNTS if f'"{one}"' in there or f"{one}," in there}

    def _strike(self, name: str) -> None:
        match self.kind:
            case "cancel":
                self.loop.call_soon_threadsafe(self.task.cancel)
            case "EIO":
                if name.startswith("Ledger"):
                    raise DiskError("cannot use the ledger", code="EIO", hint="check the disk")
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case _:
                self.asked = self.memory.asked.copy()
                self.disk.copy(self.copy, self.share if self.kind == "power cut" else 1.0)


STORY = {"runs": RUNS, "ordered": st.booleans(), "kind": st.sampled_from(["jsonl", "csv"])}


def tell(directory: Path, runs: list[tuple[str, int, float]], *, ordered: bool, kind: str) -> None:
    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_COOL", 0.0)
            patch.setattr("tagferry.lookups.saver._EVERY", 0.002)
            story = Story(patch, directory, ordered=ordered, kind=kind)
            for run in runs:
                await story.run(*run)
            story.memory.before = None
            await story.fetch()
        check_done(story.output, ACCOUNTS, bad_of(ACCOUNTS), truth=Memory.truth_of(ACCOUNTS))
        if ordered:
            plain = [one for one in ACCOUNTS if not one.startswith("bad")]
            assert list(read_answers(story.output)) == plain

    asyncio.run(main())
    shutil.rmtree(directory)


@pytest.mark.timeout(180)
@given(**STORY)
@settings(max_examples=30)
def test_whatever_breaks_every_account_is_there_once_in_the_end(tmp_path_factory, runs, ordered, kind):
    tell(tmp_path_factory.mktemp("story"), runs, ordered=ordered, kind=kind)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(**STORY)
@settings(max_examples=1000)
def test_whatever_breaks_a_thousand_times(tmp_path_factory, runs, ordered, kind):
    tell(tmp_path_factory.mktemp("story"), runs, ordered=ordered, kind=kind)
