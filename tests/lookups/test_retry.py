from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tagferry.errors import ConfigError, DiskError, RecordError, RefusedError
from tagferry.events import FetchPlanned
from tagferry.ledger import Ledger
from tagferry.lookups import fetch as module
from tagferry.lookups import workplace
from tagferry.lookups.target import Target
from tests.lookups.fetches import (
    Memory,
    aside,
    check_done,
    check_report,
    names_in,
    read_answers,
    read_checkpoint,
    read_dead,
    refuse_after,
)
from tests.lookups.world import make_accounts, settings
from tests.lookups.world import open_world as open_a_world

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(module, "_COOL", 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "tags.jsonl"


PLAIN = [f"user{number}" for number in range(30)] + ["ghost1"]
BAD = [f"bad{number}" for number in range(40)]


async def leave_dead_letters(output: Path, accounts: Sequence[str] = (*PLAIN, *BAD)) -> Path:
    await Memory().fetch(list(accounts), output)
    return Target.of(output).dead


def mended(*still: str) -> Memory:
    """A service that answers for all accounts but these."""
    memory = Memory()
    memory.fails = lambda account: account in still
    return memory


def check_all(output: Path, *still: str) -> None:
    """The output has all accounts, but those that still fail."""
    accounts = [one for one in (*PLAIN, *BAD) if one not in still]
    assert read_answers(output) == Memory.answers_to(accounts)
    dead = Target.of(output).dead
    assert names_in(output.parent) == {output.name} | ({dead.name} if still else set())
    assert not still or read_dead(dead).keys() == set(still)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("still", [(), ("bad3", "bad17"), tuple(BAD)])
async def test_what_is_answered_now_is_merged_into_the_output(tmp_path, kind, ordered, still):
    output = tmp_path / "out" / f"tags.{kind}"
    dead = await leave_dead_letters(output)
    before = output.read_bytes()
    memory = mended(*still)
    report = await memory.retry(dead, ordered=ordered)
    check_all(output, *still)
    assert output.read_bytes().startswith(before)
    assert (report.accounts, report.distinct, report.requests) == (40, 40, 4)
    assert (report.tagged, report.missing, report.failed) == (40 - len(still), 0, len(still))
    assert report.output == output
    assert report.dead_letters == (dead if still else None)
    (plan,) = memory.of(FetchPlanned)
    assert (plan.left, plan.calls) == (40, 4)
    if ordered:
        assert list(read_answers(output))[len(PLAIN) :] == [one for one in BAD if one not in still]


async def test_a_real_service_that_has_recovered(tmp_path):
    bad = [f"code70500x12-{number}" for number in range(120)]
    accounts = [*make_accounts(500), *bad, "code90020-a"]
    async with open_a_world(tmp_path, settings(unknown="errorlist"), retries=3) as world:
        output = world.out / "tags.csv"
        report = await world.client.fetch_tags(accounts, output)
        check_report(report, accounts, [*bad, "code90020-a"])
        dead = world.out / "tags.dead.jsonl"
        for _ in range(5):
            if read_dead(dead).keys() == {"code90020-a"}:
                break
            report = await world.client.retry_tags(dead)
        assert report.failed == 1
        check_done(output, accounts, ["code90020-a"])


async def test_retries_follow_each_other(output):
    dead = await leave_dead_letters(output)
    await mended(*BAD[:20]).retry(dead)
    await mended(*BAD[:7]).retry(dead)
    check_all(output, *BAD[:7])
    await mended().retry(dead)
    check_all(output)
    with pytest.raises(ConfigError, match="there are no dead letters"):
        await mended().retry(dead)
    check_all(output)


async def test_a_last_line_without_an_end_is_given_one(output):
    dead = await leave_dead_letters(output)
    output.write_bytes(output.read_bytes().rstrip(b"\n"))
    await mended().retry(dead)
    check_all(output)


async def test_the_ending_of_an_output_may_be_in_capitals(tmp_path):
    output = tmp_path / "out" / "TAGS.JSONL"
    await Memory().fetch([*PLAIN, *BAD], output)
    await mended().retry(Target.of(output).dead)
    check_all(output)


# --- what is refused before any request


async def test_dead_letters_without_their_output_are_refused(output):
    dead = await leave_dead_letters(output)
    output.rename(output.with_name("other.jsonl"))
    memory = mended()
    with pytest.raises(ConfigError, match="none is there") as caught:
        await memory.retry(dead)
    assert caught.value.hint
    with pytest.raises(ConfigError, match="there is no file"):
        await memory.retry(dead, output)
    assert memory.calls == 0
    assert names_in(output.parent) == {"other.jsonl", dead.name}


async def test_without_dead_letters_it_is_said_that_there_are_none(output):
    dead = output.with_name("tags.dead.jsonl")
    with pytest.raises(ConfigError, match="there are no dead letters") as caught:
        await mended().retry(dead)
    assert "nothing failed" in caught.value.hint
    output.parent.mkdir()
    output.write_text("")
    with pytest.raises(ConfigError, match="there are no dead letters") as caught:
        await mended().retry(dead)
    assert "nothing failed" in caught.value.hint
    assert names_in(output.parent) == {output.name}


async def test_with_two_outputs_the_right_one_has_to_be_named(output):
    dead = await leave_dead_letters(output)
    output.with_suffix(".csv").write_text("account,tags\n")
    memory = mended()
    with pytest.raises(ConfigError, match="more than one is there"):
        await memory.retry(dead)
    assert memory.calls == 0
    await memory.retry(dead, output)
    assert output.with_suffix(".csv").read_text() == "account,tags\n"
    output.with_suffix(".csv").unlink()
    check_all(output)


async def test_another_file_is_no_dead_letters(output):
    await leave_dead_letters(output)
    with pytest.raises(ConfigError, match="is not named like dead letters"):
        await mended().retry(output)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"account":"bad0","code":1}\n{"account":"","code":1}\n', "line 2 is empty"),
        ('{"account":"bad0","code":1}\n{"account":"bad', "line 2 cannot be used"),
        ('{"user":"bad0"}\n', "has no field account"),
    ],
)
async def test_damaged_dead_letters_are_told_and_left_alone(output, text, told):
    dead = await leave_dead_letters(output)
    dead.write_text(text)
    memory = mended()
    with pytest.raises((RecordError, ConfigError), match=told):
        await memory.retry(dead)
    assert memory.calls == 0
    assert dead.read_text() == text
    assert names_in(output.parent) == {output.name, dead.name}


# --- dead letters that were moved


async def test_moved_dead_letters_are_merged_and_gone(output, tmp_path):
    dead = await leave_dead_letters(output)
    moved = tmp_path / "elsewhere.jsonl"
    dead.rename(moved)
    await mended("bad1").retry(moved, output)
    check_all(output, "bad1")
    assert not moved.exists()


async def test_dead_letters_of_another_name_lose_none_beside_the_output(output, tmp_path):
    dead = await leave_dead_letters(output)
    lines = dead.read_text().splitlines(keepends=True)
    other = tmp_path / "other.jsonl"
    dead.write_text("".join(lines[:10]))
    other.write_text("".join(lines[10:]))
    memory = mended()
    with pytest.raises(ConfigError, match="is there, and is not") as caught:
        await memory.retry(other, output)
    assert caught.value.hint
    assert memory.calls == 0
    await memory.retry(dead)
    await memory.retry(other, output)
    check_all(output)
    assert not other.exists()


async def test_a_link_to_dead_letters_stands_for_them(output, tmp_path):
    dead = await leave_dead_letters(output)
    link = tmp_path / "link.jsonl"
    link.symlink_to(dead)
    await mended("bad1").retry(link, output)
    check_all(output, "bad1")


# --- runs that are ended, and the ones that follow


async def leave_half(output: Path, **options: Any) -> tuple[Path, Memory]:
    dead = await leave_dead_letters(output)
    before = output.read_bytes(), dead.read_bytes()
    memory = Memory(workers=1, before=refuse_after(2))
    memory.fails = lambda account: account == "bad9"
    with pytest.raises(RefusedError):
        await memory.retry(dead, **options)
    memory.before = None
    # Nothing has changed until the end.
    assert (output.read_bytes(), dead.read_bytes()) == before
    return dead, memory


async def test_a_retry_goes_on(output):
    dead, memory = await leave_half(output)
    checkpoint = read_checkpoint(Target.of(output))
    assert checkpoint is not None
    assert checkpoint.totals.tagged + checkpoint.totals.failed == 20
    await memory.retry(dead)
    assert memory.asked.total() == 40
    check_all(output, "bad9")


async def test_a_retry_can_be_begun_anew(output):
    dead, memory = await leave_half(output)
    await memory.retry(dead, resume=False)
    assert memory.asked.total() == 60
    check_all(output, "bad9")


async def test_changed_dead_letters_are_noticed(output):
    dead, memory = await leave_half(output)
    text = dead.read_text()
    dead.write_text(text + '{"account":"bad99","code":1,"message":"m"}\n')
    with pytest.raises(ConfigError, match="40 accounts before, 41 now"):
        await memory.retry(dead)
    dead.write_text(text)
    await memory.retry(dead)
    check_all(output, "bad9")


async def test_a_retry_goes_on_although_its_dead_letters_are_gone(output):
    dead, memory = await leave_half(output)
    dead.unlink()
    await memory.retry(dead)
    check_all(output, "bad9")


async def test_a_retry_is_not_gone_on_with_as_a_fetch_nor_the_other_way_round(output):
    dead, memory = await leave_half(output)
    with pytest.raises(ConfigError, match="is already there"):
        await memory.fetch([*PLAIN, *BAD], output)
    with pytest.raises(ConfigError, match="begun with purpose retry, and now it is fetch"):
        await memory.fetch(BAD, output, if_exists="replace")
    await memory.retry(dead)
    check_all(output, "bad9")
    memory.before = refuse_after(1)
    with pytest.raises(RefusedError):
        await memory.fetch([*PLAIN, *BAD], output, if_exists="replace")
    memory.before = None
    with pytest.raises(ConfigError, match="begun with purpose fetch, and now it is retry"):
        await memory.retry(dead)


class CrashError(BaseException):
    pass


def crash_at(patch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Let a run end at one of the steps of its end."""
    steps: list[str] = []

    def wrap(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **options: object) -> object:
            steps.append(name)
            if len(steps) >= at:
                raise CrashError
            return call(*args, **options)

        return step

    def begin(place: workplace.Workplace, **options: Any) -> None:
        for owner, name in (
            *((os, name) for name in ("link", "unlink", "rename", "replace")),
            (workplace, "sync_directory"),
            (Ledger, "put"),
            (Ledger, "remove"),
        ):
            patch.setattr(owner, name, wrap(name, getattr(owner, name)))
        finish(place, **options)

    finish = workplace.Workplace.finish
    patch.setattr(workplace.Workplace, "finish", begin)
    return steps


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("still", [(), ("bad3", "bad17")])
async def test_a_crash_at_any_step_of_the_end_ends_right_in_the_next_run(
    tmp_path, monkeypatch, moved, resume, still
):
    at = 0
    while True:
        at += 1
        output = tmp_path / f"{at}" / "tags.csv"
        dead = await leave_dead_letters(output)
        named = None
        if moved:
            dead, named = dead.rename(tmp_path / f"{at}.jsonl"), output
        with monkeypatch.context() as patch:
            steps = crash_at(patch, at)
            with suppress(CrashError):
                await mended(*still).retry(dead, named)
        answers = read_answers(output)
        there = [path for path in (dead, Target.of(output).dead) if path.exists()]
        letters = {account for path in there for account in read_dead(path)}
        unfinished = Target.of(output).part
        if unfinished.exists():
            letters |= read_answers(unfinished).keys()
        assert answers.keys() | letters == {*PLAIN, *BAD}, "an account is in no file"
        if Target.of(output).ledger.exists():
            memory = mended(*still)
            if resume:
                await memory.retry(dead, named)
                assert memory.calls == 0
            elif at > 1 and (moved or not still):
                # The end was reached first, and then there is nothing left to begin anew with.
                with pytest.raises(ConfigError, match="there are no dead letters"):
                    await memory.retry(dead, named, resume=False)
            else:
                await memory.retry(dead, named, resume=False)
        check_all(output, *still)
        assert moved is False or not dead.exists()
        if len(steps) < at:
            break
    assert at > 5


async def test_an_output_that_is_gone_in_between_is_told(output, monkeypatch):
    dead = await leave_dead_letters(output)
    begin = workplace.Workplace.begin

    def lose(place: workplace.Workplace, *args: Any) -> None:
        output.unlink()
        begin(place, *args)

    monkeypatch.setattr(workplace.Workplace, "begin", lose)
    memory = mended()
    with pytest.raises(DiskError, match=r"cannot read .*tags\.jsonl"):
        await memory.retry(dead)
    assert memory.calls == 0
    assert names_in(output.parent) == {dead.name}


async def test_dead_letters_keep_what_the_service_said(output):
    dead = await leave_dead_letters(output, ["a", "bad1"])
    (line,) = dead.read_text().splitlines()
    assert json.loads(line) == {"account": "bad1", "code": 7, "message": "it fails"}
    assert aside(Target.of(output).check, "replace") is False
