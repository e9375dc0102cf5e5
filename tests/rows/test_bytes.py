"""Compression, encoding, lines and format: what happens before there are records."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError, IntegrityError, RecordError
from tagferry.rows.compression import Plain
from tagferry.rows.encoding import Utf8, check_encoding
from tagferry.rows.fault import Faults
from tagferry.rows.feed import RowFeed
from tagferry.rows.lines import Lines
from tagferry.rows.options import ReadOptions
from tests.rows.oracle import FILE, feed, read, split

CUTS = st.lists(st.integers(0, 300), max_size=8)


def plain(blocks):
    one = Plain(FILE)
    return b"".join([*(piece for block in blocks for piece in one.feed(block)), *one.finish()])


def utf8(blocks, encoding="auto"):
    one = Utf8(FILE, encoding)
    return b"".join([*(one.feed(block) for block in blocks), one.finish()])


@given(members=st.lists(st.binary(max_size=50), min_size=1, max_size=4), padding=st.integers(0, 9), cuts=CUTS)
def test_gzip_of_many_members_is_opened(members, padding, cuts):
    data = b"".join(gzip.compress(member, mtime=0) for member in members) + bytes(padding)
    assert plain(split(data, cuts)) == b"".join(members)


@given(data=st.binary(min_size=1, max_size=60), cuts=CUTS, left=st.floats(0.01, 0.99))
def test_a_cut_gzip_stream_is_refused_wherever_it_was_cut(data, cuts, left):
    whole = gzip.compress(data, mtime=0)
    # Less than the magic number is not known to be gzip.
    kept = whole[: max(2, int(len(whole) * left))]
    with pytest.raises(IntegrityError, match=r"x\.csv is cut: its gzip stream has no end"):
        plain(split(kept, cuts))


@given(data=st.binary(max_size=60), cuts=CUTS)
def test_what_is_not_compressed_goes_through(data, cuts):
    if not data.startswith((b"\x1f\x8b", b"PK", b"PAR1")):
        assert plain(split(data, cuts)) == data


def test_damaged_gzip_is_refused():
    good = gzip.compress(b"x" * 1000)
    for bad in (
        good[:20] + bytes([good[20] ^ 255]) + good[21:],
        good[:-6] + b"\0" + good[-5:],
        good + b"garbage",
    ):
        with pytest.raises(IntegrityError, match="damaged"):
            plain([bad])


def test_a_gzip_bomb_comes_in_pieces():
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join(bomb.compress(bytes(1024 * 1024)) for _ in range(64)) + bomb.flush()
    assert len(data) < 100_000
    sizes = [len(piece) for piece in Plain(FILE).feed(data)]
    assert sum(sizes) == 64 * 1024 * 1024
    assert max(sizes) <= 64 * 1024


def test_zip_is_refused_by_name_and_says_what_to_do():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
    empty = b"PK\x05\x06" + bytes(18)
    for data in (out.getvalue(), empty):
        for blocks in ([data], [data[i : i + 1] for i in range(len(data))], [data[:4]]):
            with pytest.raises(RecordError, match=r"x\.csv is a zip archive; unpack it"):
                plain(blocks)


@pytest.mark.parametrize("rows", [0, 3])
def test_parquet_is_refused_by_name(rows):
    out = io.BytesIO()
    pq.write_table(pa.table({"a": ["x"] * rows}), out)
    data = out.getvalue()
    for blocks in ([data], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(RecordError, match=r"x\.csv is a Parquet file; read it with"):
            plain(blocks)
    assert plain([b"PAR1,b\n"]) == b"PAR1,b\n"


@given(text=st.text(max_size=60), cuts=CUTS)
def test_text_with_a_mark_becomes_utf8_whatever_the_split(text, cuts):
    for encoding in ("utf-8-sig", "utf-16"):
        assert utf8(split(text.encode(encoding), cuts)) == text.encode()
    for encoding in ("utf-16-le", "utf-16-be", "utf-8"):
        told = text.removeprefix("\ufeff").encode()
        assert utf8(split(text.encode(encoding), cuts), encoding) == told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_the_encoding_is_told_without_a_mark(encoding):
    for text in (
        '"gio_id","用户ID","性别","会员等级"\n"603542","C001","男",\n' * 300,
        "登录用户ID\t登录用户变量1\n12249\t渠道评估渠道评估\n",
        '{"gio_id":1,"properties":{"usr_gender":"男"}}\n',
        "a,b",
        "",
    ):
        assert utf8([text.encode(encoding)]) == text.encode()


def test_a_text_with_some_nuls_is_no_utf16():
    text = b"id,name\n" + b"12,a\x00b\n" * 1000
    assert utf8([text]) == text


def test_a_file_that_ends_within_a_character_is_cut():
    data = "id,渠道\n".encode("utf-16")[:-1]
    for blocks in ([data], [data[:7], data[7:]]):
        with pytest.raises(IntegrityError, match=r"x\.csv is cut: it ends within a character"):
            utf8(blocks)


def test_only_known_encodings_are_taken():
    assert check_encoding("utf-16-le") == "utf-16-le"
    with pytest.raises(ConfigError, match="encoding is 'gbk'; give one of auto, utf-8"):
        ReadOptions(encoding="gbk")


@given(data=st.text(alphabet="ab\r\n", max_size=60).map(str.encode), cuts=CUTS, bare=st.booleans())
def test_lines_are_whole_and_nothing_is_lost(data, cuts, bare):
    lines = Lines(bare_cr=bare)
    blocks = [lines.feed(block) for block in split(data, cuts)]
    for block in blocks:
        assert not block or block.endswith((b"\n", b"\r") if bare else b"\n")
    last = lines.finish()
    assert b"".join([*blocks, last]) == data
    assert b"\n" not in last
    assert lines.pending == 0


def test_a_line_end_of_two_bytes_is_not_torn():
    lines = Lines(bare_cr=True)
    assert lines.feed(b"a\r") == b""
    assert lines.feed(b"\nb\rc") == b"a\r\n"
    assert lines.feed(b"d") == b""
    assert lines.feed(b"\re\r") == b"b\rcd\r"
    assert lines.feed(b"f") == b"e\r"
    assert lines.finish() == b"f"


def test_a_dropped_line_is_dropped_to_its_end():
    lines = Lines()
    assert lines.feed(b"ab") == b""
    lines.drop()
    assert (lines.feed(b"cd"), lines.pending) == (b"", 0)
    assert lines.feed(b"e\nf\ng") == b"f\n"
    assert lines.pending == 1


@pytest.mark.parametrize(
    ("name", "data", "dialect", "is_csv"),
    [
        ("x.csv", b"a\n1\n", "auto", True),
        ("x.csv", b'{"a":1}\n', "auto", False),
        ("x", b'\n  {"a":1}\n', "cdp", False),
        ("x.csv", b'{"a":1}\n', "saas", True),
        ("x.jsonl", b"oops\n", "auto", False),
        ("X.JSON.gz", b"oops\n", "auto", False),
        ("x.ndjson.part", b"oops\n", "auto", False),
        ("x", b"", "auto", None),
        ("x", b"\n" * 70_000 + b"{}", "auto", True),
        ("x", b"\n" * 65_000, "auto", None),
    ],
)
def test_the_format_is_told_by_bytes_and_name(name, data, dialect, is_csv):
    for size in (max(len(data), 1), 5000):
        one = RowFeed(ReadOptions(dialect=dialect), Faults("skip"), Path(name))
        for begin in range(0, len(data), size):
            list(one.feed(data[begin : begin + size]))
        list(one.finish())
        assert one.is_csv is is_csv


def test_parts_of_different_formats_are_refused():
    first = RowFeed(ReadOptions(), Faults(), FILE)
    list(first.feed(b"a\n1\n"))
    list(first.finish())
    for data, name in ((b"", "empty.csv"), (b"a\n2\n", "2.csv")):
        part = RowFeed(ReadOptions(), Faults(), Path(name), after=first)
        assert len([row for rows in [*part.feed(data), *part.finish()] for row in rows]) == len(data) // 4
        assert (part.header, part.is_csv) == (("a",), True)
    part = RowFeed(ReadOptions(), Faults(), Path("2.jsonl"), after=first)
    list(part.feed(b'{"a":1}\n'))
    with pytest.raises(RecordError, match=r"2\.jsonl is JSON Lines, and the file before is not"):
        list(part.finish())


def test_a_feed_tells_its_header_once_it_knows_it():
    one = RowFeed(ReadOptions(), Faults(), FILE)
    assert one.header is None
    list(one.feed(b"a,b\n" + b"1,2\n" * 2000))
    assert one.header == ("a", "b")


def test_rows_come_while_the_file_is_written():
    one = RowFeed(ReadOptions(), Faults(), Path("x.csv.part"))
    head = b"a,b\n" + b"1,2\n" * 2000
    assert sum(map(len, one.feed(head))) == 2000
    assert [list(one.feed(b"3,")), list(one.feed(b"4\n5,"))] == [[[]], [[{"a": "3", "b": "4"}]]]
    assert list(one.finish())[-1] == [{"a": "5", "b": None}]


def test_compressed_utf16_of_cdp_is_read_through_all_layers():
    text = '"gio_id","性别"\r\n"1","男"\r\n"2",\r\n'
    data = gzip.compress(text[:10].encode("utf-16-le")) + gzip.compress(text[10:].encode("utf-16-le"))
    assert read(data, dialect="auto") == [{"gio_id": "1", "性别": "男"}, {"gio_id": "2", "性别": None}]


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="dialect is 'excel'; give one of auto, saas, cdp"):
        ReadOptions(dialect="excel")
    with pytest.raises(ConfigError, match="max_record is 0"):
        ReadOptions(max_record=0)
    with pytest.raises(ConfigError, match="on_error is 'ignore'"):
        Faults("ignore")


def test_a_failure_of_one_layer_leaves_the_rows_before_it():
    data = gzip.compress(b"a\n" + b"1\n" * 5000)[:-8]
    rows, error, _ = feed(ReadOptions(), [data])
    assert len(rows) == 5000
    assert isinstance(error, IntegrityError)
