import datetime as dt
import enum
import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError
from tagferry.rows.layout import Survey, layout_of_header, layout_of_type
from tagferry.rows.shape import EMPTY, Shape, fit, shape_of, widen

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = SCALARS | st.text(max_size=4) | st.lists(SCALARS | st.text(max_size=3), max_size=3)
VALUES |= st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)


@pytest.mark.parametrize(
    ("values", "kind", "many"),
    [
        ([], "null", False),
        ([None], "null", False),
        ([True, None], "bool", False),
        ([1, 2], "int", False),
        ([2**60, 1], "long", False),
        ([2**63, 1], "text", False),
        ([1, 2.5], "float", False),
        ([2**60, 2.5], "text", False),
        ([1, "1"], "text", False),
        ([True, 1], "text", False),
        (["a", ["a"]], "json", False),
        ([{"a": 1}], "json", False),
        ([["a"], None, []], "text", True),
        ([[]], "null", True),
        ([[1], [2.5]], "float", True),
        ([[1], ["a"]], "text", True),
        ([[[1]]], "json", False),
        ([[{}]], "json", False),
        ([[None]], "null", True),
    ],
)
def test_the_narrowest_shape_is_found(values, kind, many):
    assert shape_of(values) == Shape(kind, many)


@given(parts=st.lists(st.lists(VALUES, max_size=4), max_size=4))
def test_shapes_of_parts_make_the_shape_of_the_whole(parts):
    shape = EMPTY
    for part in parts:
        shape = widen(shape, shape_of(part))
    assert shape == shape_of([value for part in parts for value in part])


@given(one=st.lists(VALUES, max_size=3), other=st.lists(VALUES, max_size=3))
def test_widening_has_no_order(one, other):
    assert widen(shape_of(one), shape_of(other)) == widen(shape_of(other), shape_of(one))


@given(values=st.lists(VALUES, max_size=6))
def test_values_in_shape_say_what_they_said(values):
    shape = shape_of(values)
    for value, fitted in zip(values, fit(values, shape), strict=True):
        if value is None:
            assert fitted is None
        elif shape.kind == "json":
            assert json.loads(fitted) == value
        elif shape.many:
            assert [said(one) for one in fitted] == [said(one) for one in value]
        else:
            assert said(fitted) == said(value)


def said(value):
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def test_columns_of_cdp_are_those_of_its_csv():
    survey = Survey()
    survey.add([{"gio_id": 1, "identifications": {"id_a": "x"}, "properties": {"usr_g": None}}])
    survey.add([{"gio_id": 2}, {"gio_id": "3", "identifications": None, "properties": {"tag_t": 1}}])
    layout = survey.layout()
    assert [(column.name, column.shape.kind) for column in layout.columns] == [
        ("gio_id", "text"),
        ("id_a", "text"),
        ("usr_g", "text"),
        ("tag_t", "int"),
    ]
    rows = [{"gio_id": 1, "identifications": {"id_a": "x"}, "properties": None}, {"gio_id": "2"}]
    assert layout.values(rows) == [["1", "2"], ["x", None], [None, None], [None, None]]


def test_maps_that_are_no_maps_and_names_that_clash_lose_nothing():
    survey = Survey()
    rows = [
        {"gio_id": 1, "identifications": {"x": "a"}, "properties": {"x": 2}},
        {"gio_id": 2, "properties": "odd"},
    ]
    survey.add(rows)
    layout = survey.layout()
    assert [column.name for column in layout.columns] == [
        "gio_id",
        "identifications.x",
        "properties.x",
        "properties",
    ]
    assert layout.values(rows) == [[1, 2], ["a", None], [2, None], [None, "odd"]]
    survey.add([{"identifications.x": 1}])
    with pytest.raises(ConfigError, match=r"two columns would have the name identifications\.x"):
        survey.layout()


def test_other_maps_stay_values():
    survey = Survey()
    survey.add([{"properties": {"a": 1}}])
    layout = survey.layout()
    assert layout.values([{"properties": {"a": 1}}, {}]) == [['{"a":1}', None]]


def test_tags_are_lists_even_if_nobody_has_any():
    survey = Survey()
    survey.add([{"account": "a", "tags": None}, {"account": "b"}])
    assert survey.layout().columns[1].shape == Shape("text", many=True)


def test_a_header_makes_columns_of_text():
    assert [column.shape.kind for column in layout_of_header(["a", "b"]).columns] == ["text", "text"]


class Colour(enum.Enum):
    RED = "red"


class Inner(msgspec.Struct):
    a: int


class Wide(msgspec.Struct):
    key: str = msgspec.field(name="id_$key")
    whole: int | None = None
    real: float = 0.5
    either: int | float = 1.5
    mixed: int | str = 1
    flag: bool = True
    day: dt.date | None = None
    time: dt.datetime | None = None
    tags: list[str] | None = None
    some: tuple[int, ...] = ()
    deep: list[list[int]] = []
    inner: Inner | None = None
    map: dict[str, int] = {}
    any: Any = None
    colour: Colour = Colour.RED
    word: Literal["a", "b"] = "a"
    unique: frozenset[str] = frozenset()
    nothing: None = None


def test_fields_of_a_type_make_columns():
    layout = layout_of_type(Wide)
    shapes = {column.name: (column.shape.kind, column.shape.many) for column in layout.columns}
    assert shapes == {
        "id_$key": ("text", False),
        "whole": ("long", False),
        "real": ("float", False),
        "either": ("text", False),
        "mixed": ("text", False),
        "flag": ("bool", False),
        "day": ("date", False),
        "time": ("text", False),
        "tags": ("text", True),
        "some": ("long", True),
        "deep": ("json", False),
        "inner": ("json", False),
        "map": ("json", False),
        "any": ("json", False),
        "colour": ("text", False),
        "word": ("text", False),
        "unique": ("text", True),
        "nothing": ("text", False),
    }
    row = Wide(
        "k",
        7,
        day=dt.date(2026, 1, 2),
        time=dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC),
        inner=Inner(1),
        some=(1, 2),
    )
    values = dict(zip(shapes, [one for (one,) in layout.values([row])], strict=True))
    assert values["day"] == dt.date(2026, 1, 2)
    assert values["time"] == "2026-01-02T03:00:00Z"
    assert (values["inner"], values["colour"], values["either"], values["some"]) == (
        '{"a":1}',
        "red",
        "1.5",
        [1, 2],
    )
    with pytest.raises(ConfigError, match="rows of the type int make no table"):
        layout_of_type(int)


def test_lists_that_were_empty_so_far_take_the_kind_of_others():
    for one, other in (([], [1]), ([1], [])):
        assert widen(shape_of([one]), shape_of([other])) == Shape("int", many=True)
    assert widen(shape_of([[]]), shape_of([[[]]])) == Shape("json")
