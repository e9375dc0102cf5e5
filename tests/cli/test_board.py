import io
import signal
from types import SimpleNamespace

import pytest
from rich.console import Console

from tagferry import errors, events
from tagferry.cli.board import Board
from tagferry.cli.document import dump
from tagferry.cli.logs import Redactor
from tagferry.cli.progress import LineView, LiveView, View
from tagferry.cli.report import Report, exit_code
from tagferry.cli.text import plain, show_bytes, show_seconds
from tagferry.exports.outcome import ExportDone, ExportFailed, SavedFile

A = SimpleNamespace(kind="growingio-tag", id="aaaaaaaa")
B = SimpleNamespace(kind="growingio-tag", id="bbbbbbbb")
OF_A = {"kind": A.kind, "id": A.id}
OF_B = {"kind": B.kind, "id": B.id}
BROKEN = errors.UnavailableError("the body broke off")


def progress(of, received, total, part=1, parts=1):
    return events.Progress(**of, part=part, parts=parts, received=received, total=total)


def board_of(*exports):
    board = Board()
    board.expect(exports)
    return board


def test_an_export_goes_through_its_states():
    board = board_of(A, B)
    assert board.tally() == {"waiting": 2}
    line = board.lines[A.kind, A.id]
    assert "works on it" in board.take(events.Polled(**OF_A, state="running", delay=2.0), 10.0)
    assert (line.state, line.due, line.polls) == ("polling", 12.0, 1)
    assert board.take(events.Polled(**OF_A, state="running", delay=2.0), 12.0) is None
    board.take(events.Polled(**OF_A, state="done", delay=None), 13.0)
    assert line.state == "ready"
    assert board.take(progress(OF_A, 100, 400, parts=2), 14.0) == "growingio-tag aaaaaaaa: downloading"
    assert (line.state, line.bytes, line.expected) == ("downloading", 100, 800)
    assert board.take(progress(OF_A, 400, 400, parts=2), 15.0) is None
    board.take(events.PartSaved(**OF_A, part=1, size=400), 15.0)
    board.take(progress(OF_A, 100, 300, part=2, parts=2), 16.0)
    assert (line.part, line.bytes, line.expected) == (2, 500, 700)
    assert board.settle(ExportDone(A, (SavedFile("x", 400, ""), SavedFile("y", 300, "")))).endswith("done")
    assert line.settled
    assert "failed: boom\\n" in board.settle(ExportFailed(B, errors.JobFailedError("boom\n")))
    assert board.tally() == {"failed": 1, "done": 1}


def test_troubles_are_counted_and_told():
    board = board_of(A)
    news = [
        board.take(event, 1.0)
        for event in (
            events.Resumed(**OF_A, part=1, offset=5000),
            events.TransferBroken(**OF_A, part=1, received=6000, delay=1, error=BROKEN),
            events.LinkRenewed(**OF_A),
            events.Retrying(operation="growingio-tag", failures=1, delay=1.0, error=BROKEN),
            events.Throttled(operation="growingio-tag", wait=None),
            events.UnknownStatus(**OF_A, word="x"),
        )
    ]
    assert all(news)
    assert set(board.counts.values()) == {1}
    assert board.lines[A.kind, A.id].bytes == 6000
    assert board.rate(1.0) == 2000  # what was there before does not count
    assert board.news == (1.0, "growingio-tag: the service asks to go slower")


def test_a_job_that_is_made_is_waited_for():
    board = board_of(A)
    line = board.lines[A.kind, A.id]
    assert "is made" in board.take(events.Submitted(**OF_A, job_id="j"), 1.0)
    assert line.state == "polling"
    assert "works on it" in board.take(events.Polled(**OF_A, state="running", delay=2.0), 2.0)
    assert board.take(events.Polled(**OF_A, state="running", delay=2.0), 4.0) is None
    board.take(events.Polled(**OF_A, state="done", delay=None), 6.0)
    # Asked again, for a new link.
    board.take(events.Attached(**OF_A, job_id="j"), 7.0)
    assert line.state == "ready"


def test_a_part_that_begins_anew_has_no_bytes():
    board = board_of(A)
    board.take(progress(OF_A, 100, 400), 1.0)
    told = board.take(events.PartRestarted(**OF_A, part=1, dropped=100), 2.0)
    assert told == "growingio-tag aaaaaaaa: the file is another one now, or was damaged: it is fetched anew"
    assert board.lines[A.kind, A.id].bytes == 0


def test_tables_are_told():
    assert board_of(A).take(events.Converting(output="a\n.parquet"), 1.0) == "making a\\n.parquet"
    board = board_of(A)
    assert board.take(events.ConvertProgress(output="a\n.parquet", read=45, total=100), 2.0) is None
    assert board.news == (2.0, "making a\\n.parquet: 45%")


def test_the_rate_is_of_the_last_seconds():
    board = board_of(A)
    assert board.rate(0.0) == 0.0
    assert board.eta(0.0) is None
    for second in range(10):
        board.take(progress(OF_A, 1000 * (second + 1), 20_000), float(second))
    assert board.rate(9.0) == pytest.approx(1200, rel=0.1)
    assert board.eta(9.0) == pytest.approx(10_000 / board.rate(9.0))
    assert board.rate(100.0) == 0.0


def test_a_file_that_begins_anew_moves_nothing_backwards():
    board = board_of(A)
    board.take(progress(OF_A, 1000, None), 0.0)
    board.take(progress(OF_A, 10, None), 1.0)
    assert board.bytes == 10
    assert board.rate(1.0) > 0
    assert board.lines[A.kind, A.id].expected is None


def test_what_most_happens_on_is_ranked_first():
    board = board_of(A, B)
    board.take(progress(OF_B, 1, 2), 0.0)
    assert [line.id for line in board.ranked()] == ["bbbbbbbb", "aaaaaaaa"]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_lines_sum_up_now_and_then():
    clock, lines = Clock(), []
    view = LineView(lines.append, every=30.0, clock=clock)
    view.expect([A])
    for second in range(0, 100, 10):
        clock.now = float(second)
        view.take(events.Polled(**OF_A, state="running", delay=10.0))
    assert lines[0] == "growingio-tag aaaaaaaa: the service works on it"
    assert lines[1:] == [f"1 polling · {text} so far" for text in ("30 s", "1:00", "1:30")]


def test_lines_of_many_exports_tell_trouble_only():
    lines = []
    view = LineView(lines.append, every=1e9)
    view.expect([SimpleNamespace(kind="k", id=str(n)) for n in range(100)])
    view.take(events.Polled(kind="k", id="1", state="running", delay=1.0))
    view.take(events.Progress(kind="k", id="1", part=1, parts=1, received=1, total=2))
    assert lines == []
    view.take(events.LinkRenewed(kind="k", id="1"))
    view.settle(ExportFailed(SimpleNamespace(kind="k", id="2"), BROKEN))
    assert len(lines) == 2


def draw(count, *, height=24, width=80, act=lambda view: None):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    clock = Clock()
    view = LiveView(console, clock)
    view.expect([SimpleNamespace(kind="growingio-segment", id=f"seg{n:05d}") for n in range(count)])
    act(view)
    console.print(view.draw())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("count", "height", "width"), [(1, 24, 80), (500, 24, 80), (50, 8, 40), (3, 3, 20)])
def test_the_view_never_outgrows_the_terminal(count, height, width):
    lines = draw(count, height=height, width=width)
    assert len(lines) < max(height, 4)
    assert all(len(line) <= width for line in lines)


def test_many_exports_show_the_active_ones_and_a_count():
    def act(view):
        view.take(progress({"kind": "growingio-segment", "id": "seg00499"}, 50, 100))

    lines = draw(500, act=act)
    assert "seg00499" in lines[0]
    assert "50% 50 B" in lines[0]
    assert any("more" in line for line in lines)
    assert "1 downloading, 499 waiting" in lines[-1]


def test_notes_of_the_view():
    def act(view):
        of = {"kind": "growingio-segment"}
        view.take(events.Polled(**of, id="seg00000", state="running", delay=3.0))
        view.take(progress({**of, "id": "seg00001"}, 5, 10, part=2, parts=3))
        view.take(events.LinkRenewed(**of, id="seg00002"))
        view.settle(ExportFailed(SimpleNamespace(**of, id="seg00003"), errors.RefusedError("[b]no[/b]")))
        view.take(events.Throttled(operation="growingio-segment", wait=1.0))

    text = "\n".join(draw(4, act=act))
    for part in ("asked 1×, next in 3 s", "part 2 of 3", "link renewed", "[b]no[/b]", "go slower"):
        assert part in text


@pytest.mark.parametrize(
    ("id_", "shown"),
    [
        ("seg_00007", "seg_00007 "),
        ("seg_of_the_year_that_has_a_long_key_00007", "…_that_has_a_long_key_00007 "),
        ("人群" * 20, "…群" + "人群" * 6),
    ],
)
def test_a_name_that_is_too_long_is_cut_where_all_are_alike(id_, shown):
    first, *_ = draw_names(SimpleNamespace(kind="growingio-cdp-segment", id=id_))
    assert first.startswith(shown)


def test_a_kind_is_left_out_only_where_it_tells_nothing_and_has_no_room():
    segment = SimpleNamespace(kind="growingio-cdp-segment", id="seg_00007")
    assert draw_names(A, segment)[:2] == [
        "growingio-tag aaaaaaaa      waiting",
        "…ngio-cdp-segment seg_00007 waiting",
    ]
    assert draw_names(A, B)[0] == "growingio-tag aaaaaaaa waiting"


def draw_names(*exports):
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=False)
    view = LiveView(console, Clock())
    view.expect(exports)
    console.print(view.draw())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_job_is_told_by_its_id():
    lines = []
    view = LineView(lines.append, every=1e9)
    view.take(events.Submitted(**OF_A, job_id="j1"))
    view.take(events.Attached(**OF_A, job_id="j2"))
    assert lines == [
        "growingio-tag aaaaaaaa: job j1 is made",
        "growingio-tag aaaaaaaa: going on with job j2 of an earlier run",
    ]


def test_a_view_that_shows_nothing():
    with View() as view:
        view.expect([A])
        view.settle(ExportDone(A, ()))
    assert view.board.tally() == {"done": 1}


E = errors
CODES = {
    E.ConfigError: 2,
    E.AuthError: 4,
    E.ThrottledError: 5,
    E.UnavailableError: 5,
    E.SubmitUnknownError: 5,
    E.LinkExpiredError: 5,
    E.DeadlineError: 6,
    E.RefusedError: 7,
    E.JobFailedError: 7,
    E.ProtocolError: 7,
    E.IntegrityError: 8,
    E.RecordError: 8,
    E.DiskError: 9,
}


def test_every_error_has_an_exit_code():
    classes = [getattr(errors, name) for name in errors.__all__ if name != "TagferryError"]
    assert {kind: exit_code(kind("x")) for kind in classes} == CODES
    assert exit_code(errors.TagferryError("x")) == 1
    assert exit_code(errors.ProtocolError("x", retryable=True)) == 5


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([E.UnavailableError, E.AuthError, E.DiskError], 4),
        ([E.DeadlineError, E.DiskError, E.IntegrityError], 8),
        ([E.JobFailedError, E.DiskError], 9),
        ([E.DeadlineError, E.JobFailedError], 7),
        ([E.UnavailableError, E.DeadlineError], 6),
        ([E.UnavailableError], 5),
        ([E.TagferryError], 1),
    ],
)
def test_when_none_succeeds_the_gravest_speaks(failures, code):
    exports = [SimpleNamespace(kind="k", id=str(n)) for n in range(len(failures))]
    report = Report(exports)
    for export, kind in zip(exports, failures, strict=True):
        report.settle(ExportFailed(export, kind("x")))
    assert (report.exit_code, report.outcome) == (code, "failed")


def test_a_stop_after_the_end_changes_nothing():
    report = Report([A])
    report.settle(ExportDone(A, ()))
    report.note_stop(signal.SIGINT)
    assert (report.stopped, report.exit_code, report.can_go_on) == (None, 0, False)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["x", "--no-resume"], "tagferry x --if-exists skip"),
        (["x", "--if-exists=replace"], "tagferry x --if-exists=replace"),
        (["x", "--", "-y z"], "tagferry x --if-exists skip -- '-y z'"),
    ],
)
def test_the_command_to_go_on(argv, command):
    report = Report([A, B])
    report.settle(ExportDone(A, ()))
    assert report.command(argv) == command


def test_a_path_that_is_no_text_is_escaped_in_json():
    assert dump({"path": "a\udcff"}) == '{"path":"a\\udcff"}'
    assert dump({"path": "中"}) == '{"path":"中"}'


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1.0 MiB"), (3 * 1024**5, "3072.0 TiB")],
)
def test_sizes(size, text):
    assert show_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0 s"), (0.44, "0.4 s"), (0.96, "1 s"), (59.6, "1:00"), (3661, "1:01:01")]
)
def test_durations(seconds, text):
    assert show_seconds(seconds) == text


def test_text_is_made_safe():
    assert plain("a\x1b[31m\n\u202eb中") == "a\\x1b[31m\\n\\u202eb中"
    redactor = Redactor()
    redactor.learn(["s3cret", " "])
    text = redactor.clean("s3cret https://h/p?sign=a/b&x=1 \x1b\x07\n")
    assert text == "*** https://h/p?… \\x1b\\x07\n"


def test_a_secret_of_a_few_letters_is_not_looked_for_in_words():
    redactor = Redactor()
    redactor.learn(["x", "a.b"])
    assert redactor.clean("next: text x, a.b and axb, token=x") == "next: text ***, *** and axb, token=***"
