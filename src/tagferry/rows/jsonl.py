"""JSON Lines: blocks of bytes in, rows out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec

from tagferry.rows.fault import Fault, Faults
from tagferry.rows.lines import LARGE, Lines

__all__ = ["JsonLines", "RowDecoder"]

T = TypeVar("T")

_BORDER = "\x7f"
"""Put between records as a record of its own. The check for it is quick, and hardly a file has it."""
_LINE_END = b',"%b",' % _BORDER.encode()
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises about bytes that are no record of the type."""
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
        self._many: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(
            list[wanted | Literal["\x7f"]], strict=False
        )

    def one(self, line: bytes) -> T:
        """Return the row of a line, or raise what the decoder raises."""
        return self._one.decode(line)

    def many(self, block: bytes) -> list[T] | None:
        """Return the rows of whole lines, or None unless each of them is one good record."""
        if _BORDER.encode() in block:
            return None
        lines = block.removesuffix(b"\n")
        marked = lines.replace(b"\n", _LINE_END)
        try:
            found = self._many.decode(b"[%b]" % marked)
        except _BAD:
            return None
        borders = (len(marked) - len(lines)) // (len(_LINE_END) - 1)
        # Each line end is a border, and there is no border but at a line end.
        if len(found) == 2 * borders + 1 and found[1::2] == [_BORDER] * borders:
            return found[::2]
        return None


class JsonLines(Generic[T]):
    """Decodes JSON Lines as they come; any split of the bytes gives the same rows.

    A line ends at LF only. Blank lines are skipped.

    A block of lines is decoded by one call, as an array in which marks stand for the line ends. That is as
    fast as the decoder's own mode for lines, which takes more than lines: records side by side, and records
    that go over line ends.

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
