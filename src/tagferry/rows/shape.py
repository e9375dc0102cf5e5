"""What values of a column have in common: the narrowest type that holds all of them without loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

import msgspec

__all__ = ["EMPTY", "Shape", "fit", "shape_of", "shape_of_type", "widen"]

Kind = Literal["null", "bool", "int", "long", "float", "date", "text", "json"]
_LONG = 2**63
_EXACT = 2**53
"""Whole numbers up to it are exact as floats."""


class Shape(msgspec.Struct, frozen=True):
    """The type of a column: that of a value, or of the values in lists."""

    kind: Kind
    many: bool = False


EMPTY = Shape("null")
_JSON = Shape("json")
_NUMBERS: dict[frozenset[Kind], Kind] = {
    frozenset({"int", "long"}): "long",
    frozenset({"int", "float"}): "float",
}
_PLAIN: dict[type[Any], Kind] = {type(None): "null", bool: "bool", float: "float", str: "text"}


def shape_of(values: Sequence[Any]) -> Shape:
    """Return what JSON values have in common."""
    shape = EMPTY
    for kind in set(map(type, values)):
        shape = widen(shape, _shape_of_kind(kind, values))
    return shape


def _shape_of_kind(kind: type[Any], values: Sequence[Any]) -> Shape:
    if kind is int:
        numbers = [value for value in values if type(value) is int]
        return Shape(_whole(min(numbers), max(numbers)))
    if kind is list:
        lists: list[list[Any]] = [value for value in values if type(value) is list]
        inner = shape_of(list(chain.from_iterable(lists)))
        return _JSON if inner.many or inner.kind == "json" else Shape(inner.kind, many=True)
    return Shape(_PLAIN.get(kind, "json"))


def _whole(low: int, high: int) -> Kind:
    if low >= -_EXACT and high <= _EXACT:
        return "int"
    return "long" if low >= -_LONG and high < _LONG else "text"


def widen(one: Shape, other: Shape) -> Shape:
    """Return the narrowest shape that holds both: text holds all single values, and JSON holds anything."""
    if other in {one, EMPTY}:
        return one
    if one == EMPTY:
        return other
    if one.many != other.many or "json" in {one.kind, other.kind}:
        return _JSON
    kinds: frozenset[Kind] = frozenset({one.kind, other.kind})
    if "null" in kinds:
        (kind,) = kinds - {"null"}
        return Shape(kind, one.many)
    return Shape(_NUMBERS.get(kinds, "text"), one.many)


def shape_of_type(kind: msgspec.inspect.Type) -> Shape:
    """Return the shape of all values that a field of a type can have."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            shape = EMPTY
            for one in types:
                shape = widen(shape, shape_of_type(one))
            return shape
        case (
            msgspec.inspect.ListType(item_type=item)
            | msgspec.inspect.VarTupleType(item_type=item)
            | msgspec.inspect.SetType(item_type=item)
            | msgspec.inspect.FrozenSetType(item_type=item)
        ):
            inner = shape_of_type(item)
            return _JSON if inner.many or inner.kind == "json" else Shape(inner.kind, many=True)
        case msgspec.inspect.NoneType():
            return EMPTY
        case msgspec.inspect.BoolType():
            return Shape("bool")
        case msgspec.inspect.IntType():
            return Shape("long")
        case msgspec.inspect.FloatType():
            return Shape("float")
        case msgspec.inspect.DateType():
            return Shape("date")
        case (
            msgspec.inspect.AnyType()
            | msgspec.inspect.DictType()
            | msgspec.inspect.StructType()
            | msgspec.inspect.TupleType()
        ):
            return _JSON
        case _:
            return Shape("text")


def fit(values: Sequence[Any], shape: Shape) -> Sequence[Any]:
    """Return values in the form that a shape has."""
    if shape.kind == "text" and not shape.many:
        return values if set(map(type, values)) <= {str, type(None)} else [_text(value) for value in values]
    if shape.kind == "text":
        return [None if value is None else list(map(_text, value)) for value in values]
    if shape.kind == "json":
        return [None if value is None else msgspec.json.encode(value).decode() for value in values]
    if shape.many:
        return [None if value is None else list(value) for value in values]
    return values


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    plain = msgspec.to_builtins(value)
    return plain if type(plain) is str else msgspec.json.encode(plain).decode()
