"""The record beside unfinished files: one writer, nothing through links, and junk is no record."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import DiskError
from tagferry.exports import record as record_module
from tagferry.exports.record import PartState, Record, RecordFile, Submission
from tests.exports.test_part import PLANTED


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.part.json"


@pytest.fixture
def book(path):
    book = RecordFile.acquire(path)
    yield book
    book.close()


def record(**changes) -> Record:
    return Record(**{"request": "r", "writer": "w", **changes})


def test_what_is_saved_is_loaded(book, path):
    state = PartState(
        offset=5, sha256="ab", validator='"x"', total=9, md5="cd", gzipped=True, whole=True, final="f"
    )
    saved = record(committing=True, parts=[state, PartState()])
    book.save(saved)
    assert book.load() == saved
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_shorter_record_leaves_nothing_of_a_longer_one(book, path):
    book.save(record(parts=[PartState(sha256="x" * 64)] * 50))
    size = path.stat().st_size
    book.save(record())
    assert book.load() == record()
    assert path.stat().st_size == size
    assert path.read_bytes().rstrip(b" ").endswith(b"}")


def test_a_short_write_of_the_record_is_finished(book, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(record_module.os, "pwrite", lambda handle, text, at: real(handle, text[:7], at))
    book.save(record(parts=[PartState(offset=3)]))
    assert book.load() == record(parts=[PartState(offset=3)])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" " * 512,
        b"{",
        b"null",
        b"[]",
        b"garbage",
        b"\xff\xfe",
        b'{"request":"\xff","writer":"w"}',
        b"[" * 100_000,
        b'{"v":2,"request":"r","writer":"w"}',
        b'{"v":1,"writer":"w"}',
        b'{"v":1,"request":"r","writer":"w","parts":[{"offset":"5"}]}',
        b'{"v":1,"request":"r","writer":"w","parts":[{"off',
        b'{"v":1,"request":"r","writer":"w"}{}',
    ],
)
def test_junk_is_no_record(book, path, text):
    path.write_bytes(text)
    assert book.load() is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(text):
    Record.read(text)


@given(st.integers(0, 400))
def test_a_torn_record_is_no_record(length):
    text = msgspec.json.encode(record(parts=[PartState(offset=3, sha256="x" * 64)]))
    assert (Record.read(text[:length]) is None) == (length < len(text))


@pytest.mark.parametrize(
    "submission", [None, Submission(), Submission("kqQeWeGr"), Submission('"\\\u2028/ü')]
)
def test_what_is_known_of_a_job_is_loaded_as_it_was_saved(book, submission):
    saved = record(submission=submission, parts=[PartState(offset=5, sha256="ab")])
    book.save(saved)
    assert book.load() == saved
    # "Nobody knows" and "there is none" are not the same.
    assert (book.load().submission is None) == (submission is None)


def test_a_record_of_before_there_were_jobs_has_none(book, path):
    path.write_bytes(b'{"v":1,"request":"r","writer":"w","committing":false,"replacing":false,"parts":[]}')
    assert book.load() == record()


@pytest.mark.parametrize(
    "text", [b'"j"', b"{}x", b'{"job_id":5}', b'{"job_id":""', b"[]", b'{"job_id":null', b"true"]
)
def test_a_damaged_job_is_no_record(text):
    assert Record.read(b'{"v":1,"request":"r","writer":"w","submission":' + text + b"}") is None


@given(st.integers(0, 400))
def test_a_record_with_a_job_that_is_torn_is_no_record(length):
    text = msgspec.json.encode(record(submission=Submission("kqQeWeGr"), parts=[PartState(offset=3)]))
    assert (Record.read(text[:length]) is None) == (length < len(text))


@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_is_ever_written_through_what_stands_in_the_place_of_the_record(path, tmp_path, kind):
    other = tmp_path / "other"
    PLANTED[kind](path, other)
    with pytest.raises(DiskError) as caught:
        RecordFile.acquire(path)
    assert str(path) in str(caught.value)
    assert not other.exists() or other.read_bytes() == b"precious"


HOLDER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_is_told_at_once_and_may_come_when_the_first_is_gone(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        with pytest.raises(DiskError, match="another run is writing") as caught:
            RecordFile.acquire(path)
        assert time.monotonic() - began < 0.5
        assert caught.value.code == "EBUSY"
        holder.stdin.close()
        holder.wait(5)
    RecordFile.acquire(path).close()


def test_a_second_holder_in_the_same_process_is_refused_too(book, path):
    with pytest.raises(DiskError, match="another run"):
        RecordFile.acquire(path)


def test_a_record_that_is_removed_between_opening_and_locking_is_made_anew(path, monkeypatch):
    real = fcntl.flock
    removed = []

    def flock(handle, how):
        if not removed:
            removed.append(path.unlink())
        return real(handle, how)

    monkeypatch.setattr(record_module.fcntl, "flock", flock)
    book = RecordFile.acquire(path)
    book.save(record())
    assert path.exists()
    assert removed
    book.remove()
    assert not path.exists()
    assert not book.is_open


def test_a_record_that_is_replaced_between_opening_and_locking_is_opened_anew(path, monkeypatch):
    real = fcntl.flock
    done = []

    def flock(handle, how):
        if not done:
            done.append(path.unlink())
            path.write_bytes(b"")
        return real(handle, how)

    monkeypatch.setattr(record_module.fcntl, "flock", flock)
    book = RecordFile.acquire(path)
    book.save(record())
    assert Record.read(path.read_bytes()) == record()
    book.close()


@pytest.mark.parametrize("how", ["other-writer", "junk", "removed", "replaced"])
def test_a_record_that_was_taken_over_is_noticed(book, path, how):
    book.save(record())
    book.check_writer("w")
    match how:
        case "other-writer":
            path.write_bytes(msgspec.json.encode(record(writer="x")))
        case "junk":
            path.write_bytes(b"junk")
        case "removed":
            path.unlink()
        case "replaced":
            text = path.read_bytes()
            path.unlink()
            path.write_bytes(text)
    with pytest.raises(DiskError, match="took over"):
        book.check_writer("w")


def test_a_lock_that_keeps_nobody_out_is_found_out(book, path, monkeypatch):
    book.save(record())
    assert book.holds()
    monkeypatch.setattr(record_module.fcntl, "flock", lambda handle, how: None)
    assert not book.holds()


def test_closing_twice_closes_no_file_of_others(book, path):
    book.close()
    handle = os.open(path, os.O_RDONLY)
    book.close()
    os.fstat(handle)
    os.close(handle)
