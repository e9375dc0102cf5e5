from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tagferry.errors import DiskError
from tagferry.lookups.appender import Appender

SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.part"


def test_bytes_come_one_after_the_other(path):
    file = Appender(path, 0)
    file.append(b"one\n")
    file.append(b"")
    file.append(b"two\n")
    assert file.size == 8
    file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("size", [0, 4, 8])
def test_what_came_after_the_known_size_is_dropped(path, size):
    path.write_bytes(b"one\ntwo\n")
    file = Appender(path, size)
    file.append(b"six\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"[:size] + b"six\n"


def test_lost_bytes_are_told_and_the_rest_stays(path):
    path.write_bytes(b"one\n")
    with pytest.raises(DiskError, match="has lost 4 of the 8 bytes written to it"):
        Appender(path, 8)
    assert path.read_bytes() == b"one\n"


def test_a_file_that_is_gone_has_lost_all(path):
    with pytest.raises(DiskError, match="has lost 8 of the 8 bytes"):
        Appender(path, 8)


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "hard link"])
def test_nothing_is_written_through_something_else(path, kind):
    mine = path.with_name("mine")
    mine.write_bytes(b"mine")
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(mine)
        case _:
            path.hardlink_to(mine)
    with pytest.raises(DiskError) as caught:
        Appender(path, 0)
    assert str(path) in caught.value.message
    assert mine.read_bytes() == b"mine"


def test_short_writes_go_on_where_they_stopped(path, monkeypatch):
    write = os.write
    file = Appender(path, 0)
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:3]))
    file.append(b"0123456789")
    file.close()
    assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", SYNC, "ftruncate", "fstat", "close"])
def test_a_disk_that_fails_is_told(path, monkeypatch, call):
    real = getattr(os, call)

    def fail(*args: object) -> None:
        if call == "close":
            real(*args)  # a descriptor is free also after an error
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write() -> None:
        if call in {"ftruncate", "fstat"}:
            monkeypatch.setattr(os, call, fail)
        file = Appender(path, 0)
        monkeypatch.setattr(os, call, fail)
        try:
            file.append(b"one\n")
        finally:
            if call != "close":
                monkeypatch.undo()
            file.close()

    with pytest.raises(DiskError) as caught:
        write()
    monkeypatch.undo()
    assert caught.value.code == "EIO"
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_bytes_are_synced_before_they_count(path, monkeypatch):
    steps: list[str] = []
    write, sync = os.write, getattr(os, SYNC)
    monkeypatch.setattr(os, "write", lambda *args: (steps.append("write"), write(*args))[1])
    monkeypatch.setattr(os, SYNC, lambda *args: (steps.append("sync"), sync(*args))[1])
    file = Appender(path, 0)
    file.append(b"one\n")
    file.append(b"")
    assert steps == ["write", "sync"]
    file.close()


@pytest.mark.parametrize(
    ("there", "copied"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b"one", b"one\n"),
        (b"one\r\n", b"one\r\n"),
        (b"x" * 1_500_000 + b"\n" + b"y" * 1_000_000, b"x" * 1_500_000 + b"\n" + b"y" * 1_000_000 + b"\n"),
    ],
)
def test_lines_of_another_file_come_first(path, there, copied):
    source = path.with_name("source")
    source.write_bytes(there)
    file = Appender(path, 0)
    file.copy(source)
    assert file.size == len(copied)
    file.append(b"two\n")
    file.close()
    assert path.read_bytes() == copied + b"two\n"
    assert source.read_bytes() == there


def test_a_copy_is_synced(path, monkeypatch):
    source = path.with_name("source")
    source.write_bytes(b"one\n")
    synced: list[int] = []
    file = Appender(path, 0)
    monkeypatch.setattr(os, SYNC, lambda handle: synced.append(os.fstat(handle).st_size))
    file.copy(source)
    file.close()
    assert synced == [4]


def test_another_file_that_is_gone_is_told(path):
    file = Appender(path, 0)
    with pytest.raises(DiskError, match=r"cannot read .*source"):
        file.copy(path.with_name("source"))
    file.close()
