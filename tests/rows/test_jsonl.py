import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagferry.errors import ConfigError, RecordError
from tagferry.rows.options import ReadOptions
from tests.rows.oracle import feed, outcome, split

FILE = Path("x.jsonl")
ARRAY = "; a file that is one JSON array has to become JSON Lines first"


class Row(msgspec.Struct):
    a: int
    b: str | None = None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=12)
PIECES = [b'{"a":1}', b'{"a":', b"2}", b"{}", b"{", b"}", b"[", b"]", b",", b"\n", b"\n", b"\r\n", b" ", b'"']
PIECES += [b"\xff", b"null", b"\xe2\x80\xa8", b'{"a":"x"}', b'{"b":[1\n2],"a":3}', b"\x00", b'"\x7f"']
PIECES += [b'{"a":4,"c":"\xff"}']
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


def rows_of(data, wanted=None, **options):
    rows, error, _ = feed(ReadOptions(wanted, **options), [data], file=FILE)
    if error is not None:
        raise error
    return rows


@given(records=RECORDS, end=st.sampled_from(["\n", "\r\n"]), cuts=st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=300)
def test_rows_are_what_json_says(records, end, cuts):
    data = "".join(json.dumps(one, ensure_ascii=False) + end for one in records).encode()
    rows, error, _ = feed(ReadOptions(encoding="utf-8"), split(data, cuts), file=FILE)
    assert error is None
    assert rows == [json.loads(json.dumps(one)) for one in records]


@given(
    data=HOSTILE,
    cuts=st.lists(st.integers(0, 80), max_size=8),
    limit=st.sampled_from([5, 12, 10_000]),
    on_error=st.sampled_from(["raise", "skip", "collect"]),
    wanted=st.sampled_from([None, Row]),
)
@settings(max_examples=400)
@example(data=b'{"a":1},{"b":[1\n2],"a":3}\n', cuts=[], limit=10_000, on_error="raise", wanted=None)
@example(data=b'{"a":\n2}{"a":1}\n', cuts=[], limit=10_000, on_error="raise", wanted=None)
@example(data=b'{"a":1},"\x7f",{"b":[1\n2],"a":3}\n', cuts=[], limit=10_000, on_error="raise", wanted=None)
def test_any_split_gives_the_same_rows_and_errors(data, cuts, limit, on_error, wanted):
    plan = ReadOptions(wanted, encoding="utf-8", max_record=limit)
    whole = outcome(plan, [data], on_error=on_error, file=FILE)
    assert outcome(plan, split(data, cuts), on_error=on_error, file=FILE) == whole
    assert outcome(plan, [data[i : i + 1] for i in range(len(data))], on_error=on_error, file=FILE) == whole


@given(data=HOSTILE)
@settings(max_examples=400)
def test_each_row_is_one_line(data):
    expected, bad = [], False
    for line in data.split(b"\n"):
        if not line.strip(b" \t\r"):
            continue
        try:
            expected.append(msgspec.json.decode(line, type=Row, strict=False))
        except (msgspec.DecodeError, UnicodeDecodeError):
            bad = True
            break
    rows, error, _ = feed(ReadOptions(Row, encoding="utf-8"), [data], file=FILE)
    assert rows == expected
    assert isinstance(error, RecordError) == bad


def test_large_files_equal_the_oracle_across_slices():
    records = [{"a": i, "text": "渠道\u2028" * (i % 40), "list": list(range(i % 5))} for i in range(20_000)]
    data = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records).encode()
    assert len(data) > 1_000_000
    assert rows_of(data) == records


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a":"x"}', "x.jsonl, line 3, column a: expected `int`, got `str`: '\"x\"'"),
        (b'{"a":1', "x.jsonl, line 3: input data was truncated: '{\"a\":1'"),
        (
            b'{"a":1}{"a":2}',
            'x.jsonl, line 3: JSON is malformed: trailing characters (byte 8): \'{"a":1}{"a":2}\'',
        ),
        (b'{"a":1,"b":"\xff"}', 'x.jsonl, line 3: the line is not UTF-8: \'{"a":1,"b":"\ufffd"}\''),
        (b'{"a":NaN}', "x.jsonl, line 3: JSON is malformed: invalid character (byte 5): '{\"a\":NaN}'"),
        (b"5", "x.jsonl, line 3: expected `object`, got `int`: '5'"),
        (b"{}", "x.jsonl, line 3: object missing required field `a`: '{}'"),
        (
            b'[{"a":1}]',
            "x.jsonl, line 3: expected `object`, got `array`: '[{\"a\":1}]'" + ARRAY,
        ),
        (b"\x00", "x.jsonl, line 3: JSON is malformed: invalid character (byte 0): '\\\\x00'"),
    ],
)
def test_errors_name_line_column_and_value(line, message):
    rows, error, _ = feed(ReadOptions(Row), [b'{"a":1}\n\n' + line + b'\n{"a":2}\n'], file=FILE)
    assert rows == [Row(1)]
    assert str(error) == message


def test_a_value_deep_inside_is_named_by_its_path():
    class Deep(msgspec.Struct):
        rows: list[dict[str, int]]
        other: dict[str, Row] = {}

    _, error, _ = feed(ReadOptions(Deep), [b'{"rows":[{},{"k":"v"}]}'], file=FILE)
    assert vars(error)["column"] == "rows[1][...]"
    assert vars(error)["value"] == '{"k":"v"}'
    _, error, _ = feed(ReadOptions(list[Row]), [b'[{"a":1},{"a":[2,3]}]'], file=FILE)
    assert (vars(error)["column"], vars(error)["value"]) == ("[1].a", "[2,3]")


def test_depth_is_bounded():
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    for on_error in ("raise", "skip"):
        rows, error, faults = feed(ReadOptions(), [deep + b'{"a":1}\n'], on_error=on_error, file=FILE)
        assert rows == ([] if on_error == "raise" else [{"a": 1}])
        assert faults.total == 1
        assert error is None or "line 1: the line is nested too deeply" in str(error)


def test_a_line_that_is_too_long_is_left_out_without_being_held():
    data = b'{"a":1}\n{"a":2,"b":"' + b"x" * 200 + b'"}\n{"a":3}\n'
    for size in (1, 7, 64, len(data)):
        blocks = [data[i : i + size] for i in range(0, len(data), size)]
        rows, error, faults = feed(ReadOptions(Row, max_record=100), blocks, on_error="collect", file=FILE)
        assert error is None
        assert rows == [Row(1), Row(3)]
        messages = [str(one) for one in faults.kept]
        assert messages == ["x.jsonl, line 2: the line has more than 100 bytes; raise max_record"]
        rows, error, _ = feed(ReadOptions(Row, max_record=100), blocks, file=FILE)
        assert (rows, str(error)) == ([Row(1)], messages[0])


def test_the_separators_of_unicode_are_data():
    data = '{"a":1,"b":"x\u2028y\u2029z\x85"}\n'.encode()
    assert rows_of(data, Row) == [Row(1, "x\u2028y\u2029z\x85")]


def test_rows_of_any_type_that_json_can_become():
    assert rows_of(b"[1,2]\n[3]\n", list[int]) == [[1, 2], [3]]
    assert rows_of(b"1\n2\n", int) == [1, 2]
    with pytest.raises(ConfigError, match="rows cannot be of the type"):
        ReadOptions(complex | str)


def test_numbers_may_come_as_texts_and_large_ones_are_exact():
    assert rows_of(b'{"a":"7"}\n{"a":99999999999999999999}\n', Row) == [Row(7), Row(99999999999999999999)]
    (row,) = rows_of(b'{"x":1e308}\n')
    assert math.isfinite(row["x"])


def test_null_and_empty_are_told_apart():
    assert rows_of(b'{"a":1,"b":null}\n{"a":1,"b":""}\n') == [{"a": 1, "b": None}, {"a": 1, "b": ""}]


def test_a_last_line_needs_no_line_end():
    assert rows_of(b'{"a":1}\n{"a":2}', Row) == [Row(1), Row(2)]
    assert rows_of(b"") == rows_of(b"\n\n  \n") == []


def test_utf16_and_marks_are_read():
    text = '{"a":1,"b":"渠道"}\n{"a":2}\n'
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        assert rows_of(text.encode(encoding), Row) == [Row(1, "渠道"), Row(2)]
    broken = text.encode("utf-16-le").replace("渠".encode("utf-16-le"), b"\x00\xd8")
    with pytest.raises(RecordError, match="line 1: the line is not UTF-8"):
        rows_of(broken, Row)
