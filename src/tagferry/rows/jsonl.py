"""JSON Lines: blocks of bytes in, rows out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from tagferry.rows.fault import Fault, Faults
from tagferry.rows.lines import LARGE, Lines

__all__ = ["JsonLines", "RowDecoder"]

T = TypeVar("T")

_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises about bytes that are no record of the type."""
_KEY = 16
_PATH = re.compile(r"(?s)(.*?) - at `(?:key in )?(.*)`\Z")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")


class RowDecoder(Generic[T]):
    """Decodes rows of one type, one by one and many at once.

    Args:
        wanted: The type of a row.

    Raises:
        TypeError: JSON cannot become such a type.
    """

    def __init__(self, wanted: Any) -> None:
        # Numbers may come as texts: the service documents both, and in CSV there is nothing else.
        self._one: msgspec.json.Decoder[T] = msgspec.json.Decoder(wanted, strict=False)

    def one(self, line: bytes) -> T:
        """Return the row of a line, or raise what the decoder raises."""
        return self._one.decode(line)

    def many(self, block: bytes) -> list[T] | None:
        """Return the rows of lines, or None unless each of them is certainly one good record.

        The decoder takes more than lines: records side by side, and records that go over line ends. But
        where every line end has a record's end before it and another's begin behind it, no record goes on
        there: two values stand side by side nowhere else. So each line has one record at least, and there
        are no more when there are as many as lines.
        """
        # Much faster than to count them.
        lines = len(block.replace(b"\n", b"\n\n")) - len(block) + (not block.endswith(b"\n"))
        if not _is_bordered(block, lines):
            return None
        try:
            found = self._one.decode_lines(block)
        except _BAD:
            return None
        return found if len(found) == lines else None


def _is_bordered(block: bytes, lines: int) -> bool:
    """Tell whether each line but the last ends an object, and the next one begins one."""
    # Mostly all have the same key first, and long patterns are found faster.
    key = block[: min(block.find(b":"), _KEY)]
    if key.startswith(b"{") and block.count(b"}\n" + key) == lines - 1:
        return True
    return block.count(b"}\n{") + block.count(b"}\r\n{") == lines - 1


class JsonLines(Generic[T]):
    """Decodes JSON Lines as they come; any split of the bytes gives the same rows.

    A line ends at LF only. Blank lines are skipped.

    A block of lines is decoded by one call. Only a bad one, or one that is not certain, is looked at line by
    line.

    Args:
        decoder: Decodes rows.
        faults: Takes the bad lines. Once it has a failure nothing more may be fed.
        file: The file's name, for errors.
        limit: The most bytes that a line may have.
    """

    def __init__(self, decoder: RowDecoder[T], faults: Faults, file: Path, *, limit: int) -> None:
        self._decoder = decoder
        self._faults = faults
        self._file = file
        self._limit = limit
        self._lines = Lines()
        self._done = 0
        self._one_by_one = False

    @property
    def is_slow(self) -> bool:
        """Whether the next block may take long."""
        return self._one_by_one or self._lines.pending > LARGE

    def feed(self, block: bytes) -> list[T]:
        """Return the rows that the next bytes complete."""
        rows: list[T] = []
        if self._decode(self._lines.feed(block), rows) and self._lines.pending > self._limit:
            self._refuse_begun()
        return rows

    def finish(self) -> list[T]:
        """Return the row of a last line without a line end."""
        rows: list[T] = []
        self._decode(self._lines.finish(), rows)
        return rows

    def _decode(self, block: bytes, rows: list[T]) -> bool:
        if not block:
            return True
        self._one_by_one = False
        found = self._decoder.many(block) if len(block) <= self._limit else None
        if found is not None:
            self._done += len(found)
            rows += found
            return True
        return self._decode_each(block, rows)

    def _decode_each(self, block: bytes, rows: list[T]) -> bool:
        """Decode line by line: half as fast, but it can tell which line is bad, or blank."""
        self._one_by_one = True
        for line in block.removesuffix(b"\n").split(b"\n"):
            self._done += 1
            if not line.strip(b" \t\r"):
                continue
            fault = None
            try:
                if len(line) <= self._limit:
                    rows.append(self._decoder.one(line))
                else:
                    fault = self._too_long()
            except _BAD as error:
                fault = _explain(self._done, line, error)
            if fault is not None and not self._faults.note(fault, self._file):
                return False
        return True

    def _refuse_begun(self) -> None:
        """Refuse the line that has begun: it need not be whole to be too long."""
        self._done += 1
        self._lines.drop()
        self._faults.note(self._too_long(), self._file)

    def _too_long(self) -> Fault:
        return Fault(self._done, f"the line has more than {self._limit} bytes", hint="raise max_record")


def _explain(line: int, text: bytes, error: Exception) -> Fault:
    if isinstance(error, UnicodeDecodeError):
        return Fault(line, "the line is not UTF-8", value=text)
    if isinstance(error, RecursionError):
        return Fault(line, "the line is nested too deeply", value=text)
    found = _PATH.match(str(error))
    if found is None:
        reason, path, value = str(error), None, text
    else:
        reason, path = found[1], found[2].removeprefix("$").removeprefix(".") or None
        value = _value_at(text, found[2])
    hint = "a file that is one JSON array has to become JSON Lines first" if text.startswith(b"[") else None
    return Fault(
        line, reason if reason.startswith("JSON") else reason[:1].lower() + reason[1:], path, value, hint
    )


def _value_at(text: bytes, path: str) -> bytes:
    """Return the JSON value at a path such as ``$.a[3].b``, or all of the text."""
    try:
        value: Any = msgspec.json.decode(text)
        for name, index in _STEP.findall(path):
            value = value[name] if name else value[int(index)]
        return msgspec.json.encode(value)
    except (*_BAD, LookupError, TypeError):
        return text
