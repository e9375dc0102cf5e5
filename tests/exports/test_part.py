"""The unfinished file of a part, on a real disk."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import DiskError
from tagferry.exports import part as part_module
from tagferry.exports.gzipped import GzipWatch
from tagferry.exports.part import PartFile, hash_file

BODY = bytes(range(256)) * 20


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.csv.part"


@pytest.fixture
def part(path):
    part = PartFile(path)
    yield part
    part.close()


def test_bytes_are_written_hashed_and_counted(part, path):
    part.want_md5()
    part.append([BODY[:10], BODY[10:300]])
    part.append([BODY[300:]])
    part.sync()
    assert path.read_bytes() == BODY
    assert (part.size, part.sha256, part.md5) == (len(BODY), sha(BODY), hashlib.md5(BODY).hexdigest())
    assert not part.is_gzip
    assert hash_file(path) == (len(BODY), sha(BODY))


@pytest.mark.parametrize("extra", [b"", b"what a crash left"])
def test_bytes_with_the_right_hash_are_adopted(path, extra):
    path.write_bytes(BODY + extra)
    part = PartFile(path)
    assert part.adopt(len(BODY), sha(BODY))
    assert part.size == len(BODY)
    part.append([b"more"])
    part.close()
    assert path.read_bytes() == BODY + b"more"


@pytest.mark.parametrize(
    ("on_disk", "offset", "digest"),
    [
        pytest.param(BODY, len(BODY), sha(b"x"), id="wrong-hash"),
        pytest.param(BODY[:-1], len(BODY), sha(BODY), id="shorter"),
        pytest.param(BODY[:99] + b"!" + BODY[100:], len(BODY), sha(BODY), id="one-byte-flipped"),
        pytest.param(b"", 5, sha(b"12345"), id="empty"),
        pytest.param(BODY, 0, "", id="never-hashed"),
    ],
)
def test_bytes_with_another_hash_are_dropped(path, on_disk, offset, digest):
    path.write_bytes(on_disk)
    part = PartFile(path)
    assert not part.adopt(offset, digest)
    assert (part.size, part.sha256) == (0, sha(b""))
    part.close()
    assert path.read_bytes() == b""


def test_a_restart_drops_everything(part, path):
    part.want_md5()
    part.append([gzip.compress(b"x")])
    assert part.is_gzip
    part.restart()
    assert (part.size, part.sha256, part.md5, part.is_gzip) == (
        0,
        sha(b""),
        hashlib.md5(b"").hexdigest(),
        False,
    )
    assert path.read_bytes() == b""


def test_the_md5_covers_what_was_on_disk_before_it_was_wanted(part):
    part.append([BODY])
    assert part.md5 is None
    part.want_md5()
    part.want_md5()
    part.append([b"more"])
    assert part.md5 == hashlib.md5(BODY + b"more").hexdigest()


def test_an_adopted_file_knows_how_it_begins(path):
    path.write_bytes(gzip.compress(BODY))
    part = PartFile(path)
    data = path.read_bytes()
    assert part.adopt(len(data), sha(data))
    assert part.is_gzip
    part.close()


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 12), st.integers(1, 3))
def test_short_writes_lose_nothing(tmp_path_factory, chunks, most, room):
    path = tmp_path_factory.mktemp("short") / "p.part"

    def writev(handle, buffers):
        assert len(buffers) <= room
        data = b"".join(buffers)
        return os.write(handle, data[: max(most, 1)]) if data else 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_module.os, "writev", writev)
        patch.setattr(part_module, "_IOV", room)
        part = PartFile(path)
        part.append(chunks)
        part.close()
    assert path.read_bytes() == b"".join(chunks)
    assert part.sha256 == sha(b"".join(chunks))


def test_a_failed_write_does_not_count_and_the_next_one_goes_to_the_same_place(part, path, monkeypatch):
    part.append([b"good"])
    real = os.writev
    calls = []

    def full(handle, buffers):
        calls.append(buffers)
        if len(calls) == 1:
            return real(handle, [bytes(buffers[0])[:2]])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part_module.os, "writev", full)
    with pytest.raises(DiskError, match="No space left") as caught:
        part.append([b"12345"])
    assert caught.value.code == "ENOSPC"
    assert "free some space" in caught.value.hint
    assert not caught.value.retryable
    assert (part.size, part.sha256) == (4, sha(b"good"))
    monkeypatch.undo()
    part.append([b"678"])
    assert path.read_bytes()[:7] == b"good678"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_sync_drops_the_bytes_and_is_not_tried_again(part, path, monkeypatch, code):
    part.append([BODY])
    syncs = []

    def fsync(handle):
        syncs.append(handle)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(part_module.os, "fsync", fsync)
    with pytest.raises(DiskError, match="cannot sync") as caught:
        part.sync()
    assert caught.value.code == errno.errorcode[code]
    assert len(syncs) == 1
    assert path.read_bytes() == b""


def make_symlink(path, other):
    other.write_bytes(b"precious")
    path.symlink_to(other)


def make_hard_link(path, other):
    other.write_bytes(b"precious")
    path.hardlink_to(other)


PLANTED = {
    "symlink": make_symlink,
    "hard-link": make_hard_link,
    "dangling-symlink": lambda path, other: path.symlink_to(other),
    "fifo": lambda path, other: os.mkfifo(path),
    "directory": lambda path, other: path.mkdir(),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_is_ever_written_through_what_stands_in_the_place_of_the_file(path, tmp_path, kind):
    other = tmp_path / "other"
    PLANTED[kind](path, other)
    with pytest.raises(DiskError) as caught:
        PartFile(path)
    assert str(path) in str(caught.value)
    assert not other.exists() or other.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_only_plain_files_are_hashed(path, tmp_path, kind):
    PLANTED[kind](path, tmp_path / "other")
    with pytest.raises(DiskError, match="no plain file"):
        hash_file(path)


def test_closing_twice_closes_no_file_of_others(part, path):
    part.close()
    handle = os.open(path, os.O_RDONLY)
    part.close()
    os.fstat(handle)
    os.close(handle)


def test_a_read_error_is_a_disk_error(part, monkeypatch):
    part.append([BODY])

    def pread(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(part_module.os, "pread", pread)
    for reading in (part.is_whole_gzip, part.want_md5, lambda: part.adopt(5, "")):
        with pytest.raises(DiskError, match="Input/output"):
            reading()


members = [gzip.compress(data, mtime=0) for data in (b"", b"a" * 3_000_000, random.Random(1).randbytes(5000))]


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (members[0], True),
        (members[1], True),
        (members[2], True),
        (b"".join(members), True),
        (b"", False),
        (b"plain text", False),
        (members[2][:-1], False),
        (members[2][:-8], False),
        (members[1][: len(members[1]) // 2], False),
        (members[2] + b"trailing", False),
        (members[2] + members[1][:20], False),
        (members[2][:-5] + bytes([members[2][-5] ^ 1]) + members[2][-4:], False),
    ],
)
@pytest.mark.parametrize("step", [1_000_000, 7])
def test_a_gzip_stream_is_whole_only_with_every_end(path, data, whole, step):
    watch = GzipWatch()
    for start in range(0, len(data), step):
        watch.feed(data[start : start + step])
    assert watch.whole is whole
    part = PartFile(path)
    part.append([data])
    assert part.is_whole_gzip() is whole
    part.close()
