"""How words of the command line become values; who writes a wrong one is told a right one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cyclopts import Token

__all__ = [
    "number",
    "per_second",
    "read_deadline",
    "read_file",
    "read_input",
    "read_level",
    "read_path",
    "read_place",
    "read_property",
    "read_seconds",
    "read_text",
    "whole",
]

Converter = Callable[[Any, Sequence[Token]], Any]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def whole(least: int, most: int, example: int) -> Converter:
    """Return a converter of whole numbers within bounds."""

    def convert(_: object, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        if (count := _read_whole(text, least, most)) is not None:
            return count
        raise ValueError(f"{text!r} is no whole number from {least} to {most}; write {example}, for example")

    return convert


def number(least: float, example: str) -> Converter:
    """Return a converter of finite numbers that are not below a bound."""

    def convert(_: object, tokens: Sequence[Token]) -> float:
        text = tokens[0].value
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value >= least:
            return value
        raise ValueError(f"{text!r} is no number of {least:g} or more; write {example}, for example")

    return convert


def per_second(least: int, most: int) -> Converter:
    """Return a converter of whole numbers a second within bounds, like ``50/s``; the unit may be left out."""

    def convert(_: object, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        if (count := _read_whole(text.removesuffix("/s"), least, most)) is not None:
            return count
        raise ValueError(f"{text!r} is no rate from {least}/s to {most}/s; write 50/s, for example")

    return convert


def _read_whole(text: str, least: int, most: int) -> int | None:
    # Short enough for int(), which is slow on long digits.
    if text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most:
        return int(text)
    return None


def read_seconds(_: object, tokens: Sequence[Token]) -> float:
    """Read a duration: seconds, or a number with the unit s, m or h."""
    text = tokens[0].value
    try:
        value = float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value > 0:
        return value
    raise ValueError(f"{text!r} is no duration above 0; write 90, 90s, 30m or 2h, for example")


def read_deadline(type_: object, tokens: Sequence[Token]) -> float | None:
    """Read a duration, or the word ``none``."""
    return None if tokens[0].value == "none" else read_seconds(type_, tokens)


def read_level(_: object, tokens: Sequence[Token]) -> str:
    """Read a log level in any case."""
    levels = ("debug", "info", "warning", "error")
    text = tokens[0].value
    if text.lower() in levels:
        return text.lower()
    raise ValueError(f"{text!r} is no log level; choose from {', '.join(levels)}")


def read_text(_: object, tokens: Sequence[Token]) -> str:
    """Read a text that is not empty."""
    if tokens[0].value.strip():
        return tokens[0].value
    raise ValueError("the value is empty; leave the option out, or write a value behind it")


def read_input(_: object, tokens: Sequence[Token]) -> str:
    """Read the name of a file, or ``-`` for a standard stream; what looks like an option is a mistake."""
    text = read_text(_, tokens)
    if text.startswith("-") and text != "-":
        raise ValueError(f"there is no option {text} at this place; for a file of that name, write ./{text}")
    return text


def read_file(_: object, tokens: Sequence[Token]) -> Path:
    """Read a path, or ``-`` for a standard stream."""
    return Path(read_input(_, tokens)).expanduser()


def read_path(_: object, tokens: Sequence[Token]) -> Path:
    """Read a path that is not empty; ``~`` is the home directory, as the shell has it."""
    return Path(read_text(_, tokens)).expanduser()


def read_place(_: object, tokens: Sequence[Token]) -> Path:
    """Read a path where files are to be made, which no standard stream is."""
    path = read_file(_, tokens)
    if str(path) == "-":
        raise ValueError("nothing of this is written to standard output; give a place on the disk")
    return path


def read_property(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Read the keys of properties, one for each time the option is there."""
    return tuple(read_text(_, [token]) for token in tokens)
