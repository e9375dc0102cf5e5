"""``tagferry convert``, and ``--to parquet`` of the other verbs: what is on disk, and what is told."""

import gzip
import json
import os
import re
import signal
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from tagferry.cli import convert as convert_module
from tagferry.cli import tables as tables_module
from tagferry.errors import RecordError
from tagferry.rows.convert import convert as convert_files
from tests.cli.conftest import PROJECT
from tests.lookups.world import make_accounts, truth_of
from tests.rows.conftest import pools  # noqa: F401  # a fixture

TAG = ("export", "growingio-tag", PROJECT)
ROWS = [
    {"gio_id": "1", "城市": "上海,浦东"},
    {"gio_id": "2", "城市": None},
    {"gio_id": "3", "城市": ""},
    {"gio_id": "4", "城市": '说"好"\n=1+1'},
]
CSV = '"gio_id","城市"\n"1","上海,浦东"\n"2",\n"3",""\n"4","说""好""\n=1+1"\n'


@pytest.fixture
def table(workdir):
    Path("out").mkdir()
    Path("out/x.csv").write_text(CSV, "utf-8")
    return Path("out/x.csv")


def by_duckdb(path):
    relation = duckdb.connect().execute(f"select * from '{path}'")
    names = [one[0] for one in relation.description]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def check(path, rows):
    assert by_duckdb(path) == rows
    assert pl.read_parquet(path).to_dicts() == rows


def test_a_file_becomes_parquet_beside_it(run, table):
    ran = run("convert", "out/x.csv", "--to", "parquet")
    assert ran.code == 0
    assert ran.out.startswith("out/x.parquet  ")
    assert ran.out.endswith("  4 rows\n")
    assert "converting out/x.csv (" in ran.err
    assert "1 of 1 output made" in ran.err
    check("out/x.parquet", ROWS)
    assert table.read_text("utf-8") == CSV


def test_there_and_back_again(run, table):
    table.with_suffix(".csv.gz").write_bytes(gzip.compress(CSV.encode("utf-16")))
    assert run("convert", "out/x.csv.gz", "--to", "jsonl", "--output", "new/dir/a.jsonl").code == 0
    lines = Path("new/dir/a.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert run("convert", "new/dir/a.jsonl", "--to", "csv", "--output", "back").code == 0
    assert Path("back/a.csv").read_text("utf-8") == CSV
    safe = ("--spreadsheet-safe", "--if-exists", "replace")
    Path("out/evil.jsonl").write_text('{"a":"=1+1"}\n')
    assert run("convert", "out/evil.jsonl", "--to", "csv", *safe).code == 0
    assert Path("out/evil.csv").read_text() == '"a"\n"\'=1+1"\n'


def test_parts_become_one_table_and_other_files_one_each(run, table):
    head, *lines = CSV.encode().partition(b'"3"')
    first = head.split(b"\n")[0] + b"\n"
    Path("out/y-00001.csv").write_bytes(head)
    Path("out/y-00002.csv").write_bytes(first + b"".join(lines))
    ran = run("convert", "out/x.csv", "out/y-00002.csv", "out/y-00001.csv", "--to", "parquet", "--json")
    assert ran.code == 0
    assert ran.document["outcome"] == "complete"
    x, y = ran.document["files"]
    assert x["path"] == "out/x.parquet"
    assert y == {
        "sources": ["out/y-00001.csv", "out/y-00002.csv"],
        "path": "out/y.parquet",
        "state": "done",
        "size": Path("out/y.parquet").stat().st_size,
        "rows": 4,
        "skipped": 0,
        "error": None,
    }
    check("out/y.parquet", ROWS)


def test_an_output_with_an_ending_is_one_table_of_all(run, table):
    Path("out/z.csv").write_text(CSV, "utf-8")
    ran = run("convert", "out/x.csv", "out/z.csv", "--to", "parquet", "--output", "all.parquet", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "all.parquet\n", "")
    check("all.parquet", ROWS + ROWS)


def test_typed_columns_and_lists_of_tags(run, workdir):
    Path("tags.jsonl").write_text(
        '{"account":"甲","tags":["a","b"],"n":1}\n{"account":"乙","tags":null,"n":2}\n'
    )
    assert run("convert", "tags.jsonl", "--to", "parquet").code == 0
    rows = [{"account": "甲", "tags": ["a", "b"], "n": 1}, {"account": "乙", "tags": None, "n": 2}]
    check("tags.parquet", rows)


def test_an_output_that_is_there(run, table):
    run("convert", "out/x.csv", "--to", "parquet")
    refused = run("convert", "out/x.csv", "--to", "parquet")
    assert (refused.code, refused.out) == (2, "")
    assert "out/x.parquet is already there" in refused.err
    assert "--if-exists skip" in refused.err
    skipped = run("convert", "out/x.csv", "--to", "parquet", "--if-exists", "skip", "--json")
    assert skipped.document["files"][0]["state"] == "skipped"
    assert "skipped" in run("convert", "out/x.csv", "--to", "parquet", "--if-exists", "skip").out
    table.write_text(CSV.partition('"2"')[0], "utf-8")
    assert run("convert", "out/x.csv", "--to", "parquet", "--if-exists", "replace").code == 0
    check("out/x.parquet", ROWS[:1])


def test_one_bad_file_takes_no_other_down(run, table):
    Path("out/bad.csv").write_text('"gio_id","n"\n"1","2"\n"3"\n')
    ran = run("convert", "out/bad.csv", "out/x.csv", "--to", "parquet", "--json")
    assert (ran.code, ran.document["outcome"]) == (3, "partial")
    bad, good = ran.document["files"]
    assert (bad["state"], bad["error"]["type"], good["state"]) == ("failed", "RecordError", "done")
    assert "out/bad.csv, line 3" in bad["error"]["message"]
    assert "to go on" not in ran.err
    assert not Path("out/bad.parquet").exists()
    assert sorted(path.name for path in Path("out").iterdir()) == ["bad.csv", "x.csv", "x.parquet"]
    alone = run("convert", "out/bad.csv", "--to", "parquet")
    assert alone.code == 8
    left_out = run("convert", "out/bad.csv", "--to", "jsonl", "--bad-records", "skip")
    assert left_out.code == 0
    assert "1 bad record left out" in left_out.err
    assert Path("out/bad.jsonl").read_text() == '{"gio_id":"1","n":"2"}\n'


def test_another_run_cannot_mend_a_damaged_file(run, table):
    Path("out/cut.csv.gz").write_bytes(gzip.compress(CSV.encode())[:-9])
    ran = run("convert", "out/cut.csv.gz", "--to", "parquet")
    assert ran.code == 8
    assert "out/cut.csv.gz is cut" in ran.err
    assert "to go on" not in ran.err


def test_who_meets_a_bad_record_is_told_how_to_leave_it_out(run, workdir):
    Path("bad.jsonl").write_text('{"a":1}\nnope\n')
    ran = run("convert", "bad.jsonl", "--to", "parquet")
    assert ran.code == 8
    assert "  next: --bad-records skip leaves such records out\n" in ran.err


WRONG = [
    ([], ["no FILE is given"]),
    (["nix.csv"], ["nix.csv is not there"]),
    (["out"], ["out is a directory", "name the files"]),
    (["out/x.csv", "out/x.csv"], ["named twice"]),
    (["out/u.csv.part"], ["is unfinished", "run its export again"]),
    (["out/x.csv", "out/x.jsonl"], ["would both be written to out/x.parquet", "one by one"]),
    (["out/x.csv", "out/x.csv.gz"], ["would both be written to out/x.parquet"]),
    (["out/p-00001.csv", "out/p-00003.csv"], ["of the parts of out/p, number 00002 is missing"]),
    (["out/p-00001.csv", "out/q/p-00001.csv", "--output", "there"], ["would both be written"]),
    (["out/x.csv", "--output", "y.csv"], ["y.csv ends in .csv, but --to is parquet", "y.parquet"]),
    (["out/x.csv", "--output", "y.JSONL"], ["y.JSONL ends in .JSONL, but --to is parquet", "y.parquet"]),
    (["out/x.csv", "--output", "there"], ["there/x.parquet is a directory"]),
    (["out/x.csv", "--output", "out/x.csv/y.parquet"], ["out/x.csv is no directory"]),
    (["out/x.csv", "--spreadsheet-safe"], ["--spreadsheet-safe is for --to csv"]),
    (["out/x.csv", "--json", "--quiet"], ["exclude each other"]),
    (["out/x.csv", "--dialect", "tsv"], ["tsv", "saas"]),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_wrong_words_are_answered_before_anything_is_written(run, table, words, told):
    for name in ("x.jsonl", "x.csv.gz", "u.csv.part", "p-00001.csv", "p-00003.csv"):
        Path("out", name).write_text("")
    Path("out/q").mkdir()
    Path("out/q/p-00001.csv").write_text("")
    Path("there/x.parquet").mkdir(parents=True)
    ran = run("convert", *words, "--to", "parquet")
    assert ran.code == 2
    assert "--json" in words or ran.out == ""
    for part in told:
        assert part in ran.err
    assert not list(Path().rglob("*.tmp"))


@pytest.mark.parametrize(
    "words", [[], ["--output", "out/x.csv"], ["--output", "out/x.csv", "--if-exists", "replace"]]
)
def test_a_file_is_not_converted_onto_itself(run, table, words):
    ran = run("convert", "out/x.csv", "--to", "csv", *words)
    assert ran.code == 2
    assert "out/x.csv is one of the files to convert" in ran.err
    assert table.read_text("utf-8") == CSV


def test_a_format_has_to_be_given(run, table):
    assert run("convert", "out/x.csv").code == 2
    ran = run("convert", "out/x.csv", "--to", "xlsx", "--json")
    assert (ran.code, ran.document["files"]) == (2, [])


def test_one_part_alone_keeps_its_number(run, table):
    table.rename("out/x-00002.csv")
    assert run("convert", "out/x-00002.csv", "--to", "parquet", "-q").out == "out/x-00002.parquet\n"


@pytest.mark.parametrize("words", [("convert", "out/x.csv"), (*TAG, "aaaaaaaa")])
def test_without_pyarrow_it_is_said_what_to_install(run, table, service, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = run(*words, "--to", "parquet", "--json")
    assert ran.code == 2
    assert ran.document["error"]["hint"] == "install the extra: pip install 'tagferry[parquet]'"
    assert service.seen.counts == {}
    assert run("convert", "out/x.csv", "--to", "jsonl").code == 0


def test_a_fetch_without_pyarrow(run, tencent, monkeypatch):
    Path("a.txt").write_text("a\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = run("fetch", "tencent-tags", "a.txt", "--output", "tags.parquet")
    assert ran.code == 2
    assert "pip install 'tagferry[parquet]'" in ran.err
    assert tencent.seen.counts == {}


def test_a_signal_keeps_what_is_whole_and_tells_how_to_go_on(run, table, monkeypatch):
    Path("out/y.csv").write_text(CSV, "utf-8")

    async def stop_at_the_second(files, *args, **options):
        if files[0].name == "y.csv":
            os.kill(os.getpid(), signal.SIGINT)
        return await convert_files(files, *args, **options)

    monkeypatch.setattr(convert_module, "convert_files", stop_at_the_second)
    words = ("convert", "out/x.csv", "out/y.csv", "--to", "parquet")
    ran = run(*words, "--json")
    assert (ran.code, ran.document["outcome"]) == (130, "partial")
    assert [one["state"] for one in ran.document["files"]] == ["done", "failed"]
    command = "tagferry convert out/x.csv out/y.csv --to parquet --json --if-exists skip"
    assert ran.document["error"]["hint"] == f"to go on, run: {command}"
    assert f"to go on: {command}" in ran.err
    assert sorted(path.name for path in Path("out").iterdir()) == ["x.csv", "x.parquet", "y.csv"]


def test_a_live_view(run_on_terminal, table):
    code, screen = run_on_terminal("convert", "out/x.csv", "--to", "parquet")
    assert code == 0
    assert "converting out/x.csv" in screen


# Exports ----------------------------------------------------------------------------------------------

A = f"growingio-tag-{PROJECT}-aaaaaaaa"
B = f"growingio-tag-{PROJECT}-bbbbbbbb"


def rows_of(run, name):
    """The rows of a saved file, as JSON Lines have them."""
    words = ("--to", "jsonl", "--output", "check.jsonl", "--if-exists", "replace")
    assert run("convert", f"out/{name}.csv", *words).code == 0
    return [json.loads(line) for line in Path("check.jsonl").read_text("utf-8").split("\n") if line]


def test_an_export_to_parquet_keeps_the_file(run, service):
    ran = run(*TAG, "aaaaaaaa", "bbbbbbbb", "--to", "parquet", "--output", "out", "--json")
    assert ran.code == 0
    for name, one in zip((A, B), ran.document["exports"], strict=True):
        assert [file["path"] for file in one["files"]] == [f"out/{name}.csv"]
        path = Path(f"out/{name}.parquet")
        rows = rows_of(run, name)
        assert one["table"] == {"path": str(path), "size": path.stat().st_size, "rows": len(rows)}
        check(path, rows)
    assert len(list(Path("out").iterdir())) == 4


def test_what_people_and_scripts_read(run, service):
    ran = run(*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out")
    file, sha, table = ran.out.splitlines()
    assert re.fullmatch("  sha256 [0-9a-f]{64}", sha)
    assert file.startswith(f"out/{A}.csv  ")
    assert table.startswith(f"out/{A}.parquet  ")
    assert f"making out/{A}.parquet" in ran.err
    quiet = run(*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out", "--if-exists", "skip", "--quiet")
    assert quiet.out == f"out/{A}.parquet\n"


def test_a_table_that_is_there(run, service):
    words = (*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out")
    run(*words)
    path = Path(f"out/{A}.parquet")
    Path(f"out/{A}.csv").rename("kept.csv")
    before = service.seen.counts.copy()
    refused = run(*words)
    assert refused.code == 2
    assert f"{path} is already there" in refused.err
    # With the table there, nobody needs the file that it was made of.
    skipped = run(*words, "--if-exists", "skip", "--json")
    (one,) = skipped.document["exports"]
    assert (skipped.code, one["state"], one["files"]) == (0, "skipped", [])
    assert one["table"]["rows"] == pq.read_metadata(path).num_rows
    assert service.seen.counts == before
    assert run(*words, "--if-exists", "replace").code == 0
    assert Path(f"out/{A}.csv").exists()


def test_only_what_is_missing_is_made(run, service, monkeypatch):
    words = (*TAG, "aaaaaaaa", "bbbbbbbb", "--to", "parquet", "--output", "out")
    run(*words)
    made = []

    async def convert(files, *args, **options):
        made.append(options["output"].name)
        return await convert_files(files, *args, **options)

    monkeypatch.setattr(tables_module, "convert", convert)
    skip = (*words, "--if-exists", "skip")
    assert run(*skip).code == 0
    assert made == []
    Path(f"out/{A}.parquet").unlink()
    assert run(*skip).code == 0
    assert made == [f"{A}.parquet"]
    # A table that is damaged, or older than its file, is none.
    Path(f"out/{A}.parquet").write_bytes(b"PAR1")
    os.utime(f"out/{B}.parquet", (1, 1))
    made.clear()
    assert run(*skip).code == 0
    assert sorted(made) == [f"{A}.parquet", f"{B}.parquet"]


def test_a_table_that_cannot_be_made_is_a_failed_export_with_its_file(run, service, monkeypatch):
    async def fail(*_, **__):
        raise RecordError("line 5: the record has 3 cells and the header 2")

    monkeypatch.setattr(tables_module, "convert", fail)
    ran = run(*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out", "--json")
    assert ran.code == 8
    (one,) = ran.document["exports"]
    assert (one["state"], one["error"]["type"]) == ("failed", "RecordError")
    assert "table" not in one
    assert "to go on" not in ran.err
    assert Path(f"out/{A}.csv").exists()


def test_a_signal_while_a_table_is_made(run, service, monkeypatch):
    async def stop(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return await convert_files(*args, **options)

    words = (*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out")
    with monkeypatch.context() as patch:
        patch.setattr(tables_module, "convert", stop)
        ran = run(*words)
    assert ran.code == 143
    command = ran.err.partition("to go on: tagferry ")[2].split()
    assert command[-2:] == ["--if-exists", "skip"]
    assert run(*command).code == 0
    check(f"out/{A}.parquet", rows_of(run, A))
    assert sorted(path.suffix for path in Path("out").iterdir()) == [".csv", ".parquet"]


def test_an_empty_audience_has_no_table(run, service):
    words = (*TAG, "aaaaaaaa", "--to", "parquet", "--output", "out")
    run(*words)
    service.faults.add("growingio-saas.poll", "no-links x*")
    ran = run(*words, "--if-exists", "replace", "--json")
    assert (ran.code, ran.document["exports"][0]["state"]) == (0, "empty")
    assert list(Path("out").iterdir()) == []


# Fetches ----------------------------------------------------------------------------------------------


def test_a_fetch_to_parquet_and_the_retry_of_its_dead_letters(run, tencent):
    accounts = [*make_accounts(150), "ghost", "code70402x1-a"]
    Path("a.txt").write_text("".join(f"{one}\n" for one in accounts), "utf-8")
    ran = run("fetch", "tencent-tags", "a.txt", "--output", "tags.parquet")
    assert ran.code == 3
    assert "all is answered; making tags.parquet" in ran.err
    assert sorted(path.name for path in Path().iterdir()) == ["a.txt", "tags.dead.jsonl", "tags.parquet"]
    assert run("retry", "tencent-tags", "tags.dead.jsonl", "--json").document["output"] == "tags.parquet"
    wanted = {account: None if tags is None else list(tags) for account, tags in truth_of(accounts).items()}
    assert {row["account"]: row["tags"] for row in by_duckdb("tags.parquet")} == wanted
    assert {row["account"]: row["tags"] for row in pl.read_parquet("tags.parquet").to_dicts()} == wanted
