"""Outcomes as lines of a file: JSON Lines or CSV for answers, JSON Lines for dead letters.

A table is made of JSON Lines when all answers are there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

import msgspec

from tagferry.errors import ConfigError
from tagferry.lookups.outcome import AccountFailed, Answers, Outcome, Tagged

__all__ = ["Chunk", "Format", "find_format", "render"]

_ENCODER = msgspec.json.Encoder()


class _DeadLetter(msgspec.Struct, frozen=True):
    """The line of an account that the service would not answer for."""

    account: str
    code: int | str | None
    message: str


Answered = Sequence[Outcome]
"""None of them failed."""


class Format(msgspec.Struct, frozen=True):
    """How answers are written to a file."""

    name: str
    head: bytes
    """The beginning of a file."""
    encode: Callable[[Answered], bytes]
    is_table: bool = False
    """Whether the lines are only what a table is made of."""


class Chunk(msgspec.Struct, frozen=True):
    """The lines of one batch, and what is in them."""

    answers: bytes
    dead: bytes
    tagged: int
    missing: int
    failed: int


def render(answers: Answers, form: Format) -> Chunk:
    """Turn the outcomes of a batch into the lines that are written for them."""
    outcomes, dead = answers.outcomes, b""
    if answers.failed:
        failed = [one for one in outcomes if isinstance(one, AccountFailed)]
        outcomes = [one for one in outcomes if not isinstance(one, AccountFailed)]
        letters = [_DeadLetter(one.account, one.error.code, one.error.message) for one in failed]
        dead = _ENCODER.encode_lines(letters)
    tagged = len(outcomes) - answers.missing
    return Chunk(form.encode(outcomes), dead, tagged, answers.missing, answers.failed)


def find_format(path: PurePath) -> Format:
    """Return the format that the ending of an output's name stands for.

    Raises:
        ConfigError: It stands for none.
    """
    if form := _FORMATS.get(path.suffix.lower()):
        return form
    ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
    *others, last = _FORMATS
    hint = f"choose a name that ends in {', '.join(others)} or {last}"
    raise ConfigError(f"the output {path.name} {ending}", hint=hint)


def _encode_csv(answered: Answered) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(_cells(answered))
    return text.getvalue().encode()


def _cells(answered: Answered) -> Iterable[tuple[str, str]]:
    for one in answered:
        # Tags are JSON in their cell, and an empty cell is an account that the service does not know.
        tags = _ENCODER.encode(one.tags).decode() if isinstance(one, Tagged) else ""
        yield one.account, tags


_FORMATS = {
    ".jsonl": Format("jsonl", b"", _ENCODER.encode_lines),
    ".csv": Format("csv", b"account,tags\n", _encode_csv),
    ".parquet": Format("parquet", b"", _ENCODER.encode_lines, is_table=True),
}
