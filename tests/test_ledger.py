from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tagferry import ledger as module
from tagferry.errors import DiskError
from tagferry.ledger import Ledger


class Note(msgspec.Struct, frozen=True):
    text: str


class Other(msgspec.Struct, frozen=True):
    number: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.ledger"


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def run_python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


OPEN = """
import sys
from pathlib import Path
from tagferry.errors import DiskError
from tagferry.ledger import Ledger
try:
    Ledger.open(Path(sys.argv[1])).close()
except DiskError as error:
    print(error.code)
else:
    print("opened")
"""


def test_documents_are_there_in_the_next_run(path):
    ledger = Ledger.open(path)
    assert ledger.is_new
    assert ledger.get("a", Note) is None
    ledger.put("b", Note("two"))
    ledger.put("a", Note("one"))
    ledger.put("a", Note("three"))
    ledger.put("c", Note("gone"))
    ledger.delete("c")
    ledger.delete("never there")
    ledger.close()
    ledger = Ledger.open(path)
    assert not ledger.is_new
    notes = [ledger.get(key, Note) for key in "abc"]
    assert notes == [Note("three"), Note("two"), None]
    ledger.close()
    assert names_in(path.parent) == {"x.ledger"}


def test_only_the_owner_can_read_it(path):
    before = os.umask(0)
    try:
        ledger = Ledger.open(path)
        ledger.put("a", Note("one"))
    finally:
        os.umask(before)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    ledger.close()
    assert modes == {"x.ledger": 0o600, "x.ledger-wal": 0o600}


@pytest.mark.parametrize("name", ["a b", "a?b#c%25", "名", os.fsdecode(b"\xff\xfe"), "x" * 200])
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / f"{name}.ledger"
    ledger = Ledger.open(path)
    ledger.put("a", Note("one"))
    assert path.exists()
    ledger.remove()
    assert names_in(tmp_path) == set()


def test_a_relative_name_will_do(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    Ledger.open(Path(path.name)).close()
    assert path.exists()


def test_a_second_run_is_told(path):
    ledger = Ledger.open(path)
    ledger.put("a", Note("one"))
    assert run_python(OPEN, path).stdout == "EBUSY\n"
    with pytest.raises(DiskError, match="another run is writing this output") as caught:
        Ledger.open(path)
    assert caught.value.code == "EBUSY"
    # POSIX locks go when any descriptor of the file is closed: the one of the try above was not.
    assert run_python(OPEN, path).stdout == "EBUSY\n"
    ledger.close()
    assert run_python(OPEN, path).stdout == "opened\n"


RACE = """
import multiprocessing, sys
from pathlib import Path
from tagferry.errors import DiskError
from tagferry.ledger import Ledger

def run(path, starts, told):
    starts.wait()
    try:
        ledger = Ledger.open(path)
    except DiskError as error:
        told.put(error.code)
        starts.wait()
    else:
        told.put("opened")
        starts.wait()  # both have told before the first one lets go
        ledger.close()

for number in range(20):
    context = multiprocessing.get_context("fork")
    starts, told = context.Barrier(2), context.Queue()
    path = Path(sys.argv[1]) / f"{number}.ledger"
    children = [context.Process(target=run, args=(path, starts, told)) for _ in range(2)]
    for child in children:
        child.start()
    print(*sorted([told.get(), told.get()]))
    for child in children:
        child.join()
"""


def test_of_two_that_begin_in_the_same_moment_one_comes_first(tmp_path):
    done = run_python(RACE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["EBUSY opened"] * 20


def test_a_ledger_that_was_removed_while_it_was_opened_is_not_taken_up(path, monkeypatch):
    Ledger.open(path).close()
    make, found = module._make, []

    def make_and_lose(path: Path) -> tuple[tuple[int, int], bool]:
        identity, made = make(path)
        if not found:
            # The run that held it ends: one keeps the file open, and another begins.
            os.link(path, path.with_name("old"))
            path.unlink()
            path.touch(0o600)
        found.append(identity)
        return identity, made

    monkeypatch.setattr(module, "_make", make_and_lose)
    ledger = Ledger.open(path)
    assert len(found) == 2
    assert found[0] != found[1] == (path.stat().st_dev, path.stat().st_ino)
    ledger.remove()


def test_a_ledger_that_vanishes_again_and_again_counts_as_busy(path, monkeypatch):
    monkeypatch.setattr(module, "_WAIT", 0.001)
    monkeypatch.setattr(module, "_identity", lambda _: None)
    with pytest.raises(DiskError) as caught:
        Ledger.open(path)
    assert caught.value.code == "EBUSY"


def test_what_is_removed_is_gone_and_can_be_made_anew(path):
    ledger = Ledger.open(path)
    ledger.put("a", Note("one"))
    ledger.remove()
    assert names_in(path.parent) == set()
    ledger = Ledger.open(path)
    assert ledger.get("a", Note) is None
    # Somebody else removed it: it is gone, as it should be.
    path.unlink()
    ledger.remove()


def test_a_log_without_a_ledger_is_no_part_of_a_new_one(path):
    ledger = Ledger.open(path)
    ledger.put("a", Note("one"))
    log = path.with_name("x.ledger-wal")
    old = log.read_bytes()
    ledger.close()
    path.unlink()
    log.write_bytes(old)
    ledger = Ledger.open(path)
    assert ledger.get("a", Note) is None
    ledger.close()


PUT = """
import sys
from pathlib import Path
import msgspec
from tagferry.ledger import Ledger
class Note(msgspec.Struct):
    text: str
ledger = Ledger.open(Path(sys.argv[1]))
number = 0
while True:
    ledger.put("a", Note(f"{number:06d}" * 50))
    print(number, flush=True)
    number += 1
"""


def test_what_was_put_survives_a_kill(path):
    child = subprocess.Popen([sys.executable, "-c", PUT, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(200):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate(timeout=10)
    last = int(([last, *rest.split()])[-1])
    assert path.with_name("x.ledger-wal").exists()
    ledger = Ledger.open(path)
    note = ledger.get("a", Note)
    ledger.close()
    # One more may have been written before it was told.
    assert note in {Note(f"{number:06d}" * 50) for number in (last, last + 1)}
    assert names_in(path.parent) == {"x.ledger"}


def make_foreign(path: Path, mode: str) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute("CREATE TABLE mine (a)")
    database.execute("INSERT INTO mine VALUES (1)")
    database.commit()
    database.close()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_of_someone_else_is_left_alone(path, mode):
    make_foreign(path, mode)
    before = path.read_bytes()
    with pytest.raises(DiskError, match="is no ledger of tagferry"):
        Ledger.open(path)
    assert path.read_bytes() == before
    assert names_in(path.parent) == {"x.ledger"}


def test_a_file_that_is_no_database_is_left_alone(path):
    path.write_text("my own notes\n" * 100)
    with pytest.raises(DiskError, match="is damaged or no ledger") as caught:
        Ledger.open(path)
    assert path.read_text() == "my own notes\n" * 100
    assert caught.value.hint


def test_an_empty_file_becomes_a_ledger(path):
    path.touch()
    ledger = Ledger.open(path)
    assert ledger.is_new
    ledger.close()


def test_a_ledger_of_another_version_is_left_alone(path):
    Ledger.open(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(DiskError, match=r"another version \(2\)") as caught:
        Ledger.open(path)
    assert caught.value.hint == "use the version of tagferry that wrote it, or remove it to start over"


def test_a_damaged_ledger_is_told(path):
    ledger = Ledger.open(path)
    ledger.put("a", Note("one" * 1000))
    ledger.close()
    body = bytearray(path.read_bytes())
    body[4096:8192] = b"\xff" * 4096
    path.write_bytes(body)
    ledger = Ledger.open(path)
    with pytest.raises(DiskError, match="is damaged or no ledger"):
        ledger.get("a", Note)
    ledger.close()


@pytest.mark.parametrize("body", [b'{"number":"x"}', b"{", b'{"text":"\xff"}', b'{"text":1}'])
def test_a_document_of_another_form_is_told(path, body):
    ledger = Ledger.open(path)
    ledger._database.execute("INSERT INTO documents VALUES ('a', ?)", (body,))
    with pytest.raises(DiskError, match="does not understand") as caught:
        ledger.get("a", Note)
    ledger.close()
    assert caught.value.hint


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.with_name("elsewhere").write_text("mine")
    path.symlink_to(path.with_name("elsewhere"))


def make_dead_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_hard_link(path: Path) -> None:
    path.with_name("elsewhere").write_text("mine")
    path.hardlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [make_directory, make_pipe, make_link, make_dead_link, make_hard_link])
def test_something_else_in_its_place_is_left_alone(path, make):
    make(path)
    before = {one: one.lstat().st_mode for one in path.parent.iterdir()}
    with pytest.raises(DiskError, match="is no plain file of its own"):
        Ledger.open(path)
    assert {one: one.lstat().st_mode for one in path.parent.iterdir()} == before
    assert path.is_dir() or path.is_fifo() or not path.exists() or path.read_text() == "mine"


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DiskError, match="cannot open the ledger") as caught:
        Ledger.open(tmp_path / "no" / "x.ledger")
    assert caught.value.code == "ENOENT"


def test_a_disk_that_does_not_answer_is_told(path, monkeypatch):
    Ledger.open(path).close()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", fail)
        with pytest.raises(DiskError) as caught:
            Ledger.open(path)
    assert caught.value.code == "EIO"


def test_a_full_disk_is_told_and_what_was_put_before_stays(path):
    ledger = Ledger.open(path)
    ledger.put("a", Note("one"))
    # SQLite says the same as of a disk without room.
    ledger._database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(DiskError, match="no space is left") as caught:
        ledger.put("a", Note("two" * 10_000))
    assert caught.value.code == "ENOSPC"
    assert ledger.get("a", Note) == Note("one")
    ledger._database.execute("PRAGMA max_page_count = 1000")
    ledger.put("a", Note("two" * 10_000))
    ledger.close()
    ledger = Ledger.open(path)
    assert ledger.get("a", Note) == Note("two" * 10_000)
    ledger.close()


LIMITED = """
import resource, signal, sys
from pathlib import Path
import msgspec
from tagferry.errors import DiskError
from tagferry.ledger import Ledger
class Note(msgspec.Struct):
    text: str
ledger = Ledger.open(Path(sys.argv[1]))
ledger.put("a", Note("one"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    ledger.put("a", Note("two" * 10_000))
except DiskError as error:
    print(error.code)
print(ledger.get("a", Note).text)
ledger.close()
"""


def test_a_limit_of_the_file_size_is_told_and_what_was_put_before_stays(path):
    done = run_python(LIMITED, path)
    assert done.stdout.splitlines() == ["SQLITE_IOERR_WRITE", "one"], done.stderr
    ledger = Ledger.open(path)
    assert ledger.get("a", Note) == Note("one")
    ledger.close()


def test_what_else_goes_wrong_is_told_in_the_words_of_sqlite(path):
    ledger = Ledger.open(path)
    ledger._database.execute("DROP TABLE documents")
    with pytest.raises(DiskError, match=r"cannot use .*: no such table") as caught:
        ledger.get("a", Note)
    ledger.close()
    assert caught.value.code == "SQLITE_ERROR"


TOO_SMALL = """
import resource, signal, sys
from pathlib import Path
from tagferry.errors import DiskError
from tagferry.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    Ledger.open(Path(sys.argv[1]))
except DiskError as error:
    print(error.code)
"""


@pytest.mark.parametrize("size", [0, 5000])
def test_a_ledger_that_cannot_be_made_leaves_nothing_behind(path, size):
    done = run_python(TOO_SMALL, path, size)
    assert done.stdout == "SQLITE_IOERR_WRITE\n", done.stderr
    assert names_in(path.parent) == set()


TEXTS = st.text("ab", max_size=3) | st.just("x" * 9000)


class Machine(RuleBasedStateMachine):
    """Any documents, and crashes that lose nothing, or the end of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger | None = None

    @initialize()
    def begin(self) -> None:
        self.directory = Path(os.environ["TAGFERRY_TEST_DIRECTORY"])
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.runs = 0
        self.path = self.directory / "0" / "x.ledger"
        self.path.parent.mkdir()
        self.ledger = Ledger.open(self.path)
        self.model: dict[str, Note] = {}
        self.history = [{}]

    @rule(key=st.sampled_from("abc"), text=TEXTS)
    def put(self, key: str, text: str) -> None:
        self.ledger.put(key, Note(text))
        self.model[key] = Note(text)
        self.history.append(dict(self.model))

    @rule(key=st.sampled_from("abc"))
    def delete(self, key: str) -> None:
        self.ledger.delete(key)
        if self.model.pop(key, None):
            self.history.append(dict(self.model))

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.path)
        self.history = [dict(self.model)]

    @rule(cut=st.none() | st.floats(0, 1))
    def crash(self, cut: float | None) -> None:
        """What is on disk now is what the next run finds, but perhaps for the end of the log."""
        self.runs += 1
        there = self.directory / str(self.runs)
        shutil.copytree(self.path.parent, there)
        self.ledger.close()
        shutil.rmtree(self.path.parent)
        self.path = there / "x.ledger"
        log = there / "x.ledger-wal"
        if cut is not None and log.exists():
            os.truncate(log, int(cut * log.stat().st_size))
        self.ledger = Ledger.open(self.path)
        found = self.read()
        assert found == self.model if cut is None else found in self.history
        self.model = found
        # The log still has all that came before.
        self.history = self.history[: len(self.history) - self.history[::-1].index(found)]

    @invariant()
    def is_as_it_was_left(self) -> None:
        if self.ledger is not None:
            assert self.read() == self.model

    def read(self) -> dict[str, Note]:
        found = {key: self.ledger.get(key, Note) for key in "abc"}
        return {key: note for key, note in found.items() if note}

    def teardown(self) -> None:
        if self.ledger is not None:
            self.ledger.close()
            shutil.rmtree(self.directory)


def test_any_documents_survive_any_crash(tmp_path, monkeypatch):
    monkeypatch.setenv("TAGFERRY_TEST_DIRECTORY", str(tmp_path / "runs"))
    run_state_machine_as_test(Machine, settings=settings(max_examples=25, stateful_step_count=15))
