"""What the operating system says about files, as errors that say what to do."""

from __future__ import annotations

import errno
import os
import traceback

import pytest

from tagferry.errors import ConfigError, DiskError
from tagferry.files import disk
from tagferry.files.disk import check_directory, disk_errors, is_plain, look, names_in, sync_directory


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "another output directory"),
        (errno.EACCES, "permissions"),
        (errno.EMFILE, "ulimit"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.ENOENT, "leave the output directory alone"),
        (errno.ENOTDIR, "another output directory"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ENFILE, "concurrency"),
        (errno.EIO, "check the disk"),
    ],
)
def test_an_error_names_the_file_the_reason_and_the_next_step(tmp_path, code, hint):
    with pytest.raises(DiskError) as caught, disk_errors(tmp_path / "x", "write"):
        raise OSError(code, os.strerror(code))
    error = caught.value
    assert str(tmp_path / "x") in str(error)
    assert os.strerror(code) in str(error)
    assert error.code == errno.errorcode[code]
    assert hint in error.hint
    assert isinstance(error, OSError)
    assert not error.retryable


def test_an_error_without_a_number_and_one_of_ours_pass_too(tmp_path):
    with pytest.raises(DiskError, match="OSError") as caught, disk_errors(tmp_path, "write"):
        raise OSError
    assert caught.value.code == "EIO"
    ours = DiskError("mine")
    with pytest.raises(DiskError) as caught, disk_errors(tmp_path, "write"):
        raise ours
    assert caught.value is ours
    with pytest.raises(ZeroDivisionError), disk_errors(tmp_path, "write"):
        raise ZeroDivisionError


def test_a_disk_error_shows_nothing_of_the_exception_below(tmp_path):
    with pytest.raises(DiskError) as caught, disk_errors(tmp_path, "write"):
        raise OSError(errno.EIO, "x", "CANARY-name")
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))


def test_a_directory_that_can_be_made_is_fine_and_is_not_made(tmp_path):
    check_directory(tmp_path)
    check_directory(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_directory_that_cannot_work_is_refused_before_anything(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for place in (file, file / "below", dangling, dangling / "below"):
        with pytest.raises(ConfigError, match="is no directory"):
            check_directory(place)
    # Root may write anywhere, so the answer of the system is given here.
    monkeypatch.setattr(disk.os, "access", lambda place, mode: False)
    with pytest.raises(ConfigError, match="no file can be written"):
        check_directory(tmp_path / "new")


def test_a_directory_is_synced_and_let_go(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    sync_directory(tmp_path)
    assert synced == [tmp_path.stat().st_ino]
    with pytest.raises(DiskError, match="cannot sync"):
        sync_directory(tmp_path / "none")


TOO_LONG = "x" * 300


def test_what_is_not_there_is_told_from_what_cannot_be_seen(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert is_plain(tmp_path / "file")
    assert not is_plain(tmp_path)
    for nothing in (tmp_path / "none", tmp_path / "none" / "below", tmp_path / "file" / "below"):
        assert look(nothing) is None
        assert not is_plain(nothing)
    assert look(tmp_path / "loop", follow=False)
    for hidden in (tmp_path / "loop", tmp_path / TOO_LONG):
        for ask in (look, is_plain):
            with pytest.raises(DiskError, match="cannot look at") as caught:
                ask(hidden)
            assert str(hidden) in caught.value.message
            assert caught.value.hint


def test_the_names_in_a_directory_that_cannot_be_listed_are_no_empty_list(tmp_path):
    (tmp_path / "file").touch()
    assert names_in(tmp_path) == ["file"]
    assert names_in(tmp_path / "none") == []
    for place in (tmp_path / "file", tmp_path / TOO_LONG):
        with pytest.raises(DiskError, match="cannot read") as caught:
            names_in(place)
        assert str(place) in caught.value.message
        assert caught.value.hint
    with pytest.raises(DiskError, match="shorter"):
        check_directory(tmp_path / TOO_LONG / "below")
