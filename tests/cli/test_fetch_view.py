"""What a fetch looks like while it goes on."""

import contextlib
import re

import pytest
from rich.console import Console

from tagferry import errors, events
from tagferry.cli.fetch_view import FetchBar, FetchLines, FetchView, open_fetch_view
from tests.cli.conftest import Terminal
from tests.cli.test_tally import fetching, planned, retrying, throttled

LONG = errors.UnavailableError("tencent-im answered 60008 to a look-up of tags: " + "x" * 300)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(clock):
    written = []
    return FetchLines(written.append, clock), written


def test_a_log_has_the_plan_and_then_a_line_each_half_minute(lines, clock):
    view, written = lines
    with view:
        view.take(planned())
        for step in range(1, 241):
            clock.now += 0.25
            view.take(fetching(2 * step, 2))
    assert written == [
        "1,000 accounts: 10 calls, at least 1 s",
        "242 of 1,000 accounts · 8/s · 24% · 2 missing · about 1:35 left · 30 s so far",
        "482 of 1,000 accounts · 8/s · 48% · 2 missing · about 1:05 left · 1:00 so far",
    ]


def test_a_log_has_few_lines_of_one_trouble(lines, clock):
    view, written = lines
    view.take(planned())
    for _ in range(100):
        view.take(retrying(1.0))
    assert len(written) == 6
    assert written[-1].endswith("(and more of the like, which the next summary counts)")
    clock.now += 30
    # A service that is down gives nothing but news, and the summaries go on.
    view.take(retrying(1.0))
    assert written[-1] == "0 of 1,000 accounts · 0% · 101 retried · 30 s so far"
    view.take(throttled())
    assert "slower for a while" in written[-1]


def drawn(view, width=80):
    console = Console(file=Terminal(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(view.draw())
    return capture.get().splitlines()


@pytest.fixture
def bar(clock):
    return FetchBar(Console(file=Terminal(), width=80), clock)


def test_a_bar_of_80_columns(bar, clock):
    assert drawn(bar) == ["reading the accounts"]
    bar.take(planned(11_000_000, 10_000_000, 10_000_000, 100_000))
    clock.now += 600
    bar.take(fetching(4_500_000, 80_000, 12, 3))
    bar.take(retrying(2.0, LONG))
    first, *others = drawn(bar)
    assert re.fullmatch(r"━{20,30} +45%  10:00, about 11:50 left", first)
    assert others == [
        "4,580,012 of 10,000,000 accounts · 7,633/s",
        "80,000 missing · 12 failed · 3 throttled · 1 retried",
        f"trying again in 2 s: {LONG.message}"[:79] + "…",
    ]
    assert all(len(line) <= 80 for line in (first, *others))


@pytest.mark.parametrize("width", [10, 20, 40, 200])
def test_a_bar_of_other_widths(bar, clock, width):
    bar.take(planned())
    clock.now += 1
    bar.take(fetching(400, 3))
    bar.take(retrying(2.0, LONG))
    text = drawn(bar, width)
    assert len(text) == 4
    assert all(len(line) <= width for line in text)


def test_news_go_when_they_are_old(bar, clock):
    bar.take(planned())
    bar.take(throttled())
    assert "slower" in drawn(bar)[-1]
    clock.now += 5
    assert "slower" not in drawn(bar)[-1]
    bar.take(retrying(20.0))
    clock.now += 15
    # As long as it waits, it says what for.
    assert "trying again in 20 s" in drawn(bar)[-1]
    clock.now += 6
    assert "trying" not in drawn(bar)[-1]


def test_an_end_without_anything_left(bar, clock):
    bar.take(planned())
    clock.now += 10
    bar.take(fetching(1000))
    assert drawn(bar)[0].endswith("━ 100%  10 s")


def test_an_empty_input_has_no_bar(bar):
    bar.take(planned(0, 0, 0))
    assert drawn(bar) == ["no accounts to ask for"]


def test_a_bar_prints_the_plan_above_itself_and_wipes_itself(clock):
    with Terminal() as screen:
        console = Console(file=screen, force_terminal=True, width=80, color_system=None)
        with FetchBar(console, clock) as view:
            view.take(planned())
        text = screen.getvalue()
    assert "1,000 accounts: 10 calls, at least 1 s\n" in text
    assert text.index("1,000 accounts: 10") < text.rindex("0 of 1,000 accounts")
    assert "reading" not in text
    assert "accounts" not in text[text.rindex("\x1b[2K") :]


def test_a_view_that_shows_nothing_still_counts():
    with FetchView() as view:
        view.take(planned())
        view.take(retrying(1.0))
    assert view.tally.retried == 1


@pytest.mark.parametrize(
    ("mode", "quiet", "kind"),
    [
        ("off", False, FetchView),
        ("auto", True, FetchView),
        ("auto", False, FetchLines),
        ("log", True, FetchLines),
        ("on", True, FetchBar),
    ],
)
def test_the_view_suits_the_wish(mode, quiet, kind):
    view = open_fetch_view(mode, quiet=quiet, console=Console(stderr=True))
    assert type(view) is kind
    assert view.is_live == (kind is FetchBar)


def test_a_terminal_that_others_write_to_as_well_has_no_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    with Terminal() as screen, contextlib.redirect_stderr(screen):
        kinds = [
            type(open_fetch_view(mode, quiet=False, console=Console(stderr=True), shared=shared))
            for mode in ("auto", "on")
            for shared in (False, True)
        ]
    assert kinds == [FetchBar, FetchLines, FetchBar, FetchBar]


def test_events_of_other_kinds_are_no_news(lines):
    view, written = lines
    view.take(events.LinkRenewed(kind="x", id="y"))
    assert written == []
