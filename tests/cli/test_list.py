import contextlib
import json
import os
import shlex
import signal
import threading
import time

import hypothesis
import hypothesis.strategies as st
import pytest
from rich.cells import cell_len

from tagferry.__main__ import main
from tagferry.cli.listing import show_lines, show_table
from tagferry.cli.options import Selection
from tagferry.cli.selection import choose_exports, keep_matching
from tagferry.cli.table import draw, shrink
from tagferry.emulator import CDPSettings, Settings, serve_in_thread
from tagferry.errors import ConfigError
from tagferry.services.growingio_listed import Listed
from tests.cli.conftest import CANARY, PROJECT, Terminal

SEGMENTS = ("list", "growingio-segments", PROJECT)
KINDS = {
    "growingio-segments": SEGMENTS,
    "growingio-variables": ("list", "growingio-variables", PROJECT),
    "growingio-cdp-tags": ("list", "growingio-cdp-tags"),
    "growingio-cdp-segments": ("list", "growingio-cdp-segments", "--project", "WlGk4Daj"),
    "growingio-cdp-projects": ("list", "growingio-cdp-projects"),
}
CDP_LISTS = [kind for kind in KINDS if "cdp" in kind]


@pytest.fixture
def both(service, monkeypatch):
    """The emulator of `service`, which the settings of the CDP point to as well."""
    monkeypatch.setenv("TAGFERRY_CDP_TOKEN", service.token)
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", service.base_url)
    return service


@pytest.fixture
def on_screen(both, monkeypatch):
    """Call the command line with a standard output that is a terminal."""

    def call(*argv, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        with Terminal() as screen, contextlib.redirect_stdout(screen):
            code = main(list(argv))
            return code, screen.getvalue()

    return call


@pytest.fixture
def when_asked(both):
    """Send this process a signal as soon as the service is asked for something."""
    threads = []

    def send(number):
        while len(both.seen) == 0:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    def call(number):
        threads.append(threading.Thread(target=send, args=(number,)))
        threads[-1].start()

    yield call
    for thread in threads:
        thread.join()


# What is printed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_programs_read_a_line_for_each_item_with_all_columns(run, both, kind):
    ran = run(*KINDS[kind])
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert {len(row) for row in rows} == {9}
    assert len({row[0] for row in rows}) == len(rows) > 1
    assert all(row[0] and row[1] and row[7] for row in rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [80, 60, 30])
def test_people_read_a_table_that_fits(on_screen, capsys, kind, columns):
    code, text = on_screen(*KINDS[kind], columns=columns)
    assert code == 0
    header, *rows = text.splitlines()
    assert header.split()[0] in {"KEY", "ID"}
    assert len(rows) > 1
    assert all(cell_len(line) <= columns for line in (header, *rows))
    assert "\x1b" not in text
    assert capsys.readouterr().err == f"{len(rows)} listed\n"


def test_a_table_shows_the_columns_that_tell_something(on_screen):
    assert on_screen(*SEGMENTS)[1].split()[:5] == ["ID", "NAME", "TYPE", "USERS", "UPDATED"]
    assert on_screen(*KINDS["growingio-cdp-projects"])[1].split()[:2] == ["ID", "NAME"]
    _, tags = on_screen(*KINDS["growingio-cdp-tags"])
    assert tags.split()[:5] == ["KEY", "NAME", "TYPE", "VALUES", "UPDATED"]
    assert "T01:01" not in tags


def test_json_is_one_document(run, both):
    ran = run(*KINDS["growingio-cdp-tags"], "--match", "tag_rfm", "--json")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.document == {
        "v": 1,
        "outcome": "complete",
        "items": [
            {
                "kind": "growingio-cdp-tag",
                "id": ran.document["items"][0]["id"],
                "key": "tag_rfm",
                "name": "会员等级",
                "type": "AGGREGATED",
                "value_type": "DOUBLE",
                "count": None,
                "updated": "2022-01-01T01:01:00.000Z",
                "state": "FINISH",
                "description": "API示例",
            }
        ],
        "error": None,
    }


def test_quiet_prints_what_an_export_takes(run, both, on_screen):
    ran = run(*SEGMENTS, "--quiet")
    keys = ran.out.split()
    assert (ran.code, ran.err, len(keys)) == (0, "", 12)
    assert on_screen(*SEGMENTS, "-q")[1].split() == keys
    assert run("export", "growingio-segment", PROJECT, *keys[:2], "--quiet").code == 0


def test_a_key_that_breaks_lines_breaks_none():
    item = Listed(kind="growingio-cdp-tag", id="1", key="a\tb\nc", name="evil\x1b[31m\u202e")
    for line in (*show_lines([item]), *show_table([item], 80)):
        assert line.isprintable() or "\t" in line
        assert not set(line) & set("\n\x1b\u202e")
    assert show_lines([item])[0].split("\t")[0] == "a\\tb\\nc"


def test_a_state_other_than_finished_is_shown():
    items = [
        Listed(kind="k", id=f"i{n}", key=f"k{n}", name="n", state=state)
        for n, state in enumerate(["FINISH", "ERROR"])
    ]
    assert show_table(items, 80)[0].split() == ["KEY", "NAME", "STATE"]


# Which are listed ---------------------------------------------------------------------------------------


def test_a_pattern_counts_for_id_key_and_name(run, both):
    whole = run(*SEGMENTS).out.splitlines()
    by_name = run(*SEGMENTS, "--match", "*沉睡*").out.splitlines()
    assert 0 < len(by_name) < len(whole)
    assert all("沉睡" in line for line in by_name)
    assert run(*SEGMENTS, "--match", "nP2lp?X9").out.startswith("nP2lpkX9\t")
    key, *_, id_, _ = run(*KINDS["growingio-cdp-tags"], "--match", "tag_rfm").out.split("\t")
    assert run(*KINDS["growingio-cdp-tags"], "--match", id_).out.startswith(f"{key}\t")


def test_a_pattern_that_matches_nothing_is_an_empty_list_with_a_hint(run, both, on_screen, capsys):
    ran = run(*SEGMENTS, "--match", "NP2LPKX9")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("nothing matches 'NP2LPKX9' among 12 listed items\n  next: ")
    assert "'*vip*'" in ran.err
    ran = run(*SEGMENTS, "--match", "x", "--json")
    assert (ran.code, ran.document["items"]) == (0, [])
    assert on_screen(*SEGMENTS, "--match", "x") == (0, "")


def test_who_wrote_stars_already_is_not_told_to_write_them(run, both):
    ran = run(*SEGMENTS, "--match", "*vip*")
    assert ran.err == (
        "nothing matches '*vip*' among 12 listed items\n"
        "  next: upper and lower case differ; without --match all are listed\n"
    )
    ran = export(run, "--all", "--match", "*vip*")
    assert (
        f"next: upper and lower case differ; to see all, run tagferry list growingio-segments {PROJECT}\n"
        in (ran.err)
    )


def test_how_many_of_how_many_are_listed(on_screen, capsys):
    on_screen(*KINDS["growingio-cdp-tags"], "--match", "*1")
    assert " of 143 listed" in capsys.readouterr().err


def test_an_empty_list(run, workdir, monkeypatch):
    settings = Settings(segments=0, cdp=CDPSettings(projects={}))
    with serve_in_thread(settings) as emulator:
        for name in ("GROWINGIO", "CDP"):
            monkeypatch.setenv(f"TAGFERRY_{name}_TOKEN", emulator.token)
            monkeypatch.setenv(f"TAGFERRY_{name}_BASE_URL", emulator.base_url)
        for argv in (SEGMENTS, KINDS["growingio-cdp-projects"]):
            ran = run(*argv)
            assert (ran.code, ran.out, ran.err) == (0, "", "0 listed\n")
        assert run("export", "growingio-segment", PROJECT, "--all").code == 2


@hypothesis.given(
    st.lists(st.text(max_size=4), min_size=1, max_size=5), st.one_of(st.none(), st.text(max_size=5))
)
def test_matching_keeps_the_order_and_makes_nothing_up(words, pattern):
    items = [Listed(kind="k", id=str(n), key=word, name=word * 2) for n, word in enumerate(words)]
    kept = keep_matching(items, pattern)
    assert kept == [one for one in items if one in kept]
    assert pattern is not None or kept == items
    assert keep_matching(items, "*") == items


# Tables -------------------------------------------------------------------------------------------------

TEXTS = st.text(alphabet=st.sampled_from("ab 中文字é…"), max_size=40)


@hypothesis.given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    st.integers(20, 100),
)
def test_a_table_is_never_wider_than_its_room(rows, room):
    lines = draw([f"H{n}" for n in range(len(rows[0]))], rows, room)
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= room for line in lines)


def test_the_first_column_is_cut_last():
    assert shrink([10, 40, 12], 50) == [10, 28, 12]
    assert shrink([30, 40, 12], 46) == [30, 8, 8]
    assert shrink([30, 40, 12], 40) == [24, 8, 8]
    assert shrink([30], 10) == [10]
    assert shrink([5, 5], 50) == [5, 5]


def test_cells_are_cut_with_an_ellipsis_and_numbers_end_under_each_other():
    table = draw(["NAME", "N"], [["中文中文中文", "1"], ["x", "20"]], 12, right=frozenset({1}))
    assert table == ["NAME       N", "中文中…    1", "x         20"]


# Failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "type_"),
    [
        ("status=401", 4, "AuthError"),
        ("status=404", 7, "RefusedError"),
        ("status=503 x*", 5, "ThrottledError"),
        ("close x*", 5, "UnavailableError"),
        ("html x*", 5, "ProtocolError"),
    ],
)
@pytest.mark.parametrize("kind", ["growingio-segments", "growingio-cdp-tags"])
def test_exit_codes_of_failures(run, both, kind, fault, code, type_):
    both.faults.add("growingio-cdp.list" if "cdp" in kind else "growingio-saas.list", fault)
    ran = run(*KINDS[kind], "--json", "--retries", "0")
    assert (ran.code, ran.document["outcome"], ran.document["items"]) == (code, "failed", [])
    assert ran.document["error"]["type"] == type_
    assert ran.err.startswith("tagferry: error: ")


def test_what_is_survived_is_told(run, both):
    both.faults.add("growingio-saas.list", "status=500")
    ran = run(*SEGMENTS)
    assert ran.code == 0
    assert ran.err.startswith("trying again in ")


def test_a_refused_token_is_not_shown(run, both, monkeypatch):
    monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", CANARY)
    ran = run(*SEGMENTS)
    assert ran.code == 4
    assert "TAGFERRY_GROWINGIO_TOKEN" in ran.err
    assert CANARY not in ran.out + ran.err


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_setting_is_named(run, workdir, kind):
    ran = run(*KINDS[kind], "--json")
    assert ran.code == 2
    assert "TAGFERRY_CDP_" in ran.err if "cdp" in kind else "TAGFERRY_GROWINGIO_TOKEN" in ran.err
    assert ran.document["items"] == []


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["list"], []),
        (["list", "growingio-segmnts", "x"], ['"growingio-segments"']),
        (["list", "growingio-segments"], ["PROJECT_UID", "--help"]),
        (["list", "growingio-segments", "../x"], ["'../x'", "nxog09md"]),
        (["list", "growingio-cdp-segments"], ["--project"]),
        (["list", "growingio-cdp-tags", "--space", "S1"], ["space"]),
        ([*SEGMENTS, "--match", ""], ["--match", "empty"]),
        ([*SEGMENTS, "--json", "--quiet"], ["--json and --quiet"]),
        ([*SEGMENTS, "--deadline", "0"], ["'0'", "above 0"]),
    ],
)
def test_wrong_words(run, both, argv, parts):
    ran = run(*argv)
    assert ran.code == 2
    for part in parts:
        assert part in ran.err


def test_the_deadline(run, both):
    both.faults.add("growingio-saas.list", "stall@0 x*")
    ran = run(*SEGMENTS, "--deadline", "0.2", "--json")
    assert (ran.code, ran.document["error"]["type"]) == (6, "DeadlineError")
    # There is nothing of a list that another run could go on with.
    assert ran.document["error"]["hint"] == "run the same again with a longer deadline"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_list(run, both, when_asked, number, code):
    both.faults.add("growingio-saas.list", "stall@0 x*")
    when_asked(number)
    ran = run(*SEGMENTS, "--json")
    assert (ran.code, ran.document["items"]) == (code, [])
    assert ran.document["error"]["code"] == number.name
    assert f"stopped by {number.name}" in ran.err


def test_a_stopped_list_prints_nothing_for_programs(run, both, when_asked):
    both.faults.add("growingio-saas.list", "stall@0 x*")
    when_asked(signal.SIGTERM)
    ran = run(*SEGMENTS)
    assert (ran.code, ran.out, ran.err) == (143, "", "tagferry: stopped by SIGTERM\n")


def test_a_token_in_clear_is_warned_of(run, both, monkeypatch):
    monkeypatch.setattr("tagferry.clients.insecure._is_loopback", lambda _: False)
    ran = run(*KINDS["growingio-cdp-projects"])
    assert ran.code == 0
    assert ran.err.startswith("tagferry: warning: the credentials go to http://127.0.0.1:")


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_help_begins_with_examples_and_fits(run, kind):
    ran = run("list", *filter(None, [kind]), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Examples:\n  tagferry list ")
    assert all(cell_len(line) <= 80 for line in ran.out.splitlines())


def test_the_help_says_what_programs_get(run):
    text = " ".join(run("list", "--help").out.split())
    assert "TAB between the columns and no header" in text


# Export of all ------------------------------------------------------------------------------------------


def export(run, *argv):
    return run("export", "growingio-segment", PROJECT, *argv)


def test_all_that_is_listed_is_exported(run, both, workdir):
    keys = set(run(*SEGMENTS, "--quiet").out.split())
    ran = export(run, "--all", "--json", "--output", "out")
    assert (ran.code, ran.document["outcome"]) == (0, "complete")
    assert {one["id"] for one in ran.document["exports"]} == keys
    assert len(list((workdir / "out").glob("*.csv"))) == len(keys)


def test_only_what_matches_is_exported(run, both):
    ran = export(run, "--all", "--match", "*沉睡*", "--json")
    keys = run(*SEGMENTS, "--match", "*沉睡*", "--quiet").out.split()
    assert ran.code == 0
    assert [one["id"] for one in ran.document["exports"]] == keys
    assert 0 < len(keys) < 12


def test_nothing_that_matches_is_an_error_before_any_export(run, both, workdir):
    ran = export(run, "--all", "--match", "vip", "--json")
    assert ran.code == 2
    assert "nothing matches 'vip' among 12 listed items" in ran.err
    assert f"tagferry list growingio-segments {PROJECT}" in ran.err
    assert ran.document["exports"] == []
    assert both.seen.of("growingio-saas.poll") == []


def test_a_list_that_fails_is_the_error_of_the_export(run, both):
    both.faults.add("growingio-saas.list", "status=401")
    ran = export(run, "--all", "--json")
    assert (ran.code, ran.document["error"]["type"]) == (4, "AuthError")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["growingio-segment", PROJECT], ["no SEGMENTATION_ID", "--all", "tagferry list growingio-segments"]),
        (["growingio-segment", PROJECT, "nP2lpkX9", "--all"], ["SEGMENTATION_ID and --all", "leave one"]),
        (["growingio-segment", PROJECT, "nP2lpkX9", "--match", "x"], ["--match is for --all"]),
        (["growingio-segment", PROJECT, "--match", "x"], ["--match is for --all"]),
        (["growingio-tag", PROJECT, "--all"], ["no list of tags", "address bar"]),
        (["growingio-tag", PROJECT, "5rREn4PL", "--match", "x"], ["no list of tags", "address bar"]),
        (["growingio-tag", PROJECT], ["no TAG_ID", "--help"]),
    ],
)
def test_words_that_do_not_fit_all(run, both, argv, parts):
    ran = run("export", *argv)
    assert (ran.code, ran.out) == (2, "")
    for part in parts:
        assert part in ran.err
    assert len(both.seen) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_list_is_read_stops_the_export(run, both, when_asked, number, code):
    both.faults.add("growingio-saas.list", "stall@0 x*")
    when_asked(number)
    ran = export(run, "--all", "--json")
    assert (ran.code, ran.document["outcome"], ran.document["exports"]) == (code, "failed", [])
    again = shlex.join(["tagferry", "export", "growingio-segment", PROJECT, "--all", "--json"])
    assert f"to go on: {again}" in ran.err


def test_the_usage_shows_both_ways(run):
    assert "(ID... | --all)" in run("export", "growingio-segment", "--help").out


def test_one_key_that_is_listed_twice_is_exported_once():
    asked = []

    async def list_all():
        return [Listed(kind="k", id=str(n), key="same", name="n") for n in range(3)]

    find = choose_exports((), Selection(everything=True), asked.append, list_all, metavar="KEY", listing="l")
    from tagferry.cli.stop import run_async

    assert len(run_async(find)) == 1
    assert asked == ["same"]


def test_named_exports_need_no_list():
    found = choose_exports(("a", "b"), Selection(), str.upper, None, metavar="KEY", listing="l")
    assert found == ["A", "B"]
    with pytest.raises(ConfigError, match="no KEY is given"):
        choose_exports((), Selection(), str.upper, None, metavar="KEY", listing="l")


def test_json_of_a_list_is_read_back(run, both):
    items = run(*SEGMENTS, "--json").document["items"]
    assert [Listed(**one).key for one in items] == run(*SEGMENTS, "--quiet").out.split()
    assert json.dumps(items)
