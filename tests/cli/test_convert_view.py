"""What conversions look like while they go on."""

from pathlib import Path

import pytest
from rich.console import Console

from tagferry.cli.conversions import Task
from tagferry.cli.convert_view import ConvertBar, ConvertLines, ConvertView, open_convert_view
from tagferry.events import ConvertProgress, LinkRenewed
from tests.cli.conftest import Terminal
from tests.cli.test_fetch_view import Clock

MIB = 1024 * 1024
FIRST = Task(
    [Path("out/城市\n-00001.csv"), Path("out/城市\n-00002.csv")], Path("out/城市\n.parquet"), 30 * MIB
)
SECOND = Task([Path("b.jsonl")], Path("b.parquet"), 10 * MIB)


@pytest.fixture
def clock():
    return Clock()


def read(share):
    return ConvertProgress(output="x", read=int(share * 1000), total=1000)


def test_a_log_has_a_line_each_half_minute(clock):
    written = []
    with ConvertLines(written.append, clock) as view:
        view.expect([FIRST, SECOND])
        view.begin(FIRST)
        for step in range(40):
            clock.now += 1
            view.take(read(step / 60))
        view.take(LinkRenewed(kind="x", id="y"))
        # It failed, so that the rest of it will not be converted.
        view.begin(SECOND)
        clock.now += 30
        view.take(read(0.5))
    assert written == [
        "converting out/城市\\n-00001.csv and 1 more (30.0 MiB) to out/城市\\n.parquet",
        "14.5 MiB of 40.0 MiB · 511.1 KiB/s · 36% · about 51 s left · 30 s so far",
        "converting b.jsonl (10.0 MiB) to b.parquet",
        "24.5 MiB of 29.5 MiB · 170.7 KiB/s · 83% · about 30 s left · 1:10 so far",
    ]


def test_a_file_that_was_empty_when_it_was_looked_at(clock):
    written = []
    view = ConvertLines(written.append, clock)
    view.expect([Task([Path("a")], Path("b"), 0)])
    view.begin(Task([Path("a")], Path("b"), 0))
    clock.now += 30
    view.take(read(0.5))
    assert written[1:] == ["0 B of 0 B · 30 s so far"]


def lines_of(view):
    with Terminal() as screen:
        console = Console(file=screen, width=80, height=24, color_system=None)
        console.print(view.draw())
        return screen.getvalue().splitlines()


def test_a_bar_of_80_columns(clock):
    view = ConvertBar(Console(), clock)
    view.expect([FIRST, SECOND])
    assert lines_of(view)[0].rstrip().endswith("0%  0 s")
    view.begin(FIRST)
    clock.now += 2
    view.take(read(0.5))
    bar, far, what = lines_of(view)
    assert bar.rstrip().endswith("37%  2 s, about 3 s left")
    assert far.rstrip() == "15.0 MiB of 40.0 MiB · 7.5 MiB/s"
    assert what.startswith("converting out/城市\\n-00001.csv")
    assert all(len(line) <= 80 for line in (bar, far, what))


def test_without_anything_to_convert_there_is_no_bar(clock):
    view = ConvertBar(Console(), clock)
    view.expect([])
    assert len(lines_of(view)) == 2


@pytest.mark.parametrize(
    ("mode", "quiet", "kind"),
    [
        ("off", False, ConvertView),
        ("auto", True, ConvertView),
        ("auto", False, ConvertLines),
        ("log", True, ConvertLines),
        ("on", False, ConvertBar),
    ],
)
def test_the_view_that_suits(mode, quiet, kind):
    assert type(open_convert_view(mode, quiet=quiet, console=Console(stderr=True))) is kind
