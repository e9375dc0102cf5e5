"""Standard streams that take data: slow readers, and readers that go away."""

import io
import os
import select
import signal
import threading
import time

import pytest

from tagferry.cli.logs import Redactor
from tagferry.cli.outlet import Letters, Outlet, Patience
from tagferry.cli.screen import Screen

LINES = b"".join(b"line %06d\n" % number for number in range(20_000))


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    with io.FileIO(reading) as reader, io.FileIO(writing, "w") as writer:
        yield reader, writer


@pytest.fixture
def patience():
    return Patience(None)


def test_a_slow_reader_gets_everything(pipe, patience):
    reader, writer = pipe
    taken = []

    def take():
        while block := reader.read(1000):
            taken.append(block)

    thread = threading.Thread(target=take)
    thread.start()
    outlet = Outlet(writer, patience)
    assert outlet.write(LINES) == len(LINES)
    outlet.flush()
    writer.close()
    thread.join()
    assert b"".join(taken) == LINES


@pytest.mark.parametrize("blocking", [True, False])
def test_who_reads_nothing_is_left_with_whole_lines(pipe, blocking, patience):
    reader, writer = pipe
    os.set_blocking(writer.fileno(), blocking)
    thread = threading.Thread(target=lambda: Outlet(writer, patience).write(LINES))
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    assert not patience.is_cut
    patience.stop.signal = signal.SIGINT
    thread.join(10)
    assert patience.is_cut
    writer.close()
    left = b"".join(iter(lambda: reader.read(1 << 20), b""))
    assert left
    assert LINES.startswith(left)
    assert left.endswith(b"\n")


def test_a_line_that_is_longer_than_a_pipe_takes_at_once(pipe, patience):
    reader, writer = pipe
    line = b"x" * (3 * select.PIPE_BUF) + b"\n"
    Outlet(writer, patience).write(line)
    assert reader.read(1 << 20) == line


def test_a_pipe_that_does_not_wait_and_takes_less_than_it_said(pipe, monkeypatch, patience):
    reader, writer = pipe
    real, failures = os.write, [BlockingIOError()]

    def write(descriptor, text):
        if failures:
            raise failures.pop()
        return real(descriptor, text)

    monkeypatch.setattr("tagferry.cli.outlet.os.write", write)
    Outlet(writer, patience).write(b"a\n")
    assert reader.read(10) == b"a\n"


def test_a_reader_that_went_away(pipe, patience):
    reader, writer = pipe
    reader.close()
    with pytest.raises(BrokenPipeError):
        Outlet(writer, patience).write(b"a\n")


def test_a_plain_file_and_memory(tmp_path, patience):
    with (tmp_path / "x").open("wb", buffering=0) as file:
        assert Outlet(file, patience).write(LINES) == len(LINES)
    assert (tmp_path / "x").read_bytes() == LINES
    memory = io.BytesIO()
    assert Outlet(memory, patience).write(b"a\n") == 2
    assert memory.getvalue() == b"a\n"


def test_patience_ends_with_a_signal_or_after_the_deadline(monkeypatch):
    patience = Patience(None)
    assert not patience.is_over()
    patience.stop.signal = signal.SIGINT
    assert patience.is_over()
    patience = Patience(10.0)
    assert not patience.is_over()
    later = time.monotonic() + 11
    monkeypatch.setattr("tagferry.cli.outlet.time.monotonic", lambda: later)
    assert patience.is_over()


def test_dead_letters_go_beside_a_live_view(capsys, patience):
    letters = Letters(Screen(Redactor()), io.BytesIO(), live=True, patience=patience)
    assert letters.write('{"account":"é"}\n{"account":"b"}\n'.encode()) == 33
    letters.flush()
    assert capsys.readouterr().err == '{"account":"é"}\n{"account":"b"}\n'


def test_dead_letters_that_nobody_reads_stop_nothing(pipe, monkeypatch, patience):
    reader, writer = pipe
    silenced = []
    monkeypatch.setattr("tagferry.cli.screen._silence", silenced.append)
    letters = Letters(Screen(Redactor()), writer, live=False, patience=patience)
    assert letters.write(b"a\n") == 2
    assert reader.read(10) == b"a\n"
    reader.close()
    assert letters.write(b"b\n") == 2
    assert letters.write(b"c\n") == 2
    assert silenced == [2]
