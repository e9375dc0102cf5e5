"""From the question to the files: what is refused first, what is kept, and what a crash leaves."""

from __future__ import annotations

import errno
import os
import shutil

import anyio
import msgspec
import pytest

import tagferry
from tagferry.errors import (
    ConfigError,
    DeadlineError,
    DiskError,
    JobFailedError,
    RefusedError,
    UnavailableError,
)
from tagferry.exports import part as part_module
from tagferry.exports import workplace
from tagferry.exports.record import Record, RecordFile
from tagferry.files import disk
from tests.exports.test_part import PLANTED
from tests.exports.world import FAST, POLL, PROJECT, TAG, check_directory, open_world

pytestmark = pytest.mark.anyio


# Before any request.


async def test_a_file_that_is_already_there_is_an_error_before_any_request(world):
    files = await world.tag().download(world.out)
    files[0].path.write_bytes(b"mine")
    polls = len(world.emulator.seen)
    with pytest.raises(ConfigError, match="already there"):
        await world.tag().download(world.out)
    assert len(world.emulator.seen) == polls
    assert files[0].path.read_bytes() == b"mine"
    files[0].path.unlink()


@pytest.mark.parametrize("name", ["-00001.csv", "-00007.csv", ".csv.gz"])
async def test_any_finished_file_of_the_export_counts_as_already_there(world, name):
    world.out.mkdir()
    place = world.out / world.name(ending=name)
    place.write_bytes(b"old")
    with pytest.raises(ConfigError, match=name):
        await world.tag().download(world.out)
    assert len(world.emulator.seen) == 0
    place.unlink()


async def test_a_file_that_is_there_is_kept_and_told_when_asked_to_skip(world):
    (file,) = await world.tag().download(world.out)
    requests = len(world.emulator.seen)
    assert await world.tag().download(world.out, if_exists="skip") == (file,)
    assert len(world.emulator.seen) == requests


async def test_skipping_what_is_not_there_downloads_it(world):
    world.check_whole(files=await world.tag().download(world.out, if_exists="skip"))


async def test_a_file_is_replaced_only_by_a_whole_one(world):
    (file,) = await world.tag().download(world.out)
    file.path.write_bytes(b"old")
    world.order("cut@1000", "status=418")
    with pytest.raises(RefusedError):
        await world.tag().download(world.out, if_exists="replace")
    assert file.path.read_bytes() == b"old"
    world.check_whole(files=await world.tag().download(world.out, if_exists="replace"))


@pytest.mark.parametrize("kind", PLANTED)
async def test_nothing_is_written_through_what_stands_at_the_final_name(world, tmp_path, kind):
    world.out.mkdir()
    final, other = world.out / world.name(), tmp_path / "other"
    PLANTED[kind](final, other)
    with pytest.raises(ConfigError, match="already there"):
        await world.tag().download(world.out)
    if kind == "directory":
        with pytest.raises(DiskError):
            await world.tag().download(world.out, if_exists="replace")
        final.rmdir()
    else:
        (file,) = await world.tag().download(world.out, if_exists="replace")
        assert file.path.is_file()
        assert not file.path.is_symlink()
    assert not other.exists() or other.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("ending", [".csv.part", ".part.json"])
async def test_what_stands_in_the_place_of_unfinished_files_is_an_error_and_stays(
    world, tmp_path, kind, ending
):
    world.out.mkdir()
    place, other = world.out / f"growingio-tag-{PROJECT}-{TAG}{ending}", tmp_path / "other"
    PLANTED[kind](place, other)
    with anyio.fail_after(5), pytest.raises(DiskError):
        await world.tag().download(world.out)
    assert not other.exists() or other.read_bytes() == b"precious"
    assert list(world.out.glob("*.csv")) == []
    if place.is_dir():
        place.rmdir()
    else:
        # The name may be gone, what it led to may not.
        place.unlink(missing_ok=True)


async def test_a_directory_that_cannot_be_written_is_refused_before_any_request(world, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="no directory"):
            await world.tag().download(place)
    monkeypatch.setattr(disk.os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="no file can be written"):
        await world.tag().download(world.out)
    assert len(world.emulator.seen) == 0


@pytest.mark.parametrize("name", ["x" * 300, "loop/below"])
async def test_a_directory_that_cannot_be_looked_at_is_told_before_any_request(world, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    exports = [world.tag(), world.tag("other000")]
    with pytest.raises(DiskError, match="cannot look at") as caught:
        await exports[0].download(tmp_path / name)
    assert str(tmp_path) in caught.value.message
    assert "choose a" in caught.value.hint
    with pytest.raises(DiskError):
        async with tagferry.download_all(exports, tmp_path / name):
            pass
    assert len(world.emulator.seen) == 0


async def test_a_directory_that_cannot_be_listed_is_told_before_any_request(world, monkeypatch):
    world.out.mkdir()

    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(disk.Path, "iterdir", refuse)
        with pytest.raises(DiskError, match="cannot read") as caught:
            await world.tag().download(world.out)
    assert str(world.out) in caught.value.message
    assert "permissions" in caught.value.hint
    assert len(world.emulator.seen) == 0


@pytest.mark.parametrize("becomes", ["nothing", "file"])
async def test_a_directory_that_changes_while_it_is_looked_at(world, monkeypatch, becomes):
    def change(directory):
        directory.rmdir()
        if becomes == "file":
            directory.touch()

    world.out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("tagferry.exports.delivery.check_directory", change)
        if becomes == "file":
            with pytest.raises(DiskError, match="cannot read") as caught:
                await world.tag().download(world.out)
            assert "another output directory" in caught.value.hint
            world.out.unlink()
        else:
            await world.tag().download(world.out)
    files = await world.tag().download(world.out, if_exists="replace")
    world.check_whole(files=files)


@pytest.mark.parametrize("what", ["directory", "part"])
async def test_what_is_removed_in_the_middle_is_told_and_the_next_run_finishes(world, what):
    """A name without a file must not be told as done."""
    world.order("stall@1000 for=0.3")
    async with anyio.create_task_group() as tasks:

        async def remove():
            part = world.out / world.name(ending=".csv.part")
            while not (part.exists() and part.stat().st_size):
                await anyio.sleep(0.001)
            if what == "part":
                part.unlink()
            else:
                shutil.rmtree(world.out)

        tasks.start_soon(remove)
        with pytest.raises(DiskError) as caught:
            await world.tag().download(world.out)
    assert str(world.out) in caught.value.message
    assert caught.value.hint
    world.check_whole(files=await world.tag().download(world.out))


async def test_a_directory_that_cannot_be_made_is_a_disk_error(world, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "makedirs", refuse)
    monkeypatch.setattr("aiofiles.os.makedirs", _failing)
    with pytest.raises(DiskError, match="Read-only"):
        await world.tag().download(world.out)


async def _failing(*_args, **_options):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("value", ["overwrite", "", None])
async def test_another_word_for_if_exists_is_refused(world, value):
    with pytest.raises(ConfigError, match="if_exists"):
        await world.tag().download(world.out, if_exists=value)


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
async def test_a_deadline_that_is_no_time_is_refused(world, deadline):
    with pytest.raises(ConfigError, match="deadline"):
        await world.tag().download(world.out, deadline=deadline)
    with pytest.raises(ConfigError, match="deadline"):
        await world.tag().wait(deadline=deadline)


# On the way.


async def test_a_deadline_keeps_what_came_and_the_next_run_goes_on_there(world):
    world.order("stall@1000 for=30")
    with pytest.raises(DeadlineError, match="was not done within") as caught:
        await world.tag().download(world.out, deadline=1.0)
    assert isinstance(caught.value, TimeoutError)
    check_directory(world)
    part = world.out / world.name(ending=".csv.part")
    assert part.read_bytes() == world.source()[:1000]
    files = await world.tag().download(world.out, deadline=None)
    world.check_whole(files=files)
    assert world.sent == files[0].size


async def test_a_deadline_while_waiting_for_the_job_leaves_nothing(world):
    world.order("status-word=doing x*", operation=POLL)
    with pytest.raises(DeadlineError):
        await world.tag().download(world.out, deadline=0.05)
    with pytest.raises(DeadlineError):
        await world.tag().wait(deadline=0.05)
    assert not world.out.exists()


async def test_a_timeout_of_the_caller_is_the_callers(world):
    import asyncio

    world.order("status-word=doing x*", operation=POLL)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await world.tag().wait()
    assert not isinstance(caught.value, DeadlineError)


async def test_an_empty_audience_has_no_file_and_touches_no_disk(world):
    world.order("no-links x3", operation=POLL)
    assert await world.tag().download(world.out) == ()
    assert not world.out.exists()
    world.order("no-links x3", operation=POLL)
    assert await world.tag().download(world.out, if_exists="replace") == ()
    assert not world.out.exists()


OLD = ("-00001.csv", "-00002.csv", ".csv", ".csv.gz")


def leave_old_files(world):
    world.out.mkdir()
    for name in OLD:
        (world.out / world.name(ending=name)).write_bytes(b"old")
    (world.out / "mine.csv").write_bytes(b"mine")


async def test_an_empty_answer_replaces_the_files_of_an_older_one(world):
    """An audience of last week must not pass for one that has no users now."""
    leave_old_files(world)
    world.order("no-links x3", operation=POLL)
    async with tagferry.download_all([world.tag()], world.out, if_exists="replace") as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert (outcome.state, outcome.files) == ("empty", ())
    assert [path.name for path in world.out.iterdir()] == ["mine.csv"]
    (world.out / "mine.csv").unlink()


async def test_files_are_gone_only_when_the_answer_is_known_to_be_empty(world):
    leave_old_files(world)
    world.order("no-links x2", "failed=请求参数不合法，tag", operation=POLL)
    with pytest.raises(JobFailedError):
        await world.tag().download(world.out, if_exists="replace")
    assert len(list(world.out.iterdir())) == len(OLD) + 1
    for path in world.out.iterdir():
        path.unlink()


@pytest.mark.parametrize("again", ["error", "skip", "replace"])
@pytest.mark.parametrize("call", ["unlink", "sync_directory", "remove"])
async def test_a_crash_while_an_empty_answer_replaces_files_is_finished_by_the_next_run(
    world, monkeypatch, call, again
):
    leave_old_files(world)
    world.order("no-links x3", operation=POLL)
    with monkeypatch.context() as patch:
        crash_at(patch, {"sync_directory": "sync"}.get(call, call), 2)
        patch.setattr(workplace.Workplace, "close", lambda self: self._book.close())
        with pytest.raises(Crash):
            await world.tag().download(world.out, if_exists="replace")
    requests = len(world.emulator.seen)
    assert await world.tag().download(world.out, if_exists=again) == ()
    assert len(world.emulator.seen) == requests, "the network was used"
    assert [path.name for path in world.out.iterdir()] == ["mine.csv"]
    (world.out / "mine.csv").unlink()


@pytest.mark.parametrize("if_exists", ["error", "skip", "replace"])
async def test_an_empty_answer_leaves_nothing_unfinished_of_an_older_one(world, if_exists):
    world.order("cut@1000", "status=418")
    with pytest.raises(RefusedError):
        await world.tag().download(world.out)
    assert len(list(world.out.iterdir())) == 2
    world.order("no-links x3", operation=POLL)
    assert await world.tag().download(world.out, if_exists=if_exists) == ()
    assert list(world.out.iterdir()) == []


async def test_an_empty_answer_takes_nothing_from_another_process(world):
    leave_old_files(world)
    record = world.out / f"growingio-tag-{PROJECT}-{TAG}.part.json"
    book = await anyio.to_thread.run_sync(RecordFile.acquire, record)
    world.order("no-links x3", operation=POLL)
    with pytest.raises(DiskError, match="another run"):
        await world.tag().download(world.out, if_exists="replace")
    await anyio.to_thread.run_sync(book.remove)
    assert len(list(world.out.iterdir())) == len(OLD) + 1
    for path in world.out.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("failed=请求参数不合法，tag", JobFailedError),
        ("failed=下载失败，请稍后重试 x*", JobFailedError),
        ("status=404", RefusedError),
        ("status=500 x*", UnavailableError),
        ("close x*", UnavailableError),
    ],
)
async def test_a_job_that_cannot_be_had_raises_and_touches_no_disk(tmp_path, fault, error):
    async with open_world(tmp_path, retries=2) as world:
        world.order(fault, operation=POLL)
        with pytest.raises(error):
            await world.tag().download(world.out)
        assert not world.out.exists()


@pytest.mark.parametrize(
    "faults",
    [
        ["status-word=DATA_READY x3"],
        ["status-word=FINISH x2", "no-links", "status-word=RUNNING"],
        ["no-links x2"],
        ["failed=下载失败，请稍后重试 x2"],
        ["pass", "status=500 x3", "close", "html", "status=429 retry-after=0"],
        ["html"],
        ["body=[]"],
        ["pass", "cut@5", "reset@5"],
    ],
)
async def test_what_goes_wrong_between_polls_is_survived(world, faults):
    world.order(*faults, operation=POLL)
    world.check_whole(files=await world.tag().download(world.out))


async def test_a_listener_that_fails_breaks_nothing_but_itself(tmp_path):
    seen = []

    def listener(event):
        seen.append(event)
        raise ZeroDivisionError

    async with open_world(tmp_path, on_event=listener) as world:
        world.order("cut@1000", "expired")
        world.check_whole(files=await world.tag().download(world.out))
    assert len(seen) > 5


async def test_an_export_is_a_value_that_shows_no_secret(world):
    export = world.tag()
    assert export == world.tag()
    assert export != world.tag("other000")
    assert repr(export) == f"Export(growingio-tag {TAG})"
    assert hash(export) == hash(world.tag())
    ready = await export.wait()
    assert ready.job_id is None
    assert "sign" not in repr(ready)


async def test_a_client_that_is_not_open_says_so(tmp_path):
    client = tagferry.GrowingIO(token="x", base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="not open"):
        await client.tag_users(PROJECT, TAG).download(tmp_path)


# The disk.


async def test_a_full_disk_is_told_and_the_next_run_goes_on(world, monkeypatch):
    real = os.writev

    def writev(handle, buffers):
        if os.fstat(handle).st_size >= 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, buffers)

    monkeypatch.setattr(part_module.os, "writev", writev)
    world.order("cut@1000")
    with pytest.raises(DiskError, match="No space left") as caught:
        await world.tag().download(world.out)
    assert caught.value.code == "ENOSPC"
    assert world.requests() == 2, "a full disk was tried again"
    check_directory(world)
    monkeypatch.undo()
    world.check_whole(files=await world.tag().download(world.out))
    assert [a.values("Range") for a in world.emulator.seen.of("growingio-saas.download")][2] == [
        "bytes=1000-"
    ]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
async def test_a_file_that_cannot_be_synced_gets_no_final_name_and_is_fetched_anew(world, monkeypatch, code):
    def fsync(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(part_module.os, "fsync", fsync)
    with pytest.raises(DiskError, match="cannot sync"):
        await world.tag().download(world.out)
    assert list(world.out.glob("*.csv")) == []
    check_directory(world)
    monkeypatch.undo()
    files = await world.tag().download(world.out)
    world.check_whole(files=files)
    assert world.sent == 2 * files[0].size


async def test_another_process_on_the_same_export_is_told_at_once(world):
    world.out.mkdir()
    record = world.out / f"growingio-tag-{PROJECT}-{TAG}.part.json"
    book = await anyio.to_thread.run_sync(RecordFile.acquire, record)
    with pytest.raises(DiskError, match="another run") as caught:
        await world.tag().download(world.out)
    assert caught.value.code == "EBUSY"
    await anyio.to_thread.run_sync(book.remove)


async def test_two_runs_in_one_process_bring_one_whole_file_and_one_error(world):
    import asyncio

    world.order("stall@1000 for=0.2")
    outcomes = await asyncio.gather(
        *(world.tag().download(world.out) for _ in range(2)), return_exceptions=True
    )
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(errors) == 1
    assert isinstance(errors[0], DiskError)
    world.check_whole(files=next(outcome for outcome in outcomes if outcome not in errors))


async def test_a_file_that_came_into_being_meanwhile_is_not_replaced(world):
    world.order("stall@1000 for=0.5")
    async with anyio.create_task_group() as tasks:

        async def plant():
            while not world.requests():
                await anyio.sleep(0.001)
            (world.out / world.name()).write_bytes(b"mine")

        tasks.start_soon(plant)
        with pytest.raises(DiskError, match="came into being"):
            await world.tag().download(world.out)
    assert (world.out / world.name()).read_bytes() == b"mine"
    (world.out / world.name()).unlink()
    requests = world.sent
    world.check_whole(files=await world.tag().download(world.out))
    assert world.sent == requests


@pytest.mark.parametrize("if_exists", ["error", "skip", "replace"])
async def test_what_another_process_finished_while_the_job_was_waited_for_is_not_fetched_again(
    world, if_exists
):
    world.order("status-word=doing x5", operation=POLL)
    async with anyio.create_task_group() as tasks:

        async def finish_elsewhere():
            while not len(world.emulator.seen):
                await anyio.sleep(0.001)
            world.out.mkdir()
            (world.out / world.name()).write_bytes(world.source())

        tasks.start_soon(finish_elsewhere)
        if if_exists == "error":
            with pytest.raises(DiskError, match="came into being"):
                await world.tag().download(world.out)
        else:
            world.check_whole(files=await world.tag().download(world.out, if_exists=if_exists))
    assert world.requests() == (if_exists == "replace")
    assert [path.name for path in world.out.iterdir()] == [world.name()]


async def test_a_writer_that_was_taken_over_gives_no_final_name(world):
    world.order("stall@1000 for=0.5")
    record = world.out / f"growingio-tag-{PROJECT}-{TAG}.part.json"
    async with anyio.create_task_group() as tasks:

        async def take_over():
            while not (record.exists() and record.stat().st_size):
                await anyio.sleep(0.001)
            record.unlink()
            record.write_bytes(msgspec.json.encode(Record(request="other", writer="other")))

        tasks.start_soon(take_over)
        with pytest.raises(DiskError, match="took over"):
            await world.tag().download(world.out)
    assert list(world.out.glob("*.csv")) == []
    record.unlink()
    for path in world.out.glob("*.part"):
        path.unlink()


async def test_locks_that_keep_nobody_out_cannot_mix_two_runs(world, monkeypatch):
    import asyncio

    monkeypatch.setattr("tagferry.exports.record.fcntl.flock", lambda *_: None)
    world.order("stall@1000 for=0.2")
    outcomes = await asyncio.gather(
        *(world.tag().download(world.out, if_exists="replace") for _ in range(2)), return_exceptions=True
    )
    good = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    assert good
    assert (world.out / world.name()).read_bytes() == world.source()


# A crash while the files get their names.


class Crash(BaseException):
    """The process is gone."""


STEPS = ["check_writer", "save", "hardlink", "unlink", "sync", "remove"]


def crash_at(monkeypatch, step, parts, *, replace=False):
    """Let the process end right before a step of the second part's renaming, or of the end."""
    calls = []

    def before(real, at):
        def call(*args, **options):
            calls.append(step)
            if len(calls) == at:
                raise Crash
            return real(*args, **options)

        return call

    path = type(workplace.Path())
    match step:
        case "check_writer":
            monkeypatch.setattr(RecordFile, "check_writer", before(RecordFile.check_writer, 1))
        case "save":
            real = RecordFile.save

            def save(self, record):
                if record.committing:
                    raise Crash
                real(self, record)

            monkeypatch.setattr(RecordFile, "save", save)
        case "hardlink":
            name = "replace" if replace else "hardlink_to"
            monkeypatch.setattr(path, name, before(getattr(path, name), parts))
        case "unlink":
            monkeypatch.setattr(path, "unlink", before(path.unlink, parts))
        case "sync":
            monkeypatch.setattr(workplace, "sync_directory", before(workplace.sync_directory, 1))
        case "remove":
            monkeypatch.setattr(RecordFile, "remove", before(RecordFile.remove, 1))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("again", ["error", "skip", "replace"])
async def test_a_crash_in_the_middle_of_the_renaming_is_finished_by_the_next_run(
    tmp_path, monkeypatch, step, parts, again
):
    from dataclasses import replace

    async with open_world(tmp_path, replace(FAST, parts=parts)) as world:
        with monkeypatch.context() as patch:
            crash_at(patch, step, parts)
            patch.setattr(workplace.Workplace, "close", lambda self: self._book.close())
            with pytest.raises(Crash):
                await world.tag().download(world.out)
        sent, requests = world.sent, len(world.emulator.seen)
        check_directory(world)
        files = await world.tag().download(world.out, if_exists=again)
        world.check(files, *(one.bytes() for one in world.sources(parts=parts)))
        assert world.sent == sent, "bytes came twice"
        if step not in {"check_writer", "save"}:
            assert len(world.emulator.seen) == requests, "the network was used"


@pytest.mark.parametrize("damage", ["final-gone", "final-changed", "part-changed"])
async def test_files_that_were_touched_after_such_a_crash_are_not_taken_for_whole(
    tmp_path, monkeypatch, damage
):
    from dataclasses import replace

    async with open_world(tmp_path, replace(FAST, parts=2)) as world:
        with monkeypatch.context() as patch:
            crash_at(patch, "hardlink", 2)
            patch.setattr(workplace.Workplace, "close", lambda self: self._book.close())
            with pytest.raises(Crash):
                await world.tag().download(world.out)
        final, part = (
            world.out / world.name(ending="-00001.csv"),
            world.out / world.name(ending="-00002.csv.part"),
        )
        match damage:
            case "final-gone":
                final.unlink()
            case "final-changed":
                final.write_bytes(b"mine")
            case "part-changed":
                body = bytearray(part.read_bytes())
                body[100] ^= 1
                part.write_bytes(body)
        if damage != "final-gone":
            with pytest.raises(DiskError, match="came into being"):
                await world.tag().download(world.out)
        files = await world.tag().download(world.out, if_exists="replace")
        world.check(files, *(one.bytes() for one in world.sources(parts=2)))


async def test_an_export_that_is_replaced_leaves_no_part_of_the_old_one(world):
    """Old parts beside new ones would look like one export."""
    world.out.mkdir()
    for name in ("-00001.csv", "-00002.csv", ".csv.gz", ".csv"):
        (world.out / world.name(ending=name)).write_bytes(b"old")
    (world.out / "mine.csv").write_bytes(b"mine")
    files = await world.tag().download(world.out, if_exists="replace")
    assert {path.name for path in world.out.iterdir()} == {world.name(), "mine.csv"}
    assert files[0].path.read_bytes() == world.source()
    (world.out / "mine.csv").unlink()


async def test_a_disk_without_hard_links_gets_its_files_too(world, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(workplace.Path, "hardlink_to", refuse)
    world.check_whole(files=await world.tag().download(world.out))


async def test_a_page_that_calls_itself_csv_is_no_file(world):
    world.order("body=<!DOCTYPE html><html><body>Sign in</body></html>")
    world.check_whole(files=await world.tag().download(world.out))
