"""Part files and their record, without any network."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from tagferry.errors import DiskError
from tagferry.exports import part as part_module
from tagferry.exports import workplace as workplace_module
from tagferry.exports.part import PartFile
from tagferry.exports.record import Record, RecordFile, Submission
from tagferry.exports.workplace import Workplace, is_committing
from tagferry.wire.message import Request


def make_export(writer="w", url="https://api/x", submissions=None):
    request = Request(operation="k", method="GET", url=url)
    return SimpleNamespace(
        stem="k-x",
        ending=".csv",
        kind="k",
        request=request,
        digest=url,
        backend=SimpleNamespace(writer=writer, submissions=submissions),
    )


@pytest.fixture
def export():
    return make_export()


def fill(place, *bodies):
    place.reset(len(bodies))
    for number, body in enumerate(bodies, 1):
        part = place.open_part(number)
        part.append([body])
        place.close_part(number, part)
        part.close()


def fail(*_):
    raise DiskError("cannot", code="EIO")


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_whole_parts_get_their_names_and_nothing_else_is_left(tmp_path, export):
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"one", b"two")
    files = place.commit(replace=False)
    place.close()
    assert [file.path.read_bytes() for file in files] == [b"one", b"two"]
    assert names(tmp_path) == ["k-x-00001.csv", "k-x-00002.csv"]


def test_nothing_gets_a_name_when_one_of_the_names_is_taken(tmp_path, export):
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"one", b"two")
    (tmp_path / "k-x-00002.csv").write_bytes(b"mine")
    with pytest.raises(DiskError, match="came into being"):
        place.commit(replace=False)
    place.close()
    assert names(tmp_path) == ["k-x-00001.csv.part", "k-x-00002.csv", "k-x-00002.csv.part", "k-x.part.json"]
    assert (tmp_path / "k-x-00002.csv").read_bytes() == b"mine"


def test_a_name_that_is_taken_in_the_last_moment_is_not_replaced(tmp_path, export, monkeypatch):
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"one")
    monkeypatch.setattr(workplace_module, "check_free", lambda target: target.write_bytes(b"mine"))
    with pytest.raises(DiskError, match="came into being"):
        place.commit(replace=False)
    place.close()
    assert (tmp_path / "k-x.csv").read_bytes() == b"mine"
    assert (tmp_path / "k-x.csv.part").read_bytes() == b"one"


@pytest.mark.parametrize("failing", ["holds", "load", "save"])
def test_a_workplace_that_cannot_be_opened_leaves_nothing(tmp_path, export, monkeypatch, failing):
    with monkeypatch.context() as patch:
        patch.setattr(RecordFile, failing, fail)
        with pytest.raises(DiskError):
            Workplace.open(export, tmp_path, resume=True)
    assert names(tmp_path) == []
    Workplace.open(export, tmp_path, resume=True).close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("failing", ["holds", "load", "save"])
def test_a_workplace_that_cannot_be_opened_keeps_what_an_earlier_run_left(
    tmp_path, export, monkeypatch, failing
):
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"one")
    place.close()
    with monkeypatch.context() as patch:
        patch.setattr(RecordFile, failing, fail)
        with pytest.raises(DiskError):
            Workplace.open(export, tmp_path, resume=True)
    place = Workplace.open(export, tmp_path, resume=True)
    assert place.parts[0].whole
    assert place.commit(replace=False)[0].path.read_bytes() == b"one"
    place.close()


def test_a_part_that_cannot_be_read_is_let_go(tmp_path, export, monkeypatch):
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"one")

    def pread(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(part_module.os, "pread", pread)
        with pytest.raises(DiskError):
            place.open_part(1)
    place.reset(0)
    place.close()


def test_where_locks_mean_nothing_the_names_are_of_this_process_only(tmp_path, export, monkeypatch):
    monkeypatch.setattr(RecordFile, "holds", lambda self: False)
    places = [Workplace.open(export, tmp_path, resume=True) for _ in range(2)]
    for place in places:
        fill(place, b"one")
    assert len(set(names(tmp_path))) == 4
    places[0].commit(replace=False)
    with pytest.raises(DiskError, match="came into being"):
        places[1].commit(replace=False)
    for place in places:
        place.close()
    assert names(tmp_path) == ["k-x.csv"]


def test_where_locks_mean_nothing_the_record_of_another_process_stays(tmp_path, export, monkeypatch):
    other = Workplace.open(make_export("other"), tmp_path, resume=True)
    fill(other, b"one")
    other.close()
    monkeypatch.setattr(RecordFile, "holds", lambda self: False)
    place = Workplace.open(export, tmp_path, resume=True)
    fill(place, b"two")
    assert place.commit(replace=False)[0].path.read_bytes() == b"two"
    place.close()
    assert names(tmp_path) == ["k-x.csv", "k-x.csv.part", "k-x.part.json"]


def test_what_is_not_resumable_leaves_nothing(tmp_path, export):
    place = Workplace.open(export, tmp_path, resume=True)
    place.reset(2)
    PartFile(tmp_path / "k-x-00001.csv.part").close()
    place.close()
    assert names(tmp_path) == []


def test_the_record_of_another_request_is_not_taken_up(tmp_path, export):
    place = Workplace.open(make_export(url="https://api/y"), tmp_path, resume=True)
    fill(place, b"one", b"two")
    place.close()
    place = Workplace.open(export, tmp_path, resume=True)
    assert place.parts == []
    place.close()
    assert names(tmp_path) == []


def test_a_commit_that_another_process_has_finished_is_not_done_again(tmp_path, export, monkeypatch):
    monkeypatch.setattr(workplace_module, "is_committing", lambda *_: True)
    assert Workplace.finish(export, tmp_path, replace=False) is None
    assert names(tmp_path) == []


def test_a_record_that_cannot_be_read_does_not_say_that_there_is_no_commit(tmp_path, export, monkeypatch):
    assert not is_committing(export, tmp_path)
    (tmp_path / "k-x.part.json").write_bytes(b"{}")
    assert not is_committing(export, tmp_path)

    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    with pytest.raises(DiskError, match="permissions"):
        is_committing(export, tmp_path)


def test_a_record_that_goes_while_it_is_looked_at_is_no_commit(tmp_path, export, monkeypatch):
    record = tmp_path / "k-x.part.json"
    record.write_bytes(b"{}")

    def vanish(path):
        path.unlink()
        raise FileNotFoundError

    monkeypatch.setattr(type(tmp_path), "read_bytes", vanish)
    assert not is_committing(export, tmp_path)


# Jobs -------------------------------------------------------------------------------------------------

UNKNOWN = Submission()
MADE = Submission("kqQeWeGr")


@pytest.fixture
def maker():
    """An export of which a job has to be made."""
    return make_export(submissions=object())


def written(directory):
    record = Record.read((directory / "k-x.part.json").read_bytes())
    assert record is not None
    return record.submission


@pytest.mark.parametrize("submission", [UNKNOWN, MADE])
def test_what_is_known_of_a_job_is_there_for_the_next_run(tmp_path, maker, submission):
    place = Workplace.open(maker, tmp_path, resume=True)
    assert place.submission is None
    place.note_submission(submission)
    assert written(tmp_path) == submission
    place.close()
    place = Workplace.open(maker, tmp_path, resume=True)
    assert place.submission == submission
    place.close()
    assert written(tmp_path) == submission


def test_a_job_that_came_to_nothing_leaves_nothing(tmp_path, maker):
    place = Workplace.open(maker, tmp_path, resume=True)
    place.note_submission(UNKNOWN)
    place.note_submission(None)
    place.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("changes", [{"resume": False}, {"url": "https://api/y"}])
def test_a_job_is_forgotten_by_who_begins_anew_or_wants_something_else(tmp_path, maker, changes):
    place = Workplace.open(maker, tmp_path, resume=True)
    place.note_submission(UNKNOWN)
    place.close()
    other = make_export(url=changes.get("url", "https://api/x"), submissions=object())
    place = Workplace.open(other, tmp_path, resume=changes.get("resume", True))
    assert place.submission is None
    place.close()
    assert names(tmp_path) == []


def test_a_job_goes_with_the_record_when_its_files_have_their_names(tmp_path, maker):
    place = Workplace.open(maker, tmp_path, resume=True)
    place.note_submission(MADE)
    fill(place, b"one")
    assert place.submission == MADE
    place.commit(replace=False)
    place.close()
    assert names(tmp_path) == ["k-x.csv"]


def test_what_is_known_of_a_job_is_on_the_platter_and_so_is_its_name(tmp_path, maker, monkeypatch):
    steps = []
    real = RecordFile.save
    monkeypatch.setattr(RecordFile, "save", lambda book, record: (steps.append("save"), real(book, record)))
    monkeypatch.setattr(RecordFile, "sync", lambda book: steps.append("sync"))
    monkeypatch.setattr(workplace_module, "sync_directory", lambda path: steps.append("sync the directory"))
    place = Workplace.open(maker, tmp_path, resume=True)
    steps.clear()
    place.note_submission(UNKNOWN)
    assert steps == ["save", "sync", "sync the directory"]
    steps.clear()
    place.note_submission(MADE)
    assert steps == ["save", "sync"]
    place.close()


@pytest.mark.parametrize("failing", ["save", "sync", "directory"])
@pytest.mark.parametrize(("before", "after"), [(None, UNKNOWN), (UNKNOWN, MADE), (MADE, None)])
def test_what_cannot_be_written_down_leaves_what_was_known_before(
    tmp_path, maker, monkeypatch, failing, before, after
):
    place = Workplace.open(maker, tmp_path, resume=True)
    if before is not None:
        place.note_submission(before)
    elif failing == "directory":
        monkeypatch.setattr(workplace_module, "sync_directory", fail)
    if failing != "directory":
        monkeypatch.setattr(RecordFile, failing, fail)
    if failing == "directory" and before is not None:
        # The name is on the platter since the first time.
        place.note_submission(after)
    else:
        with pytest.raises(DiskError):
            place.note_submission(after)
        monkeypatch.undo()
        assert (place.submission, written(tmp_path)) == (before, before)
    place.close()


def test_a_record_that_cannot_be_read_may_hold_a_job_and_nothing_is_begun(tmp_path, maker):
    (tmp_path / "k-x.part.json").write_bytes(b'{"v":1,"request":"https://api/x","wri')
    (tmp_path / "k-x.csv.part").write_bytes(b"half")
    for _ in range(2):
        with pytest.raises(DiskError, match="a job that was asked for may be written in it") as caught:
            Workplace.open(maker, tmp_path, resume=True)
        assert "--no-resume" in caught.value.hint
        assert names(tmp_path) == ["k-x.csv.part", "k-x.part.json"]
    place = Workplace.open(maker, tmp_path, resume=False)
    assert place.submission is None
    place.close()
    assert names(tmp_path) == []


def test_a_record_of_no_bytes_is_a_new_one(tmp_path, maker):
    (tmp_path / "k-x.part.json").write_bytes(b"")
    place = Workplace.open(maker, tmp_path, resume=True)
    assert place.submission is None
    place.close()
    assert names(tmp_path) == []


def test_a_job_is_kept_when_the_renaming_turns_out_to_be_undone_by_somebody(tmp_path, maker):
    place = Workplace.open(maker, tmp_path, resume=True)
    place.note_submission(MADE)
    fill(place, b"one")
    place._record.committing = True
    place.save()
    place.close()
    (tmp_path / "k-x.csv.part").write_bytes(b"two")
    assert Workplace.finish(maker, tmp_path, replace=False) is None
    assert names(tmp_path) == ["k-x.part.json"]
    assert written(tmp_path) == MADE
