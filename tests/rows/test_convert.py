import asyncio
import errno
import fcntl
import gzip
import json
from pathlib import Path

import duckdb
import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagferry.errors import ConfigError, DiskError, RecordError
from tagferry.events import ConvertProgress
from tagferry.rows import convert as module
from tagferry.rows.cdp import CDPRow
from tagferry.rows.convert import Converted, convert
from tagferry.rows.reader import read_rows
from tagferry.rows.source import Source

pytestmark = pytest.mark.anyio

KEYS = '"gio_id","d_$basic_userId","usr_gender","tag_rfm"\n"603542","C001","男",\n"605419","C004","","低"\n'
KEY_ROWS = [
    {"gio_id": "603542", "d_$basic_userId": "C001", "usr_gender": "男", "tag_rfm": None},
    {"gio_id": "605419", "d_$basic_userId": "C004", "usr_gender": "", "tag_rfm": "低"},
]
SAAS = '"登录用户ID","note"\n"u1","say \\"hi\\", twice\nand C:\\\\"\n"u2",\n'
SAAS_ROWS = [
    {"登录用户ID": "u1", "note": 'say "hi", twice\nand C:\\'},
    {"登录用户ID": "u2", "note": None},
]
LINES = """\
{"gio_id":603542,"identifications":{"d_$basic_userId":"C001"},"properties":{"usr_gender":"男","tag_n":1.5}}
{"gio_id":605419,"identifications":{"d_$basic_userId":"C004"},"properties":{"usr_gender":"","tag_n":null}}
"""
TAGS = '{"account":"小军","tags":["a","渠道"]}\n{"account":"b","tags":[]}\n{"account":"c","tags":null}\n'


def by_duckdb(path):
    relation = duckdb.connect().execute(f"select * from read_parquet('{path}')")
    names = [column[0] for column in relation.description]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def by_polars(path):
    return pl.read_parquet(path).to_dicts()


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("cdp.csv", KEYS.encode(), KEY_ROWS),
        ("saas.csv", SAAS.encode(), SAAS_ROWS),
        ("bom.csv", KEYS.encode("utf-8-sig"), KEY_ROWS),
        ("utf16.csv", KEYS.encode("utf-16"), KEY_ROWS),
        ("utf16le.csv", KEYS.encode("utf-16-le"), KEY_ROWS),
        ("x.csv.gz", gzip.compress(KEYS[:40].encode()) + gzip.compress(KEYS[40:].encode()), KEY_ROWS),
        ("tabs.csv", "登录用户ID\t登录用户变量1\n12249\tGrowing,IO\n".encode(), None),
        (
            "cdp.json",
            LINES.encode(),
            [
                {"gio_id": 603542, "d_$basic_userId": "C001", "usr_gender": "男", "tag_n": 1.5},
                {"gio_id": 605419, "d_$basic_userId": "C004", "usr_gender": "", "tag_n": None},
            ],
        ),
        ("tags.jsonl", TAGS.encode(), [json.loads(line) for line in TAGS.splitlines()]),
    ],
)
async def test_parquet_read_back_equals_the_source(tmp_path, name, data, rows):
    source = tmp_path / name
    source.write_bytes(data)
    rows = rows or [{"登录用户ID": "12249", "登录用户变量1": "Growing,IO"}]
    done = await convert(source)
    assert done.path == tmp_path / (name.partition(".")[0] + ".parquet")
    assert (done.size, done.rows) == (done.path.stat().st_size, len(rows))
    assert by_duckdb(done.path) == by_polars(done.path) == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, done.path.name])


async def test_numbers_of_tags_are_counted_by_duckdb(tmp_path):
    source = tmp_path / "tags.jsonl"
    source.write_text(TAGS)
    done = await convert([source], "parquet", output=tmp_path / "t.parquet")
    found = duckdb.connect().execute(
        f"select tag, count(*) from (select unnest(tags) tag from '{done.path}') group by tag order by tag"
    )
    assert found.fetchall() == [("a", 1), ("渠道", 1)]


@pytest.mark.parametrize(("name", "data", "rows"), [("a.csv", KEYS, KEY_ROWS), ("b.csv", SAAS, SAAS_ROWS)])
async def test_csv_read_back_equals_the_source(tmp_path, name, data, rows):
    source = tmp_path / name
    source.write_text(data, "utf-8")
    done = await convert(source, "csv", output=tmp_path / "out.csv")
    assert [row async for row in read_rows(done.path, dialect="cdp")] == rows
    assert pl.read_csv(done.path, infer_schema=False, empty_string_is_null=True).to_dicts() == rows
    options = "header = true, all_varchar = true, allow_quoted_nulls = false, quote = '\"', escape = '\"'"
    found = duckdb.connect().execute(f"select * from read_csv('{done.path}', {options})")
    assert [tuple(row.values()) for row in rows] == found.fetchall()


@pytest.mark.parametrize(
    ("name", "line", "to", "readings"),
    [
        ("x.csv", b'"1","2"\n', "parquet", 1),
        ("x.csv", b'"1","2"\n', "jsonl", 1),
        ("x.jsonl", b'{"a":1}\n', "jsonl", 1),
        # Only the last row tells what columns there are.
        ("x.jsonl", b'{"a":1}\n', "csv", 2),
    ],
)
async def test_it_tells_how_far_it_is(tmp_path, monkeypatch, name, line, to, readings):
    monkeypatch.setattr("tagferry.rows.source._BLOCK", 1000)
    files = [tmp_path / name, tmp_path / f"z{name}"]
    for file in files:
        file.write_bytes(line * 500)
    events = []
    done = await convert(files, to, output=tmp_path / f"out.{to}", on_event=events.append)
    assert {type(event) for event in events} == {ConvertProgress}
    assert {event.output for event in events} == {str(done.path)}
    read = [event.read for event in events]
    assert read == sorted(set(read))
    assert len(read) > 4 * readings
    size = 2 * 500 * len(line)
    assert (read[-1], events[-1].total) == (readings * size, readings * size)
    assert all(event.read <= event.total for event in events)


async def test_a_listener_that_fails_harms_nothing(tmp_path):
    def fail(event):
        raise ZeroDivisionError

    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    assert (await convert(source, "jsonl", on_event=fail)).rows == 2


async def test_json_lines_keep_nulls_and_nesting(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    done = await convert(source, "jsonl")
    assert [json.loads(line) for line in done.path.read_text("utf-8").splitlines()] == KEY_ROWS
    lines = tmp_path / "y.json"
    lines.write_text(LINES, "utf-8")
    done = await convert(lines, "jsonl")
    assert done.path.read_text("utf-8") == LINES
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    assert (await convert(empty, "jsonl")).size == 0


async def test_csv_of_json_lines_has_typed_cells(tmp_path):
    source = tmp_path / "x.jsonl"
    source.write_text('{"a":1,"b":[1,"x"],"c":true,"d":null,"e":{"k":"v"},"f":1.5}\n{"a":-2,"d":"=1"}\n')
    done = await convert(source, "csv")
    assert done.path.read_text() == (
        '"a","b","c","d","e","f"\n1,"[""1"",""x""]",true,,"{""k"":""v""}",1.5\n-2,,,"=1",,\n'
    )


async def test_a_spreadsheet_runs_no_cell_when_told(tmp_path):
    source = tmp_path / "x.csv"
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "x=1", "", "'x"]
    source.write_text("=id\n" + "".join(f'"{cell}"\n' for cell in cells), newline="")
    raw = await convert(source, "csv", output=tmp_path / "raw.csv", dialect="cdp")
    assert [row["=id"] async for row in read_rows(raw.path, dialect="cdp")] == cells
    safe = await convert(source, "csv", output=tmp_path / "safe.csv", dialect="cdp", spreadsheet_safe=True)
    expected = ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "x=1", "", "'x"]
    assert [row["'=id"] async for row in read_rows(safe.path, dialect="cdp")] == expected
    with pytest.raises(ConfigError, match="a parquet file needs no care for spreadsheets"):
        await convert(source, "parquet", spreadsheet_safe=True)


class Typed(msgspec.Struct):
    gio_id: int
    user: str = msgspec.field(name="id_$basic_userId")
    tag_rfm: str | None = None


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl"])
async def test_a_type_chooses_and_types_columns(tmp_path, to):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    done = await convert(source, to, output=tmp_path / f"out.{to}", type=Typed)
    if to == "parquet":
        assert by_duckdb(done.path)[0] == {"gio_id": 603542, "id_$basic_userId": "C001", "tag_rfm": None}
    assert done.rows == 2
    if to != "parquet":
        assert [row async for row in read_rows(done.path, Typed, dialect="cdp")] == [
            Typed(603542, "C001"),
            Typed(605419, "C004", "低"),
        ]
    done = await convert(source, to, output=tmp_path / f"cdp.{to}", type=CDPRow)
    assert done.rows == 2


async def test_parts_become_one_file(tmp_path):
    parts = []
    for number in (1, 2):
        parts.append(tmp_path / f"growingio-tag-a-{number:05d}.csv")
        parts[-1].write_text(f"id,tag\n{number},x\n")
    done = await convert(parts, "parquet")
    assert done.path.name == "growingio-tag-a.parquet"
    assert by_polars(done.path) == [{"id": "1", "tag": "x"}, {"id": "2", "tag": "x"}]


async def test_an_output_that_is_there_is_kept_or_replaced(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    target = tmp_path / "x.jsonl"
    target.write_text("mine")
    with pytest.raises(ConfigError, match=r"x\.jsonl is already there; give another output, or replace=True"):
        await convert(source, "jsonl")
    assert target.read_text() == "mine"
    done = await convert(source, "jsonl", replace=True)
    assert (done.path, done.rows) == (target, 2)
    with pytest.raises(ConfigError, match=r"x\.csv is one of the files to convert"):
        await convert(source, "csv", replace=True)


async def test_an_output_that_comes_into_being_meanwhile_is_kept(tmp_path, monkeypatch):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    create = module.create

    def create_both(path):
        (tmp_path / "x.jsonl").write_text("theirs")
        return create(path)

    monkeypatch.setattr(module, "create", create_both)
    with pytest.raises(DiskError, match="came into being in the meantime"):
        await convert(source, "jsonl")
    assert (tmp_path / "x.jsonl").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.jsonl"]


async def test_an_output_may_be_a_directory_that_is_there(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="out is no directory; make it, or give another output"):
        await convert(source, "csv", output=out / "x.csv")
    out.mkdir()
    assert (await convert(source, "csv", output=out)).path == out / "x.csv"


async def test_bad_records_end_it_or_are_left_out(tmp_path):
    source = tmp_path / "x.jsonl"
    source.write_text('{"a":1}\noops\n{"a":2}\n')
    for to in ("parquet", "csv", "jsonl"):
        with pytest.raises(RecordError, match=r"x\.jsonl, line 2"):
            await convert(source, to, output=tmp_path / f"out.{to}")
        assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]
        done = await convert(source, to, output=tmp_path / f"out.{to}", on_error="skip")
        assert (done.rows, done.skipped) == (2, 1)
        done.path.unlink()


async def test_files_without_columns_make_no_table(tmp_path):
    source = tmp_path / "x.csv"
    source.write_bytes(b"")
    for to in ("parquet", "csv"):
        with pytest.raises(RecordError, match=r"x\.csv has no rows and no header"):
            await convert(source, to, output=tmp_path / f"out.{to}")
    source.write_bytes(b"a,b\n")
    done = await convert(source, "parquet")
    assert (done.rows, pq.read_schema(done.path).names) == (0, ["a", "b"])


async def test_words_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot convert to 'xlsx'; give one of parquet, csv, jsonl"):
        await convert("x.csv", "xlsx")
    with pytest.raises(ConfigError, match="rows of the type int make no table"):
        await convert("x.csv", "csv", type=int)


@pytest.mark.parametrize("to", ["parquet", "csv", "jsonl"])
async def test_cancelled_it_leaves_nothing(tmp_path, monkeypatch, to):
    source = tmp_path / "x.csv"
    source.write_text("a,b\n" + "1,2\n" * 200_000)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    create = module.create

    def create_and_tell(path):
        loop.call_soon_threadsafe(begun.set)
        return create(path)

    monkeypatch.setattr(module, "create", create_and_tell)
    task = asyncio.create_task(convert(source, to, output=tmp_path / "out"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


async def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    source = tmp_path / "x.csv"
    source.write_text(KEYS, "utf-8")
    monkeypatch.setattr(
        module.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    for to in ("parquet", "csv", "jsonl"):
        with pytest.raises(DiskError, match="No space left on device"):
            await convert(source, to, output=tmp_path / f"out.{to}")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


async def test_many_rows_make_many_row_groups_and_none_is_lost(tmp_path):
    source = tmp_path / "x.csv"
    with source.open("w", encoding="utf-8") as file:
        file.write("gio_id,tag\n")
        file.writelines(f'{i},"渠道"\n' for i in range(150_000))
    done = await convert(source)
    assert done.rows == 150_000
    metadata = pq.read_metadata(done.path)
    assert metadata.num_row_groups == 2
    found = duckdb.connect().execute(
        f"select count(*), count(distinct gio_id), sum(gio_id::int), min(tag), max(tag) from '{done.path}'"
    )
    assert found.fetchall() == [(150_000, 150_000, sum(range(150_000)), "渠道", "渠道")]


@given(
    rows=st.lists(
        st.tuples(st.none() | st.text('a,"\\\n 渠=', max_size=5), st.none() | st.text(max_size=4)), max_size=8
    )
)
@settings(max_examples=60)
async def test_any_table_goes_there_and_back(tmp_path_factory, rows):
    directory = tmp_path_factory.mktemp("trip")
    source = directory / "source.jsonl"
    table = [{"a": a, "b": b, "n": number} for number, (a, b) in enumerate(rows)]
    source.write_bytes(msgspec.json.Encoder().encode_lines([{"a": "", "b": "", "n": -1}, *table]))
    texts = [{"a": a, "b": b, "n": str(number)} for number, (a, b) in enumerate(rows)]
    parquet = await convert(source, "parquet")
    assert by_duckdb(parquet.path)[1:] == by_polars(parquet.path)[1:] == table
    csv = await convert(source, "csv")
    assert [row async for row in read_rows(csv.path, dialect="cdp", encoding="utf-8")][1:] == texts


def test_the_result_says_what_was_made():
    done = Converted(Path("x"), 1, 2)
    assert (done.path, done.size, done.rows, done.skipped) == (Path("x"), 1, 2, 0)


async def test_the_file_is_closed_when_the_columns_are_known(tmp_path, monkeypatch):
    source = tmp_path / "x.csv"
    source.write_text("a,b\n" + "1,2\n" * 100_000)
    closed = []
    close = Source.close
    monkeypatch.setattr(Source, "close", lambda self: (closed.append(self), close(self)))
    await convert(source, "csv", output=tmp_path / "out.csv")
    # Those that other tests left to the garbage collector are closed by it, maybe now.
    assert len({one for one in closed if one._file == source}) == 2


async def test_a_type_has_columns_also_of_files_without_rows(tmp_path):
    class Answer(msgspec.Struct):
        account: str
        tags: list[str] | None

    source = tmp_path / "x.jsonl"
    source.write_bytes(b"")
    done = await convert(source, "parquet", type=Answer)
    assert done.rows == 0
    frame = pl.read_parquet(done.path)
    assert frame.schema == {"account": pl.String, "tags": pl.List(pl.String)}
    assert frame.height == 0


async def test_what_a_run_that_died_left_is_removed_and_what_another_one_writes_is_not(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text("a\n1\n")
    dead, alive, strange = (tmp_path / f"out.csv.{name}.tmp" for name in ("0123abcd", "89abcdef", "mine"))
    for path in (dead, strange):
        path.write_text("half a")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await convert(source, "csv", output=tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", "out.csv", alive.name, strange.name}


async def test_a_file_that_another_run_took_for_that_of_a_dead_one_is_made_anew(tmp_path, monkeypatch):
    source, output = tmp_path / "x.csv", tmp_path / "out.csv"
    source.write_text("a\n1\n")
    flock, taken = fcntl.flock, []

    def lose_once(handle, how):
        if not taken:
            (path,) = tmp_path.glob("out.csv.*.tmp")
            taken.append(path)
            path.unlink()
        flock(handle, how)

    monkeypatch.setattr("tagferry.files.scratch.fcntl.flock", lose_once)
    await convert(source, "csv", output=output)
    assert output.read_text() == '"a"\n"1"\n'
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", "out.csv"}


async def test_where_there_are_no_locks_nothing_is_taken_for_dead(tmp_path, monkeypatch):
    source, left = tmp_path / "x.csv", tmp_path / "out.csv.0123abcd.tmp"
    source.write_text("a\n1\n")
    left.write_text("half a")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("tagferry.files.scratch.fcntl.flock", refuse)
    await convert(source, "csv", output=tmp_path / "out.csv")
    assert left.exists()
