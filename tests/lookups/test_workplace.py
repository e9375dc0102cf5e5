from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tagferry.errors import DiskError
from tagferry.ledger import Ledger
from tagferry.lookups import workplace as module
from tagferry.lookups.plan import Ending, Plan, Totals
from tagferry.lookups.spool import Spool
from tagferry.lookups.target import Target
from tagferry.lookups.workplace import Workplace
from tests.lookups.fetches import names_in, read_checkpoint

PLAN = Plan(settings={}, source="accounts", stamp=None, digest="", accounts=2, distinct=2, size=4)
OLD, OLD_DEAD = b'{"account":"old","tags":null}\n', b'{"account":"x","code":1,"message":"m"}\n'
SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"
LINES, DEAD = b'{"account":"a","tags":["1"]}\n', b'{"account":"b","code":2,"message":"m"}\n'


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target.of(tmp_path / "out" / "tags.jsonl")


@contextmanager
def opened(target: Target, *, resume: bool = True) -> Iterator[Workplace]:
    place = Workplace.open(target)
    try:
        if place.plan is None or not resume:
            place.make_room()
        yield place
    finally:
        place.close()


def write_spool(target: Target) -> None:
    spool = Spool(target.spool)
    spool.add([b"a", b"b"])
    spool.finish()


def set_out(place: Workplace, plan: Plan = PLAN) -> None:
    write_spool(place.target)
    place.begin(plan)


def answer(place: Workplace, lines: bytes = LINES, dead: bytes = DEAD) -> None:
    place.open_files()
    place.save(lines, dead, 1, [], Totals(tagged=1, failed=1 if dead else 0))


def unfinished(target: Target) -> set[str]:
    return {path.name for path in (*target.unfinished, target.ledger)}


def test_the_directory_is_made(target):
    with opened(target) as place:
        assert place.plan is None
        assert not place.follows
        assert names_in(target.output.parent) >= {target.ledger.name}
    assert names_in(target.output.parent) == set()


def test_a_next_run_finds_the_plan_and_what_is_written(target):
    with opened(target) as place:
        set_out(place)
        answer(place)
    assert names_in(target.output.parent) == unfinished(target)
    target.part.write_bytes(LINES + b'{"acc')
    with opened(target) as place:
        assert place.follows
        assert place.plan == PLAN
        assert place.ending is None
        assert place.checkpoint.low == 1
        place.open_files()
        assert target.part.read_bytes() == LINES
        place.save(b"more\n", b"", 2, [4], Totals(tagged=2))
    checkpoint = read_checkpoint(target)
    assert checkpoint is not None
    assert (checkpoint.low, checkpoint.above) == (2, [4])
    assert (checkpoint.output_size, checkpoint.dead_size) == (len(LINES) + 5, len(DEAD))


def test_all_is_on_disk_before_the_plan_is(tmp_path, monkeypatch):
    steps: list[str] = []

    def note(what: str, call: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            steps.append(what)
            return call(*args)

        return noted

    target = Target.of(tmp_path / "tags.csv")
    with opened(target) as place:
        write_spool(target)
        monkeypatch.setattr(os, SYNC, note("bytes", getattr(os, SYNC)))
        monkeypatch.setattr(module, "sync_directory", note("names", module.sync_directory))
        monkeypatch.setattr(Ledger, "put", note("ledger", Ledger.put))
        place.begin(PLAN)
        assert {target.part.name, target.dead_part.name} <= names_in(target.output.parent)
    assert steps == ["bytes", "names", "ledger", "ledger"]


def test_a_plan_is_dropped_when_it_is_not_to_be_gone_on_with(target):
    with opened(target) as place:
        set_out(place)
        answer(place)
    with opened(target, resume=False) as place:
        assert place.plan is None
        assert place.checkpoint.low == 0
        # Its requests may have been sent a moment ago.
        assert place.follows
        assert names_in(target.output.parent) >= {target.ledger.name}
        assert not target.part.exists()
    assert names_in(target.output.parent) == set()


def test_a_run_that_ended_before_its_plan_is_swept(target):
    Workplace.open(target)._ledger.close()
    for path in target.unfinished:
        path.write_bytes(b"half")
    target.spool.with_name(target.spool.name + ".distinct").write_bytes(b"half")
    with opened(target) as place:
        assert place.plan is None
        assert names_in(target.output.parent) == {target.ledger.name, f"{target.ledger.name}-wal"}
    assert names_in(target.output.parent) == set()


def test_a_crash_between_checkpoint_and_plan_leaves_no_plan(target, monkeypatch):
    put = Ledger.put

    def crash(ledger: Ledger, key: str, document: msgspec.Struct) -> None:
        if key == "plan":
            raise KeyboardInterrupt
        put(ledger, key, document)

    place = Workplace.open(target)
    place.make_room()
    write_spool(target)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "put", crash)
        with pytest.raises(KeyboardInterrupt):
            place.begin(PLAN)
    place._ledger.close()
    assert read_checkpoint(target) is not None
    with opened(target) as place:
        assert place.plan is None
        assert not target.spool.exists()


@pytest.mark.parametrize("name", ["part", "dead_part", "spool"])
@pytest.mark.parametrize("kind", ["file", "directory", "pipe", "link"])
def test_without_a_ledger_nothing_is_ours(target, name, kind):
    """Such as the list of accounts itself, if it happens to be called that."""
    path = getattr(target, name)
    mine = target.output.parent / "mine"
    mine.parent.mkdir()
    mine.write_text("mine")
    make(path, kind, mine)
    before = names_in(target.output.parent)
    place = Workplace.open(target)
    with pytest.raises(DiskError, match="already there, and no ledger tells what for") as caught:
        place.make_room()
    place.close()
    assert str(path) in caught.value.message
    assert names_in(target.output.parent) == before
    assert mine.read_text() == "mine"


def make(path: Path, kind: str, mine: Path) -> None:
    match kind:
        case "file":
            path.write_text("mine")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(mine)


@pytest.mark.parametrize("name", ["part", "dead_part", "spool"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
def test_what_takes_the_place_of_an_unfinished_file_is_not_written_to(target, name, kind):
    with opened(target) as place:
        set_out(place)
        answer(place)
    path, mine = getattr(target, name), target.output.parent / "mine"
    path.rename(mine)
    before = mine.read_bytes()
    make(path, kind, mine)
    with opened(target) as place, pytest.raises(DiskError) as caught:
        place.open_files()
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert mine.read_bytes() == before
    assert read_checkpoint(target) is not None


@pytest.mark.parametrize(("name", "told"), [("part", "has lost"), ("dead_part", "has lost")])
def test_lost_lines_are_told(target, name, told):
    with opened(target) as place:
        set_out(place)
        answer(place)
    path = getattr(target, name)
    os.truncate(path, path.stat().st_size - 1)
    with opened(target) as place, pytest.raises(DiskError, match=told):
        place.open_files()


@pytest.mark.parametrize(("text", "told"), [(None, "is gone"), (b"a\n", "is not as it was left")])
def test_a_spool_that_is_not_as_it_was_left_is_told(target, text, told):
    with opened(target) as place:
        set_out(place)
    target.spool.unlink()
    if text is not None:
        target.spool.write_bytes(text)
    with opened(target) as place, pytest.raises(DiskError, match=told) as caught:
        place.open_files()
    assert caught.value.hint == "start over with --no-resume (resume=False)"


def prepare(target: Target, *, dead: bytes, old: bool, retried: Path | None = None) -> Workplace:
    """A fetch that has answered all, perhaps with an older output in its place."""
    target.output.parent.mkdir(exist_ok=True)
    if old:
        target.output.write_bytes(OLD)
        target.dead.write_bytes(OLD_DEAD)
    if retried:
        retried.write_bytes(OLD_DEAD)
    place = Workplace.open(target)
    set_out(place, msgspec.structs.replace(PLAN, retried=str(retried) if retried else None))
    answer(place, dead=dead)
    return place


def check_ended(target: Target, dead: bytes) -> None:
    names = {target.output.name} | ({target.dead.name} if dead else set())
    assert names_in(target.output.parent) == names
    assert target.output.read_bytes() == LINES
    assert not dead or target.dead.read_bytes() == dead


class CrashError(BaseException):
    pass


class Crash:
    """Ends the run at one of the steps that change the disk, before or after it."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None, *, after: bool) -> None:
        self.steps: list[str] = []
        self._at = at
        self._after = after
        for owner, name in (
            (os, "link"),
            (os, "unlink"),
            (os, "rename"),
            (os, "replace"),
            (module, "sync_directory"),
            (Ledger, "put"),
            (Ledger, "remove"),
        ):
            patch.setattr(owner, name, self._wrap(name, getattr(owner, name)))

    def _wrap(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **options: object) -> object:
            if self._at is not None and len(self.steps) >= self._at:
                # The process is gone: nothing more is done.
                raise CrashError
            self.steps.append(name)
            if len(self.steps) == self._at and not self._after:
                raise CrashError
            result = call(*args, **options)
            if len(self.steps) == self._at:
                raise CrashError
            return result

        return step


def crash_at(monkeypatch: pytest.MonkeyPatch, at: int, place: Workplace, *, replace: bool) -> None:
    with monkeypatch.context() as patch:
        Crash(patch, at, after=False)
        with pytest.raises(CrashError):
            place.finish(replace=replace)


ENDINGS = [(b"", False, False), (DEAD, False, False), (b"", True, True), (DEAD, True, True)]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("dead", "old", "replace"), ENDINGS)
def test_a_crash_at_any_step_of_the_end_ends_right_in_the_next_run(
    tmp_path, monkeypatch, dead, old, replace, after, elsewhere
):
    at = 0
    while True:
        at += 1
        target = Target.of(tmp_path / f"{at}" / "tags.jsonl")
        retried = tmp_path / "moved.dead.jsonl" if elsewhere else None
        place = prepare(target, dead=dead, old=old, retried=retried)
        with monkeypatch.context() as patch:
            crash = Crash(patch, at, after=after)
            try:
                place.finish(replace=replace)
            except CrashError:
                pass
            else:
                break
            finally:
                patch.undo()
                # The files and the lock of a process that is gone.
                place._close_files()
                place._ledger.close()
        check_names(target, dead, old=old)
        if target.ledger.exists():
            with opened(target) as place:
                assert place.ending in {None, Ending(replace)}
                place.finish(replace=replace)
        check_ended(target, dead)
        assert retried is None or not retried.exists()
    check_ended(target, dead)
    assert len(crash.steps) >= 5


def check_names(target: Target, dead: bytes, *, old: bool) -> None:
    """A final name means a whole file, and no account is in none of the files."""
    output = target.output.read_bytes() if target.output.exists() else None
    letters = target.dead.read_bytes() if target.dead.exists() else None
    assert output in ({OLD, LINES} if old else {None, LINES})
    assert letters in ({OLD_DEAD, dead or None, None} if old else {None, dead})
    if output == LINES:
        assert letters == dead if dead else letters in {None, OLD_DEAD}
    else:
        assert target.part.read_bytes() == LINES
        assert letters is not None or not old


def test_a_name_that_is_taken_in_the_meantime_is_told_and_can_be_replaced(target):
    place = prepare(target, dead=b"", old=False)
    target.output.write_bytes(b"mine")
    with pytest.raises(DiskError, match="came into being in the meantime"):
        place.finish(replace=False)
    place.close()
    assert target.output.read_bytes() == b"mine"
    with opened(target) as place, pytest.raises(DiskError):
        place.finish(replace=False)
    # The hint says so.
    with opened(target) as place:
        place.finish(replace=True)
    check_ended(target, b"")


def test_who_agreed_to_replace_need_not_say_it_again_after_a_crash(target, monkeypatch):
    place = prepare(target, dead=DEAD, old=True)
    crash_at(monkeypatch, 3, place, replace=True)
    place.close()
    with opened(target) as place:
        place.finish(replace=False)
    check_ended(target, DEAD)


@pytest.mark.parametrize("name", ["part", "dead_part"])
def test_a_file_that_was_removed_before_it_had_its_name_is_told(target, name):
    place = prepare(target, dead=DEAD, old=False)
    place.close()
    getattr(target, name).unlink()
    with opened(target) as place, pytest.raises(DiskError, match="was removed in the meantime"):
        place.finish(replace=False)
    assert target.ledger.exists()


def test_the_end_of_a_fetch_whose_ledger_was_removed_is_no_failure(target):
    place = prepare(target, dead=b"", old=False)
    target.ledger.unlink()
    place.finish(replace=False)
    place.close()
    check_ended(target, b"")


def test_a_document_that_is_not_understood_lets_go_of_the_ledger(target):
    with opened(target) as place:
        set_out(place)
        place._ledger.put("plan", Ending(replace=True))
    for _ in range(2):
        with pytest.raises(DiskError, match="does not understand"):
            Workplace.open(target)
