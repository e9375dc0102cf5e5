import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagferry.errors import ConfigError, RecordError
from tagferry.rows import arrow
from tagferry.rows.binding import BadCell
from tagferry.rows.dialect import BACKSLASH, RFC4180
from tagferry.rows.header import Header
from tagferry.rows.mapping import bind_cells
from tagferry.rows.options import ReadOptions
from tagferry.rows.parser import Parser
from tagferry.rows.reader import read_rows
from tests.rows.oracle import feed, split

HOSTILE = st.text(alphabet='ab,"\\\n\r\t é\x00\ufeff', max_size=60)
TIDY = st.lists(
    st.tuples(
        *[
            st.sampled_from(
                ["", "a", '"a"', '"a,b"', '"é"', '""', '"a""b"', 'a"', '"\n"', '",x"', '"x,"', '"a"b']
            )
        ]
        * 2
    ).map(",".join),
    max_size=8,
).map(lambda lines: "".join(line + "\n" for line in lines))


def rows_of(batches):
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize("dialect", [RFC4180, BACKSLASH])
@given(text=HOSTILE | TIDY)
@settings(max_examples=600)
@example(text='"a"b,c\n')
@example(text='"a,"c,foo",bar"\n')
@example(text='"ab"c,",x"\n')
@example(text="\ufeffa,b\n")
def test_pyarrow_is_asked_only_where_it_says_what_the_parser_says(dialect, text):
    header = Header(("a", "b"), dialect, 0, 0)
    expected = Parser(dialect, bind_cells(header.names)).parse(text)
    batches = arrow.make_engine(header).transcribe(text.encode())
    assert batches is None or (rows_of(batches), len(text), text.count("\n")) == expected


@pytest.mark.parametrize("text", ["a,b\n1,\n", '"a","b"\n1,"x,y"\n', "é,1\r\n2,3\r\n", '"x",\n,"y"\n'])
def test_ordinary_texts_are_for_pyarrow(text):
    engine = arrow.make_engine(Header(("a", "b"), BACKSLASH, 0, 0))
    (batch,) = engine.transcribe(text.encode())
    assert batch.num_rows == 2


@given(
    body=HOSTILE, cuts=st.lists(st.integers(0, 80), max_size=5), on_error=st.sampled_from(["raise", "skip"])
)
@settings(max_examples=500)
def test_batches_have_the_rows_that_are_read_one_by_one(body, cuts, on_error):
    blocks = split(b"a,b\n" + body.encode(), cuts)
    plan = ReadOptions(dialect="saas", encoding="utf-8")
    rows, error, faults = feed(plan, blocks, on_error=on_error)
    batches, other, noted = feed(plan.of(None, make_engine=arrow.make_engine), blocks, on_error=on_error)
    assert rows_of(batches) == [tuple(row.values()) for row in rows]
    assert (str(error), faults.total) == (str(other), noted.total)


def test_a_header_with_two_columns_of_a_name_is_refused():
    assert isinstance(arrow.make_engine(Header(("a", "a"), RFC4180, 0, 0)), BadCell)


class User(msgspec.Struct):
    id: int
    name: str | None = None


async def batches_of(rows):
    return [batch async for batch in rows.arrow_batches()]


@pytest.mark.anyio
async def test_rows_come_as_record_batches(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,name\n" + "".join(f'{i},"渠道"\n' for i in range(50_000)) + '1,\n2,""\n')
    batches = await batches_of(read_rows(path))
    table = pa.Table.from_batches(batches)
    assert table.schema == pa.schema([("id", pa.string()), ("name", pa.string())])
    assert table.num_rows == 50_002
    assert table.column("name").to_pylist()[-3:] == ["渠道", None, ""]
    typed = pa.Table.from_batches(await batches_of(read_rows(path, User)))
    assert typed.schema == pa.schema([("id", pa.int64()), ("name", pa.string())])
    assert typed.column("id").to_pylist()[-3:] == [49_999, 1, 2]


@pytest.mark.anyio
async def test_json_lines_are_looked_at_first(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"account":"a","tags":["x"]}\n{"account":"b","tags":null,"n":1}\noops\n')
    rows = read_rows(path, on_error="collect")
    table = pa.Table.from_batches(await batches_of(rows))
    assert table.to_pylist() == [
        {"account": "a", "tags": ["x"], "n": None},
        {"account": "b", "tags": None, "n": 1},
    ]
    assert table.schema.field("tags").type == pa.list_(pa.string())
    assert (rows.error_count, len(rows.errors)) == (1, 1)
    with pytest.raises(RecordError, match="line 3"):
        await batches_of(read_rows(path))
    with pytest.raises(ConfigError, match="being read, by another loop"):
        await batches_of(rows)


@pytest.mark.anyio
async def test_a_whole_number_too_large_for_a_column_is_an_error(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id":99999999999999999999}\n')
    with pytest.raises(RecordError, match="a value does not fit into a table"):
        await batches_of(read_rows(path, User))


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ConfigError, match=r"need pyarrow; install the extra: pip install 'tagferry\[parquet\]'"
    ):
        read_rows(Path("x")).arrow_batches()
