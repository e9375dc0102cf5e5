"""Where accounts come from: real files of every format, whole, odd and damaged."""

from __future__ import annotations

import csv
import errno
import functools
import gc
import gzip
import io
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError, DiskError, RecordError
from tagferry.lookups import blocks, columns
from tagferry.lookups.attended import Attended
from tagferry.lookups.sources import Source, open_source

compress = functools.partial(gzip.compress, mtime=0)
"""Without the time, which would give the same test other names in each process."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch):
    """Blocks of a few bytes, so that every line lies across some."""
    monkeypatch.setattr(blocks, "_BLOCK", 5)
    monkeypatch.setattr(columns, "_ROWS", 2)
    monkeypatch.setattr(columns, "_ITEMS", 2)


def read(source):
    return [account.decode() for block in source.blocks() for account in block]


def read_text(text, data=b""):
    """Write a file of the name in a text, and read what the text names."""
    Path(text.partition(":")[0]).write_bytes(data)
    return read(open_source(text))


def fails(text, data, error=RecordError):
    with pytest.raises(error) as caught:
        read_text(text, data)
    assert caught.value.hint or error is ConfigError
    return str(caught.value)


# Text


LINES = {
    "lf": b"a\nb\n",
    "no-end": b"a\nb",
    "crlf": b"a\r\nb\r\n",
    "blanks": b"\n a \n\n\tb\r\n \n",
    "bom": b"\xef\xbb\xbfa\nb\n",
    "utf-16-le": "\ufeffa\r\nb\r\n".encode("utf-16-le"),
    "utf-16-be": "\ufeffa\nb".encode("utf-16-be"),
    "utf-16-unmarked": "a\nb".encode("utf-16-le"),
    "gzip": compress(b"a\nb\n"),
    "gzip-members": compress(b"a") + compress(b"") + compress(b"\nb\n"),
    "gzip-bom": compress(b"\xef\xbb\xbfa\nb\n"),
    "gzip-utf-16": compress("\ufeffa\nb\n".encode("utf-16-le")),
}


@pytest.mark.parametrize("data", LINES.values(), ids=LINES.keys())
def test_a_text_file_has_an_account_a_line(here, tiny, data):
    assert read_text("accounts.txt", data) == ["a", "b"]
    assert read(open_source("-", io.BytesIO(data))) == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n \n", compress(b"")])
def test_a_text_file_may_have_none(here, data):
    assert read_text("accounts.txt", data) == []


@pytest.mark.parametrize("count", [1, 99, 100, 101, 100_000])
def test_a_text_file_is_read_to_its_end_in_order_with_repeats(here, count):
    accounts = [f"用户{number % 70_000}" for number in range(count)]
    assert read_text("accounts", "\n".join(accounts).encode()) == accounts


@given(data=st.lists(st.text("ab用é𝄞 ", max_size=5)), size=st.integers(3, 9), encoding=st.integers(0, 3))
def test_blocks_may_end_anywhere(data, size, encoding):
    text = "\n".join(data)
    raw = [
        text.encode(),
        text.replace("\n", "\r\n").encode(),
        ("\ufeff" + text).encode("utf-16-le"),
        compress(text.encode()),
    ][encoding]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK", size)
        found = read(open_source("-", io.BytesIO(raw)))
    assert found == [account for line in data if (account := line.strip(" "))]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\n\nb\xff\nc\n", r"a.txt, line 3 is not UTF-8: 'b\xff'"),
        (b"a\nb\x07\nc\n", "a.txt, line 2 holds a control character"),
        (b"a\rb\rc", "a.txt, line 1 holds a control character (\\r)"),
        (b"a\n" + b"x" * 2000, "a.txt, line 2 has 2000 bytes"),
        ("\ufeffa\nb".encode("utf-16-le") + b"\n", "a.txt is cut: it ends within a character; fetch or make"),
        (b"\xff\xfea\0\n\0\x00\xd8a\0", "a.txt, line 2 is not UTF-8"),
        (b"a\0bcd\n", "a.txt, line 1 holds a control character (\\x00)"),
        (compress(b"a\nb\n" * 99)[:-9], "a.txt is cut: its gzip stream has no end; fetch or make"),
        (compress(b"a\nb\n")[:-5] + b"\0\0\0\0\0", "a.txt is damaged: its gzip stream"),
        (compress(b"a\nb\n")[:12] + b"\xff" * 20, "a.txt is cut: its gzip stream has no end"),
        (compress(b"a\n") + b"trailing", "a.txt is damaged: its gzip stream"),
        (b"PK\x03\x04 more", "a.txt is a zip archive; unpack it"),
        (b"PAR1\x15 more", "a.txt is a Parquet file; "),
        (compress(b"a\n\x00"), "a.txt, line 2 holds"),
    ],
)
@pytest.mark.parametrize("size", [None, 2, 7])
def test_a_bad_text_file_is_named_with_the_line(here, monkeypatch, data, message, size):
    if size:
        monkeypatch.setattr(blocks, "_BLOCK", size)
    assert message in fails("a.txt", data)


@pytest.mark.parametrize("text", ["x.json", "x.json:uid"])
@pytest.mark.parametrize("document", ['["a", "b"]', '[\n  {"uid": "a"}\n]', '{\n"uid": "a"}'])
def test_a_json_document_is_not_taken_for_accounts(here, text, document):
    assert "x.json, " in (said := fails(text, document.encode()))
    assert "line 1 cannot be used" in said
    assert "each line has to be a JSON object" in said


def test_a_line_without_end_is_not_held_whole(here, monkeypatch):
    monkeypatch.setattr(blocks, "_LONGEST_LINE", 3000)
    monkeypatch.setattr(blocks, "_BLOCK", 1000)
    assert "a.txt, line 2 is longer than 3000 bytes" in fails("a.txt", b"a\n" + b" " * 9000)


# Standard input


def test_standard_input_is_the_one_of_the_process_unless_given(here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    source = open_source("-")
    assert read(source) == ["a", "b"]
    assert (source.name, source.stamp(), source.exists()) == ("standard input", None, True)
    assert not sys.stdin.closed


def test_standard_input_that_is_closed_or_missing_is_a_usage_error(monkeypatch):
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(ConfigError, match="standard input is closed"):
        open_source("-", closed)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="standard input is closed"):
        open_source("-")


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as producer:
        yield stdin, producer


def test_a_pipe_is_read_as_it_fills(pipe):
    stdin, producer = pipe
    # The pipe holds less than this, so the producer waits for the reader in between.
    text = b"".join(b"user%08d\n" % number for number in range(20_000))

    def produce():
        with producer:
            rest = memoryview(text)
            while rest:
                rest = rest[producer.write(rest) :]

    thread = threading.Thread(target=produce)
    thread.start()
    assert read(open_source("-", stdin)) == text.decode().split()
    thread.join()
    assert not stdin.closed


def test_a_pipe_that_does_not_wait_is_no_end_of_input(pipe):
    stdin, producer = pipe
    os.set_blocking(stdin.fileno(), False)
    producer.write(b"a\nb\n")
    found = []
    thread = threading.Thread(target=lambda: found.extend(read(open_source("-", stdin))))
    thread.start()
    time.sleep(0.05)
    producer.write(b"c\n")
    producer.close()
    thread.join()
    assert found == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["-", "p", "p.csv:u", "p.jsonl:u"])
def test_a_wait_for_more_input_can_be_ended(here, pipe, text):
    stdin, producer = pipe
    producer.write(b"a\n")
    if text != "-":
        # Nobody ever opens the other end.
        os.mkfifo(text.partition(":")[0])
    source = open_source(text, stdin)
    assert isinstance(source, Attended)
    failures = []

    def work():
        with pytest.raises(DiskError, match=re.escape(f"cannot read {source.name}")) as caught:
            read(source)
        failures.append(caught.value.code)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    source.stop()
    thread.join(10)
    assert failures == ["ECANCELED"]


def test_an_error_of_the_system_while_reading_is_told():
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(DiskError, match="cannot read standard input: Input/output error") as caught:
        read(open_source("-", Broken()))
    assert caught.value.code == "EIO"


# CSV


TABLES = {
    "comma": b"id,uid,name\n1,a,x\n2,b,y\n",
    "semicolon": b"id;uid;name\n1;a;x\n2;b;y\n",
    "tab": b"id\tuid\tname\n1\ta\tx\n2\tb\ty\n",
    "comma-in-a-name": b'id;uid;"last, first, middle"\n1;a;x\n2;b;y',
    "comma-unquoted-in-a-name": b"uid;last, first\na;x\nb;y",
    "one-column": b"uid\na\nb\n",
    "no-end": b"id,uid\n1,a\n2,b",
    "crlf": b"id,uid\r\n1,a\r\n2,b\r\n",
    "bom": b"\xef\xbb\xbfuid,id\na,1\nb,2\n",
    "quoted-bom": b'\xef\xbb\xbf"uid","id"\n"a","1"\n"b","2"\n',
    "utf-16": "\ufeffuid\tid\r\na\t1\r\nb\t2\r\n".encode("utf-16-le"),
    "gzip": compress(b"uid,id\na,1\nb,2\n"),
    "blanks": b"id , uid\n\n1, a \n\n\n2,\tb\n\n",
    "newlines": b'id,uid,"n\nn"\n1,a,"x\n\n,""\r\ny"\n2,b,"z"\n',
    "quotes": b'id,uid\n"1,""x""","a"\n"2","b"\n',
    "backslash": b'id,uid\n"\\",a\n\\,b\n',
    "nul-elsewhere": b"id,uid\n\x00,a\n2,b\n",
    "line-separator": "id,uid\n\u2028\x85\x0b,a\n2,b\n".encode(),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("small", [False, True])
def test_a_column_of_a_csv_file(here, monkeypatch, data, small):
    if small:
        monkeypatch.setattr(blocks, "_BLOCK", 3)
        monkeypatch.setattr(columns, "_ROWS", 1)
    assert read_text("x.csv:uid", data) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,uid\n1,a\n2\n", "x.csv, column uid, line 3 has 1 fields, and the header 2"),
        (b"id,uid\n\n1,a\n2,b,c\n", "line 4 has 3 fields, and the header 2"),
        (b'id,uid\n"1\n\n",a\n\n2\n', "line 6 has 1 fields"),
        (b'id,uid\n1,a\n2,"b\n3,c\n', "x.csv, column uid, the row that begins in line 3 is no CSV"),
        (b'id,uid\n"x\ny",a\n2,"b"c\n', "the row that begins in line 4 is no CSV"),
        (b"id,uid\n1,a\r2,b\n", "the row that begins in line 2 is no CSV"),
        (b'id,uid\n1,"' + b"x" * 200_000 + b'"\n', "the row that begins in line 2 is no CSV"),
        (b'"id,uid\n1,a\n', "x.csv, the row that begins in line 1 is no CSV"),
        (b"id,uid\n1,a\n2,\n", "x.csv, column uid, line 3 is empty"),
        (b"id,uid\n1,a\n2,  \n", "line 3 is empty"),
        (b'id,uid\n"\n",a\n1,"b\nc"\n', "line 4 holds a control character (\\n)"),
        (b"id,uid\n1,a\n2,\xff\n", "x.csv, line 3 is not UTF-8"),
        (compress(b"id,uid\n1,a\n")[:-9], "x.csv is cut: its gzip stream has no end"),
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 2000])
def test_a_bad_row_is_named_by_its_line(here, monkeypatch, data, message, rows):
    monkeypatch.setattr(columns, "_ROWS", rows)
    assert message in fails("x.csv:uid", data)


@given(
    rows=st.lists(
        st.tuples(st.text('a",;\n\r\t é', max_size=6), st.text("ab用", min_size=1, max_size=3)), max_size=20
    ),
    delimiter=st.sampled_from(",;\t"),
    size=st.integers(1, 9),
)
def test_a_csv_file_that_was_written_is_read_back(tmp_path_factory, rows, delimiter, size):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("other", "uid"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_ROWS", size)
        assert read(open_source(f"{path}:uid")) == [account for _, account in rows]


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        ("x.csv", b"id,uid\n", "x.csv needs the name of a column, as in x.csv:id; it has id, uid"),
        ("x.csv:", b"id,uid\n", "x.csv needs the name of a column"),
        ("x.csv:uuid", b"id,uid\n", "x.csv has no column uuid; did you mean uid? it has id, uid"),
        ("x.csv:zzz", b"id,uid\n", "x.csv has no column zzz; it has id, uid"),
        ("x.csv:UID", b"id,uid\n", "x.csv has no column UID"),
        ("x.csv:uid", b"uid,uid\n", "x.csv has 2 columns named uid"),
        ("x.csv:z", ",".join(f"c{n}" for n in range(30)).encode(), "c18, c19, …"),
        ("x.csv:uid", b"", "x.csv has no header line"),
        ("x.csv:uid", b"\n1,2\n", "x.csv has no header line"),
        (
            "x.jsonl",
            b'\n{"id":1,"uid":"a"}\n',
            "x.jsonl needs the name of a field, as in x.jsonl:id; it has id, uid",
        ),
        ("x.jsonl", b"", "x.jsonl needs the name of a field, as in x.jsonl:uid"),
        (
            "x.jsonl:uuid",
            b'{"id":1,"uid":"a"}\n',
            "x.jsonl has no field uuid; did you mean uid? it has id, uid",
        ),
        ('x.jsonl:a"b', b'{"a\\"b":1}', "cannot be read"),
        ("x.parquet", None, "x.parquet needs the name of a column, as in x.parquet:uid; it has uid, n"),
        ("x.parquet:uuid", None, "x.parquet has no column uuid; did you mean uid?"),
        ("x.parquet:f", None, "x.parquet, column f is of type double"),
        ("x.parquet:ok", None, "x.parquet, column ok is of type bool"),
    ],
)
def test_a_column_that_is_not_there_is_a_usage_error(here, text, data, message):
    if data is None:
        data = parquet(uid=["a"], n=[1], f=[1.5], ok=[True])
    assert message in fails(text, data, ConfigError)


# JSON Lines


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize(
    "lines",
    [
        [b'{"uid":"a"}', b'{"uid":7}', b'{"uid":"b"}'],
        [b'\xef\xbb\xbf{"id":1,"uid":"a","x":{"uid":"no"}}', b"", b'{"x":"\xff","uid":7}', b'  {"uid":"b"} '],
        [b'{"uid":"\\u0061"}', b"\t", b'{"uid":"no","uid":7}', b'{"uid":"b","x":[[1e999]]}'],
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_field_of_a_json_lines_file(here, lines, tail, packed):
    data = b"\n".join(lines) + tail
    assert read_text("x.jsonl:uid", compress(data) if packed else data) == ["a", "7", "b"]


def test_a_json_lines_file_keeps_every_text_as_it_is(here):
    accounts = [" a ", "a", "用户", "\u2028", "a,b", '"', "-7", "9" * 30, "x" * 1024]
    data = "\n".join(json.dumps({"account": account}) for account in accounts).encode()
    assert read_text("x.jsonl:account", data) == accounts
    assert read_text("x.jsonl:account", b'{"account":%d}' % 10**30) == [str(10**30)]
    assert read_text("x.jsonl:account", b"") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"uid":null}', "line 3 cannot be used"),
        (b'{"uid":1.5}', "line 3 cannot be used"),
        (b'{"uid":true}', "line 3 cannot be used"),
        (b'{"uid":["a"]}', "line 3 cannot be used"),
        (b'{"id":"a"}', "line 3 cannot be used: Object missing required field `uid`"),
        (b'["a"]', "line 3 cannot be used"),
        (b'"uid"', "line 3 cannot be used"),
        (b'{"uid":"a"', "line 3 cannot be used"),
        (b'{"uid":\n"a"}', "line 3 cannot be used"),
        (b'{"uid":NaN}', "line 3 cannot be used"),
        (b'{"uid":"\xff"}', "line 3 cannot be used"),
        (b'{"uid":"\\ud800"}', "line 3 cannot be used"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"uid":"a"}', "line 3 cannot be used"),
        (b'{"uid":""}', "line 3 is empty"),
        (b'{"uid":"a\\n"}', "line 3 holds a control character (\\n)"),
        (b'{"uid":"a\\u0000"}', "line 3 holds a control character (\\x00)"),
        (b'{"uid":"%s"}' % (b"x" * 1025), "line 3 has 1025 bytes"),
    ],
)
@pytest.mark.parametrize("before", [b"\n", b'{"uid":"b"}\n'], ids=["blank", "full"])
def test_a_bad_line_of_json_is_named(here, line, message, before):
    data = b'{"uid":"a"}\n' + before + line + b'\n{"uid":"c"}\n'
    assert f"x.jsonl, field uid, {message}" in fails("x.jsonl:uid", data)


def test_blank_lines_before_the_first_object_are_passed_over(here, tiny):
    assert read_text("x.jsonl:uid", b"\n\r\n\n\n\n\n\n\n" + b'{"uid":"a"}') == ["a"]


def test_two_objects_in_a_line_are_no_json_line(here):
    assert "line 2 cannot be used" in fails("x.jsonl:uid", b'{"uid":"a"}\n{"uid":"b"} {"uid":"c"}\n')


def test_a_json_lines_file_of_something_else_is_named_at_once(here):
    Path("x.jsonl").write_bytes(b"\n[1]\n")
    with pytest.raises(RecordError, match=r"x\.jsonl, line 2 cannot be used"):
        open_source("x.jsonl:uid")


# Parquet


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=3)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_a_column_of_texts_of_a_parquet_file(here, monkeypatch, kind):
    monkeypatch.setattr(columns, "_ITEMS", 2)
    accounts = ["a", " b ", "用户", "a", "x"]
    data = parquet(other=[1] * 5, **{"a.b": pa.array(accounts, kind)})
    assert read_text("x.parquet:a.b", data) == accounts


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.int8()], ids=str)
def test_a_column_of_whole_numbers_of_a_parquet_file(here, kind):
    data = parquet(uid=pa.array([1, 0, 120, 7], kind))
    assert read_text("x.parquet:uid", data) == ["1", "0", "120", "7"]


def test_a_parquet_file_may_have_no_rows(here):
    assert read_text("x.parquet:uid", parquet(uid=pa.array([], pa.string()))) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b", "c", None], "x.parquet, column uid, row 4 is null"),
        (["a", "b", "c", ""], "x.parquet, column uid, row 4 is empty"),
        (["a", "b", "c", "\n"], "x.parquet, column uid, row 4 holds a control character"),
    ],
)
@pytest.mark.parametrize("items", [1, 3, 10])
def test_a_bad_row_of_a_parquet_file_is_named(here, monkeypatch, values, message, items):
    monkeypatch.setattr(columns, "_ITEMS", items)
    assert message in fails("x.parquet:uid", parquet(uid=values))


def test_two_columns_of_one_name_are_refused(here):
    table = pa.Table.from_arrays([pa.array(["a"])] * 2, ["uid", "uid"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    assert "2 columns named uid" in fails("x.parquet:uid", buffer.getvalue(), ConfigError)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "page"])
def test_a_damaged_parquet_file_is_no_short_one(here, damage):
    whole = parquet(uid=[f"user{n}" for n in range(100)])
    data = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"uid\na\n" * 9,
        "page": whole[:8] + b"\xff" * 20 + whole[28:],
    }[damage]
    assert "it is no whole Parquet file" in fails("x.parquet:uid", data)


def test_without_pyarrow_it_is_said_what_to_install(here, monkeypatch):
    data = parquet(uid=["a"])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install 'tagferry[parquet]'" in fails("x.parquet:uid", data, ConfigError)


def test_a_parquet_file_that_goes_away_is_a_disk_error(here):
    Path("x.parquet").write_bytes(parquet(uid=["a"]))
    source = open_source("x.parquet:uid")
    real = source.check
    source.check = lambda: (real(), Path("x.parquet").unlink())
    with pytest.raises(DiskError, match=r"cannot read x\.parquet, column uid"):
        read(source)


# Names of files


@pytest.mark.parametrize(
    "text", ["none.txt", "none.csv:uid", "none.parquet:uid", "dir/none.jsonl:x", "a.txt:uid", ""]
)
def test_a_file_that_is_not_there_is_a_usage_error(here, text):
    (here / "a.txt").touch()
    with pytest.raises(ConfigError) as caught:
        open_source(text)
    assert "there is no file" in str(caught.value) or "is a directory" in str(caught.value)
    assert caught.value.hint


def test_what_is_no_file_to_read_is_a_usage_error(here, monkeypatch):
    (here / "dir.csv").mkdir()
    (here / "file").touch()
    (here / "loop").symlink_to("loop")
    for text, message in [
        ("dir.csv", "dir.csv is a directory"),
        ("dir.csv:uid", "dir.csv is a directory"),
        ("file/below", "cannot read file/below: Not a directory"),
        ("loop", "cannot read loop"),
        ("nul\0", "cannot read nul"),
    ]:
        with pytest.raises(ConfigError, match=message) as caught:
            open_source(text)
        assert caught.value.hint

    # Root may read anything, so the answer of the system is given here.
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(type(here), "open", refuse)
    with pytest.raises(ConfigError, match="cannot read file: Permission denied"):
        open_source("file")


@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("a:b.txt", "a:b.txt", b"a\n"),
        ("x.csv:uid", "x.csv:uid", b"a\n"),
        ("a:b.csv", "a:b.csv:uid", b"uid\na\n"),
        ("x.csv:y.csv", "x.csv:y.csv:uid", b"uid\na\n"),
        ("x.csv", "x.csv:u:id", b"u:id\na\n"),
        ("X.CSV", "X.CSV:uid", b"uid\na\n"),
        ("x.csv.gz", "x.csv.gz:uid", compress(b"uid\na\n")),
        ("x.jsonl.gz", "x.jsonl.gz:uid", compress(b'{"uid":"a"}')),
        ("x.ndjson", "x.ndjson:uid", b'{"uid":"a"}'),
        ("x.json", "x.json:uid", b'{"uid":"a"}\n'),
        ("x.csv.gz", "x.csv.gz:uid", b"uid\na\n"),
        ("x.txt.gz", "x.txt.gz", compress(b"a\n")),
        ("x.csv", "x.csv:x.csv:y", b"x.csv:y\na\n"),
        ("csv", "csv", b"a\n"),
    ],
)
def test_a_colon_divides_file_and_column_unless_the_file_has_it(here, name, text, data):
    (here / name).write_bytes(data)
    source = open_source(text)
    assert isinstance(source, Source)
    assert read(source) == ["a"]


def test_a_name_says_which_column(here):
    (here / "x.csv").write_bytes(b"uid\n")
    (here / "x.jsonl").touch()
    (here / "x").touch()
    names = [open_source(text).name for text in ("x", "x.csv:uid", "x.jsonl:uid")]
    assert names == ["x", "x.csv, column uid", "x.jsonl, field uid"]


def test_a_stamp_changes_with_the_file_and_the_column(here):
    path = here / "x.csv"
    path.write_bytes(b"a,b\n1,2\n")
    os.utime(path, ns=(0, 10**18))
    one, other = open_source("x.csv:a"), open_source("x.csv:b")
    stamp = one.stamp()
    assert stamp == one.stamp() == open_source("x.csv:a").stamp()
    stamps = {stamp, other.stamp()}
    path.write_bytes(b"a,b\n1,2\n")
    os.utime(path, ns=(0, 10**18 + 1))
    stamps.add(one.stamp())
    path.write_bytes(b"a,b\n1,2\n3,4\n")
    os.utime(path, ns=(0, 10**18))
    stamps.add(one.stamp())
    assert len(stamps) == 4
    assert None not in stamps
    assert one.exists()
    path.unlink()
    assert one.stamp() is None
    assert not one.exists()
    with pytest.raises(DiskError, match=r"cannot read x\.csv, column a") as caught:
        read(one)
    assert caught.value.code == "ENOENT"


@pytest.mark.parametrize(
    ("name", "text", "data"), [("p", "p", b"a\nb\n"), ("p.csv", "p.csv:u", b"u\na\nb\n")]
)
def test_a_named_pipe_is_read_once_and_has_no_stamp(here, name, text, data):
    os.mkfifo(name)
    source = open_source(text)
    assert source.stamp() is None
    assert source.exists()
    found = []
    thread = threading.Thread(target=lambda: found.extend(read(source)))
    thread.start()
    # Each end waits here until the other one is open.
    Path(name).write_bytes(data)
    thread.join()
    assert found == ["a", "b"]


def test_a_named_pipe_without_its_column_is_a_usage_error(here):
    os.mkfifo("p.csv")
    with pytest.raises(ConfigError, match=r"p\.csv needs the name of a column, as in p\.csv:uid"):
        open_source("p.csv")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("x", b"a\n" * 9),
        ("x", compress(b"a\n" * 9)),
        ("x.csv:u", b"u\n" + b"a\n" * 9),
        ("x.jsonl:u", b'{"u":"a"}\n' * 9),
    ],
)
def test_who_stops_half_way_leaves_nothing_open(here, tiny, text, data):
    Path(text.partition(":")[0]).write_bytes(data)
    blocks = open_source(text).blocks()
    assert any(blocks)
    blocks.close()
    del blocks
    gc.collect()
