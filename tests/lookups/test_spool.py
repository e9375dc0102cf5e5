"""The spool on a real disk: each account once, in order, whatever the input and whatever breaks."""

from __future__ import annotations

import errno
import itertools
import os
import random
import stat
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagferry.errors import DiskError, IntegrityError
from tagferry.lookups import buckets, spool_file
from tagferry.lookups import spool as spool_module
from tagferry.lookups.spool import Digest, Spool, SpoolReport
from tagferry.lookups.spool_reader import SpoolReader


def make_accounts(count, kinds, seed):
    """Return accounts of so many kinds; those that Hypothesis draws one by one are mostly few."""
    chance = random.Random(seed)
    return [chance.choice(["", "用户", "x" * 30]) + str(chance.randrange(kinds)) for _ in range(count)]


ACCOUNTS = st.one_of(
    st.lists(st.text("ab用", min_size=1, max_size=3)),
    st.builds(make_accounts, st.integers(0, 200), st.integers(1, 300), st.integers(0, 99)),
)
CUTS = st.lists(st.integers(0, 150), max_size=12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.accounts"


def lower(patch):
    """Lower the bounds so far that a few accounts fill buckets, layers and blocks."""
    patch.setattr(spool_module, "_FEW", 8)
    for name, value in [("_DEALT", 30), ("BLOCK", 40), ("_FLAGS", 3)]:
        patch.setattr(buckets, name, value)
    patch.setattr(spool_file, "BLOCK", 40)


@pytest.fixture
def small(monkeypatch):
    lower(monkeypatch)


def cut_up(accounts, cuts):
    """Cut a list into blocks, some of them empty."""
    edges = [0, *sorted(min(cut, len(accounts)) for cut in cuts), len(accounts)]
    return [accounts[a:b] for a, b in itertools.pairwise(edges)]


def names_beside(path):
    return [file.name for file in path.parent.iterdir()]


def digest_of(blocks):
    digest = Digest()
    for block in blocks:
        digest.add(block)
    return digest.accounts, digest.hexdigest


def spool(path, blocks):
    one = Spool(path)
    for block in blocks:
        one.add(block)
    return one.finish()


def read_all(path, batch=100, most=7, start=0):
    reader, batches = SpoolReader(path, batch), []
    try:
        reader.skip(start)
        while some := reader.read(most):
            assert len(some) <= most
            batches += some
        assert reader.read(1) == []
    finally:
        reader.close()
    return batches


def check_against_oracle(path, accounts, cuts):
    data = [account.encode() for account in accounts]
    report = spool(path, cut_up(data, cuts))
    expected = list(dict.fromkeys(data))
    text = b"".join(account + b"\n" for account in expected)
    assert path.read_bytes() == text
    assert names_beside(path) == [path.name]
    assert (report.accounts, report.digest) == digest_of([data])
    assert report == SpoolReport(len(data), len(expected), len(text), report.digest)
    assert [account for batch in read_all(path, 3) for account in batch] == [
        account.decode() for account in expected
    ]
    Spool.sweep(path)


@given(ACCOUNTS, CUTS)
def test_few_accounts_are_kept_once_in_order_however_they_come(tmp_path_factory, accounts, cuts):
    check_against_oracle(tmp_path_factory.mktemp("spool") / "x", accounts, cuts)


@given(ACCOUNTS, CUTS)
@example(["1"] * 150, [])
@example(["1"] * 150, list(range(0, 150, 7)))
@example([str(number) for number in range(150)], [50])
@example([str(number % 75) for number in range(150)], [9])
def test_many_accounts_are_kept_once_in_order_however_they_come(tmp_path_factory, accounts, cuts):
    with pytest.MonkeyPatch.context() as patch:
        lower(patch)
        check_against_oracle(tmp_path_factory.mktemp("spool") / "x", accounts, cuts)


def test_very_many_accounts_are_kept_once_in_order(path):
    """With the real bounds, beyond those of one set."""
    chance = random.Random(3)
    accounts = [f"user{chance.randrange(100_000):08d}" for _ in range(150_000)]
    check_against_oracle(path, accounts, range(0, 150_000, 9_973))


def test_the_same_account_over_and_over_takes_no_more_room(path, small):
    """A list of events has some users very often: the bucket of one may be most of the input."""
    others = [b"%d" % number for number in range(20)]
    report = spool(path, [others, [b"unknown"] * 1000, [b"a", b"unknown"] * 500])
    assert (report.accounts, report.distinct) == (2020, 22)
    assert path.read_bytes().split() == [*others, b"unknown", b"a"]


def test_large_accounts_count_by_their_bytes(path, monkeypatch):
    monkeypatch.setattr(spool_module, "_FEW_BYTES", 1000)
    accounts = [f"{number:0900d}" for number in range(40)] * 2
    check_against_oracle(path, accounts, range(0, 80, 3))


def test_memory_does_not_grow_with_the_input(path, monkeypatch):
    monkeypatch.setattr(spool_module, "_FEW", 1000)
    monkeypatch.setattr(buckets, "_DEALT", 16 * 1024)
    peaks = []
    for count in (20_000, 160_000):
        tracemalloc.start()
        try:
            blocks = (
                [b"user%08d" % (n % (count - 9)) for n in range(a, a + 500)] for a in range(0, count, 500)
            )
            assert spool(path, blocks).distinct == count - 9
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        Spool.sweep(path)
    # Eight times the accounts: the largest bucket grows by 70 kB, and the index of the layers by 220 kB.
    assert peaks[1] - peaks[0] < 500_000
    assert peaks[1] < 4_000_000


@given(st.lists(st.binary(min_size=1, max_size=4).map(lambda one: one.replace(b"\n", b"x"))), CUTS, CUTS)
def test_a_digest_depends_on_the_accounts_and_not_on_the_blocks(accounts, cuts, other):
    assert digest_of(cut_up(accounts, cuts)) == digest_of(cut_up(accounts, other))
    assert digest_of([[*accounts, b"one more"]]) != digest_of([accounts])


def test_a_digest_tells_how_accounts_are_divided_ordered_and_repeated():
    inputs = [[], [b"ab"], [b"a", b"b"], [b"b", b"a"], [b"a", b"b", b"b"], [b"a"]]
    assert len({digest_of([accounts]) for accounts in inputs}) == len(inputs)


def test_a_spool_is_for_its_owner_only_and_its_helpers_have_no_name(path, small):
    one = Spool(path)
    one.add([b"%d" % number for number in range(100)] * 2)
    assert names_beside(path) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one.finish()
    assert names_beside(path) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_stands_at_the_path_is_left_alone(path, kind):
    other = path.with_name("other")
    if kind == "file":
        path.write_bytes(b"mine")
    else:
        path.symlink_to(other)
    if kind == "link":
        other.write_bytes(b"mine")
    with pytest.raises(DiskError) as caught:
        Spool(path)
    assert caught.value.code == "EEXIST"
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert os.path.lexists(path)
    assert not other.exists() or other.read_bytes() == b"mine"


def test_leftovers_of_a_crash_are_swept(path, small):
    names = ["", ".buckets", ".kept", ".distinct"]
    for name in names:
        path.with_name(path.name + name).write_bytes(b"half")
    path.with_name("bystander").touch()
    Spool.sweep(path)
    assert names_beside(path) == ["bystander"]
    Spool.sweep(path)
    assert spool(path, [[b"%d" % number for number in range(50)] * 2]).distinct == 50


def test_a_directory_in_the_way_of_a_sweep_is_a_disk_error(path):
    path.mkdir()
    with pytest.raises(DiskError, match="cannot remove"):
        Spool.sweep(path)


@pytest.mark.parametrize("many", [False, True])
def test_a_discarded_spool_leaves_nothing(path, small, many):
    one = Spool(path)
    one.add([b"a"])
    if many:
        one.add([b"%d" % number for number in range(100)])
    one.discard()
    one.discard()
    assert names_beside(path) == []


def test_short_writes_are_gone_on_with(path, small, monkeypatch):
    write = os.write
    monkeypatch.setattr(spool_file.os, "write", lambda handle, text: write(handle, text[:7]))
    check_against_oracle(path, [str(number % 60) for number in range(100)], [30])


class Broken:
    """A disk that fails at the n-th call of one kind."""

    def __init__(self, patch, name, call, error):
        self._real, self._left, self._error = getattr(os, name), call, error
        patch.setattr(spool_file.os, name, self)

    def __call__(self, *args, **kwargs):
        self._left -= 1
        if self._left == 0:
            raise OSError(self._error, os.strerror(self._error))
        return self._real(*args, **kwargs)


def calls_of(monkeypatch, path, name, accounts):
    """Count the calls of one kind that a whole spool takes."""
    with monkeypatch.context() as patch:
        broken = Broken(patch, name, 10**9, errno.EIO)
        spool(path, cut_up(accounts, range(0, 100, 10)))
        Spool.sweep(path)
        return 10**9 - broken._left


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("write", errno.ENOSPC, "free some space"),
        ("fsync", errno.EIO, "disk"),
        ("open", errno.EMFILE, "ulimit"),
        ("pread", errno.EIO, "disk"),
    ],
)
@pytest.mark.parametrize("repeats", [False, True])
def test_a_disk_that_fails_at_any_point_leaves_nothing(path, small, monkeypatch, name, error, hint, repeats):
    accounts = [b"%d" % (number % 60 if repeats else number) for number in range(100)]
    count = calls_of(monkeypatch, path, name, accounts)
    # The last sync is that of the directory, with the whole file in it.
    assert count >= 2
    for call in range(1, count + 1):
        with monkeypatch.context() as patch:
            Broken(patch, name, call, error)
            with pytest.raises(DiskError) as caught:
                spool(path, cut_up(accounts, range(0, 100, 10)))
        assert caught.value.code == errno.errorcode[error]
        assert hint in caught.value.hint
        assert str(path.parent) in str(caught.value)
        assert names_beside(path) == []


def test_a_rename_that_fails_leaves_nothing(path, small, monkeypatch):
    def fail(self, target):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(DiskError, match="cannot rename"):
        spool(path, cut_up([b"%d" % (number % 60) for number in range(100)], [50]))
    assert names_beside(path) == []


def test_a_bug_of_the_caller_leaves_nothing_either(path):
    one = Spool(path)
    with pytest.raises(TypeError):
        one.add([b"a", "b"])
    assert names_beside(path) == []


def test_a_cleanup_that_fails_does_not_hide_the_first_error(path, monkeypatch):
    one = Spool(path)
    one.add([b"a"])
    with monkeypatch.context() as patch:
        Broken(patch, "fsync", 1, errno.ENOSPC)
        Broken(patch, "unlink", 1, errno.EROFS)
        with pytest.raises(DiskError) as caught:
            one.finish()
    assert caught.value.code == "ENOSPC"


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_batches_are_full_but_the_last(path, count):
    accounts = [f"user{number}" for number in range(count)]
    spool(path, [[account.encode() for account in accounts]])
    expected = [accounts[at : at + 100] for at in range(0, count, 100)]
    for most in (1, 2, 1000):
        assert read_all(path, 100, most) == expected


@given(
    st.integers(0, 100),
    st.integers(1, 9),
    st.integers(0, 12),
    st.integers(1, 80),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6),
)
@example(100, 3, 2, 80, [(1, 1), (0, 3), (2, 30)])
def test_a_batch_of_a_number_always_holds_the_same(tmp_path_factory, count, batch, start, block, steps):
    path = tmp_path_factory.mktemp("spool") / "x"
    accounts = [f"用{number}" for number in range(count)]
    spool(path, [[account.encode() for account in accounts]])
    expected = [accounts[at : at + batch] for at in range(0, count, batch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_file, "BLOCK", block)
        assert read_all(path, batch, 5, start) == expected[start:]
        reader, at = SpoolReader(path, batch), start
        reader.skip(start)
        for most, skipped in steps:
            assert reader.read(most) == expected[at : at + most]
            at += most
            reader.skip(skipped)
            at += skipped
        reader.close()
        reader.close()


def test_a_spool_that_is_cut_is_not_whole(path):
    spool(path, [[b"abc", b"def"]])
    os.truncate(path, 6)
    reader = SpoolReader(path, 1)
    with pytest.raises(IntegrityError, match="is cut"):
        reader.read(5)
    reader.close()
    reader = SpoolReader(path, 1)
    with pytest.raises(IntegrityError, match="is cut"):
        reader.skip(5)
    reader.close()


def test_a_spool_that_is_gone_or_a_link_cannot_be_read(path):
    with pytest.raises(DiskError) as caught:
        SpoolReader(path, 100)
    assert caught.value.code == "ENOENT"
    path.symlink_to(path.with_name("other"))
    with pytest.raises(DiskError):
        SpoolReader(path, 100)


def test_a_disk_error_while_reading_is_told(path, monkeypatch):
    spool(path, [[b"abc"]])
    reader = SpoolReader(path, 100)
    with monkeypatch.context() as patch:
        Broken(patch, "pread", 1, errno.EIO)
        with pytest.raises(DiskError, match="cannot read"):
            reader.read(1)
    reader.close()
