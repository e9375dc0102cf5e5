import csv
import io

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagferry.errors import ConfigError, RecordError
from tagferry.rows.options import ReadOptions
from tests.rows import oracle
from tests.rows.oracle import feed, outcome, read, split

CELLS = st.text(alphabet='a,"\\\n\r\t é“渠\u2028\x00=', max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.none() | CELLS, min_size=width, max_size=width), min_size=0, max_size=12
    ).map(lambda rows: (width, rows))
)
HOSTILE = st.text(alphabet='ab,"\\\n\r\t é\x00\ue83a', max_size=60)


UNIQUE = "; export with key headers, whose names are unique"


class Texts(msgspec.Struct):
    a: str
    b: str


class Maybe(msgspec.Struct):
    b: str | None
    a: str | None = "left out"


class Typed(msgspec.Struct, kw_only=True):
    age: int | None
    score: float = 0.5
    name: str


def write(width, rows, *, escape=None, end="\n", header=True):
    """Write a table by hand: a null is nothing, a text is quoted."""

    def cell(value):
        if value is None:
            return ""
        if escape:
            value = value.replace(escape, escape * 2)
        return '"' + value.replace('"', (escape or '"') + '"') + '"'

    lines = [",".join(f'"c{i}"' for i in range(width))] if header else []
    lines += [",".join(map(cell, row)) for row in rows]
    return (end.join(lines) + end).encode()


def as_dicts(width, rows):
    # A line with nothing on it is no record.
    return [{f"c{i}": row[i] for i in range(width)} for row in rows if row != [None]]


@pytest.mark.parametrize(("dialect", "escape"), [("cdp", None), ("saas", "\\")])
@given(
    table=TABLES, end=st.sampled_from(["\n", "\r\n", "\r"]), cuts=st.lists(st.integers(0, 300), max_size=6)
)
@settings(max_examples=300)
def test_rows_are_what_was_written_nulls_and_all(dialect, escape, table, end, cuts):
    data = write(*table, escape=escape, end=end)
    rows, error, _ = feed(ReadOptions(dialect=dialect, encoding="utf-8"), split(data, cuts))
    assert error is None
    assert rows == as_dicts(*table)


@given(table=TABLES, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]))
@settings(max_examples=200)
def test_rows_do_not_depend_on_the_encoding(table, encoding):
    data = write(*table).decode().encode(encoding)
    override = encoding if encoding in {"utf-16-le", "utf-16-be"} else "auto"
    assert read(data, encoding=override) == as_dicts(*table)


@pytest.mark.parametrize("dialect", ["cdp", "saas"])
@given(
    body=HOSTILE,
    cuts=st.lists(st.integers(0, 80), max_size=8),
    limit=st.sampled_from([5, 20, 10_000]),
    on_error=st.sampled_from(["raise", "skip", "collect"]),
    wanted=st.sampled_from([None, Texts, Maybe]),
)
@settings(max_examples=400)
@example(body='"a,"",b"\n', cuts=[], limit=10_000, on_error="raise", wanted=None)
@example(body='a\\,""\n', cuts=[], limit=10_000, on_error="raise", wanted=None)
def test_any_split_gives_the_same_rows_and_errors(dialect, body, cuts, limit, on_error, wanted):
    data = b"a,b\n" + body.encode()
    plan = ReadOptions(wanted, dialect=dialect, encoding="utf-8", max_record=limit)
    whole = outcome(plan, [data], on_error=on_error)
    assert outcome(plan, split(data, cuts), on_error=on_error) == whole
    assert outcome(plan, [data[i : i + 1] for i in range(len(data))], on_error=on_error) == whole


@pytest.mark.parametrize("dialect", ["cdp", "saas"])
@given(body=HOSTILE)
@settings(max_examples=400)
@example(body=',\\"\ue83a"\\\r"')
@example(body='"\ue83a"\\,')
def test_rows_are_those_of_the_standard_library_up_to_the_first_bad_record(dialect, body):
    data = "a,b\n" + body
    expected, refused = oracle.records(data, oracle.DIALECTS[dialect])
    good = []
    for cells in expected[1:]:
        if cells and len(cells) != 2:
            refused = True
            break
        if cells:
            good.append(Texts(*cells))
    rows, error, _ = feed(ReadOptions(Texts, dialect=dialect, encoding="utf-8"), [data.encode()])
    assert rows == good
    assert isinstance(error, RecordError) == refused


def test_large_generated_files_equal_the_oracle_across_slices():
    out = io.StringIO()
    writer = csv.writer(out)
    table = [[f"u{i}", 'say "hi"\nto, ' + "渠道" * (i % 50), ""] for i in range(20_000)]
    writer.writerows([["id", "text", "none"], *table])
    data = out.getvalue().encode()
    assert len(data) > 1_000_000
    rows = read(data)
    assert rows == [{"id": a, "text": b, "none": None} for a, b, _ in table]


def test_a_cell_longer_than_the_library_allows_is_read():
    long = "x" * 1_000_000
    before = csv.field_size_limit()
    data = f'a,b\n1,"{long}"\n2,y\n'.encode()
    for size in (len(data), 50_000):
        rows, error, _ = feed(ReadOptions(Texts), [data[i : i + size] for i in range(0, len(data), size)])
        assert error is None
        assert rows == [Texts("1", long), Texts("2", "y")]
    assert csv.field_size_limit() == before


def test_a_file_cut_inside_a_quoted_cell_is_an_error_and_its_last_record_no_row():
    data = b'a,b\n1,"x"\n2,"cut'
    for on_error in ("raise", "skip", "collect"):
        rows, error, faults = feed(ReadOptions(Texts), [data], on_error=on_error)
        assert rows == [Texts("1", "x")]
        assert isinstance(error, RecordError)
        assert str(error) == ("x.csv, line 3: the file ends within this record; export or download it again")
        assert faults.total == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1\n", "x.csv, line 2: the record has 1 cells and the header 2"),
        (b"a,b\n\n\n1,2,3\n", "x.csv, line 4: the record has 3 cells and the header 2"),
        (b'a,b\n"1"x,2\n', "x.csv, line 2: a quoted cell goes on behind its closing quote: '\"1\"'"),
        (b'a,b\n"1\n1",2\n\xff,2\n', "x.csv, line 4: the record is not UTF-8: '\\\\udcff,2'"),
        (b"a,b\n1,2\r\n1\r\n", "x.csv, line 3: the record has 1 cells and the header 2"),
        (b"a\n1\n", "x.csv, line 1, column b: the file has no column of this name"),
        (b'"a"b,c\n1,2\n', "x.csv, line 1: a quoted cell goes on behind its closing quote: '\"a\"b,c'"),
        (
            b"a,b,a\n1,2,3\n",
            "x.csv, line 1, column a: the header has more than one column of this name" + UNIQUE,
        ),
        (b'\n"a', "x.csv, line 1: the file ends within this record; export or download it again"),
    ],
)
def test_errors_name_line_and_column(data, message):
    with pytest.raises(RecordError) as caught:
        read(data, Texts)
    assert str(caught.value) == message


def test_errors_name_the_value_of_a_typed_column():
    data = "name,age,score\n渠道,1,2.5\n渠道,old,1\n".encode()
    with pytest.raises(RecordError) as caught:
        read(data, Typed)
    error = caught.value
    assert str(error) == "x.csv, line 3, column age: expected `int | null`, got `str`: 'old'"
    facts = vars(error)
    assert (facts["file"], facts["line"], facts["column"], facts["value"]) == (oracle.FILE, 3, "age", "old")


def test_bad_records_are_left_out_or_kept():
    data = b'name,age\nx,1\nx,old\n"y"z,2\nx,\nx,3,4\nx,5\n'
    good = [Typed(name="x", age=1), Typed(name="x", age=None), Typed(name="x", age=5)]
    for on_error in ("skip", "collect"):
        rows, error, faults = feed(ReadOptions(Typed), [data], on_error=on_error)
        assert error is None
        assert rows == good
        assert faults.total == 3
        lines = [vars(one)["line"] for one in faults.kept]
        assert lines == ([3, 4, 6] if on_error == "collect" else [])


def test_of_many_bad_records_the_first_thousand_are_kept():
    data = b"name,age\n" + b"x,old\n" * 1500
    rows, error, faults = feed(ReadOptions(Typed), [data], on_error="collect")
    assert (rows, error, faults.total, len(faults.kept)) == ([], None, 1500, 1000)


def test_typed_columns_take_nulls_apart_from_empty_texts():
    rows = read(b'a,b\n,""\n"",\n', Maybe)
    assert rows == [Maybe("", None), Maybe(None, "")]
    assert read(b"b\n1\n", Maybe) == [Maybe("1", "left out")]
    assert read(b'a,b\n,""\n', Texts) == [Texts("", "")]
    with pytest.raises(RecordError, match="column score: expected `float`, got `str`: ''"):
        read(b"name,age,score\nx,1,\n", Typed)


def test_a_check_of_the_users_type_names_the_line():
    class Checked(msgspec.Struct):
        a: str

        def __post_init__(self):
            if self.a == "x":
                raise ValueError("no x here")

    with pytest.raises(RecordError, match=r"^x\.csv, line 3: no x here$"):
        read(b"a\ny\nx\n", Checked)


def test_types_that_forbid_other_columns_refuse_them():
    class Only(msgspec.Struct, forbid_unknown_fields=True):
        a: str

    assert read(b"a\n1\n", Only) == [Only("1")]
    with pytest.raises(RecordError, match="column b: Only forbids columns that it does not name"):
        read(b"a,b\n1,2\n", Only)


def test_a_type_without_a_column_of_the_file_is_refused():
    class Other(msgspec.Struct):
        z: str = ""

    with pytest.raises(RecordError, match="the file has none of the columns of Other"):
        read(b"a,b\n1,2\n", Other)


def test_rows_of_csv_are_structs_or_dicts():
    with pytest.raises(ConfigError, match="the records of a CSV file cannot become int"):
        read(b"a\n1\n", int)


def test_blank_files_and_headers_alone_have_no_rows():
    for data in (b"", b"\n\n", b"a,b\n", b"\xef\xbb\xbf", b"a,b", b"\n\r\na,b\r\n\r\n"):
        assert read(data) == []
        assert read(data, Texts) == []


def test_the_saas_dialect_is_the_default_but_for_files_of_cdp():
    assert read(b'name,x\n"a\\"b","C:\\\\t"\n', dialect="auto") == [{"name": 'a"b', "x": "C:\\t"}]
    for head in (b"gio_id", b'"gio_id"', '“gio_id"'.encode()):
        assert read(head + b',x\n1,"C:\\t"\n', dialect="auto") == [{"gio_id": "1", "x": "C:\\t"}]
    assert read(b'gio_id\n"C:\\t"\n', dialect="auto") == [{"gio_id": "C:\\t"}]
    for head in (b"account,tags", b'"account","tags"'):
        fetched = read(head + b'\nx,"[""a\\tb""]"\n', dialect="auto")
        assert fetched == [{"account": "x", "tags": '["a\\tb"]'}]


def test_tabs_separate_where_the_header_has_tabs_and_no_comma():
    legacy = "登录用户ID\t登录用户变量1\n12249\tGrowing,IO\n".encode()
    for dialect in ("saas", "cdp", "auto"):
        assert read(legacy, dialect=dialect) == [{"登录用户ID": "12249", "登录用户变量1": "Growing,IO"}]
    assert read(legacy.decode().encode("utf-16-le"), dialect="auto") == read(legacy)
    assert read(b'"a\tb",c\n1,2\n') == [{"a\tb": "1", "c": "2"}]


def test_curly_quotes_come_off_a_header_and_stay_in_data():
    assert read('“gio_id"\n"603542"\n'.encode()) == [{"gio_id": "603542"}]
    assert read("“gio_id”,“x”\n“男”,1\n".encode()) == [{"gio_id": "“男”", "x": "1"}]


def test_documented_files_of_cdp():
    keys = '"gio_id","d_$basic_userId","usr_gender","tag_rfm"\n"603542","C001","男",\n"605419","C004",,"低"\n'
    assert read(keys.encode()) == [
        {"gio_id": "603542", "d_$basic_userId": "C001", "usr_gender": "男", "tag_rfm": None},
        {"gio_id": "605419", "d_$basic_userId": "C004", "usr_gender": None, "tag_rfm": "低"},
    ]
    assert read('"gio_id","用户ID","性别","会员等级"\n1,"C001","男","高"\n'.encode()) == [
        {"gio_id": "1", "用户ID": "C001", "性别": "男", "会员等级": "高"}
    ]


def test_further_parts_repeat_the_header_or_are_refused():
    header = ("a", "b")
    assert read(b"a,b\n1,2\n", header=header) == [{"a": "1", "b": "2"}]
    for other in (b"b,a\n1,2\n", b"1,2\n3,4\n", b"a\n1\n"):
        with pytest.raises(RecordError, match="line 1: the header is not that of the first file"):
            read(other, header=header)
    assert read(b"", header=header) == []


def test_a_record_that_is_too_long_ends_the_reading():
    long = b'a,b\n1,2\n1,"' + b"x\n" * 60 + b'"\n3,4\n'
    for size in (1, 7, len(long)):
        for on_error in ("raise", "skip"):
            rows, error, _ = feed(
                ReadOptions(Texts, max_record=100),
                [long[i : i + size] for i in range(0, len(long), size)],
                on_error=on_error,
            )
            assert rows == [Texts("1", "2")]
            assert str(error) == "x.csv, line 3: the record has more than 100 characters; raise max_record"


def test_a_line_that_never_ends_is_not_held_for_ever():
    faulty = ReadOptions(Texts, max_record=100)
    rows, error, _ = feed(faulty, [b"a,b\n"] + [b"x" * 50] * 20)
    assert rows == []
    assert str(error) == "x.csv, line 2: the record has more than 100 characters; raise max_record"
    _, error, _ = feed(faulty, [b"x" * 50] * 20)
    assert str(error) == "x.csv, line 1: the record has more than 100 characters; raise max_record"


def test_nothing_but_the_users_own_bugs_comes_through():
    class Odd(msgspec.Struct):
        a: str

        def __post_init__(self):
            raise KeyError(self.a)

    with pytest.raises(KeyError):
        read(b"a\n1\n", Odd)
