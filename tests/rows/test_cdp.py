import msgspec
import pytest

from tagferry.errors import RecordError
from tagferry.rows.cdp import CDPRow, find_column
from tests.rows.oracle import read

JSON = """\
{"gio_id":603542,"identifications":{"d_$basic_userId":"C001"},"properties":{"usr_gender":"男","tag_rfm":null}}
{"gio_id":"1","identifications":{"id_$basic_userId":"C001"},"properties":{"usr_gender":"男","tag_rfm":"高"}}
{"gio_id":603542}
{"gio_id":9007199254740993123,"identifications":null,"properties":null}
"""


def test_all_documented_lines_become_rows():
    rows = read(JSON.encode(), CDPRow)
    assert rows == [
        CDPRow("603542", {"d_$basic_userId": "C001"}, {"usr_gender": "男", "tag_rfm": None}),
        CDPRow("1", {"id_$basic_userId": "C001"}, {"usr_gender": "男", "tag_rfm": "高"}),
        CDPRow("603542"),
        CDPRow("9007199254740993123"),
    ]
    assert [row.identity("ids_$basic_userId") for row in rows] == ["C001", "C001", None, None]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            '"gio_id","id_$basic_userId","usr_gender","tag_rfm"\n1,"C001","男","高"\n',
            [CDPRow("1", {"id_$basic_userId": "C001"}, {"usr_gender": "男", "tag_rfm": "高"})],
        ),
        (
            '"tag_rfm","gio_id","d_$basic_userId"\n,"603542","C001"\n',
            [CDPRow("603542", {"d_$basic_userId": "C001"}, {"tag_rfm": None})],
        ),
        ('“gio_id"\n"603542"\n"605419"\n', [CDPRow("603542"), CDPRow("605419")]),
        (
            '"gio_id","用户ID","性别"\n1,"C001","男"\n',
            [CDPRow("1", {}, {"用户ID": "C001", "性别": "男"})],
        ),
    ],
)
def test_csv_becomes_the_same_rows(text, rows):
    assert read(text.encode(), CDPRow) == rows


def test_a_file_without_gio_id_or_with_two_columns_of_a_name_has_no_such_rows():
    with pytest.raises(RecordError, match="column gio_id: the file has no column of this name"):
        read(b"a\n1\n", CDPRow)
    with pytest.raises(RecordError, match="column x: the header has more than one column of this name"):
        read(b"gio_id,x,x\n1,2,3\n", CDPRow)


def test_a_column_is_found_whatever_its_prefix():
    columns = ["gio_id", "d_$basic_userId", "ids_mail", "id_mail", "usr_gender"]
    assert find_column(columns, "gio_id") == "gio_id"
    for wanted in ("id_$basic_userId", "ids_$basic_userId", "d_$basic_userId", "$basic_userId"):
        assert find_column(columns, wanted) == "d_$basic_userId"
    assert find_column(columns, "ids_mail") == "ids_mail"
    assert find_column(columns, "mail") == find_column(columns, "d_mail") == "id_mail"
    assert find_column(columns, "usr_age") is None


def test_the_fields_of_a_type_find_their_columns_so_too():
    class User(msgspec.Struct):
        user: str = msgspec.field(name="ids_$basic_userId")

    assert read(b'"gio_id","d_$basic_userId"\n"603542","C001"\n', User) == [User("C001")]


def test_values_of_an_identity_are_a_list_however_they_came():
    row = CDPRow("1", {"id_a": "x", "ids_b": ["m1", 3], "id_c": None, "id_d": "m1||m2"})
    assert row.identities("a") == ["x"]
    assert row.identities("b") == ["m1", "3"]
    assert row.identities("c") == row.identities("z") == []
    assert row.identities("d") == ["m1||m2"]
    assert row.identities("d", separator="||") == ["m1", "m2"]
