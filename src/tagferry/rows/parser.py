"""Many CSV records at once, by the parser of the standard library."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Sequence
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from tagferry.rows.binding import QUOTED_EMPTY, BadCell, Binding
from tagferry.rows.dialect import Dialect
from tagferry.rows.lines import count_lines

if TYPE_CHECKING:
    import _csv

__all__ = ["Parser"]

T = TypeVar("T")

_EMPTY = '""'
_MARK = f'"{QUOTED_EMPTY}"'


class Parser(Generic[T]):
    """Makes rows of a text's records.

    Args:
        dialect: The dialect of the text.
        binding: Makes rows of records.
    """

    def __init__(self, dialect: Dialect, binding: Binding[T]) -> None:
        self._binding = binding
        delimiter = re.escape(dialect.delimiter)
        self._dialect = dialect
        # The literal comes first, for it is what a search is quick to find.
        self._empty = re.compile(rf'""(?<![^{delimiter}\r\n]"")(?![^{delimiter}\r\n])')
        self._doubtful = None
        if dialect.escape is not None:
            self._doubtful = re.compile(rf'{re.escape(dialect.escape)}[{delimiter}\r\n]""')

    def transcribe(self, block: bytes) -> list[T] | None:
        """Return the rows of a block of lines, if each line is a record and there is a fast way."""
        return self._binding.transcribe(block) if self._dialect.delimiter == "," else None

    def parse(self, text: str) -> tuple[list[T], int, int]:
        """Return the rows of the first records of a text, where the next one begins, and the lines before it.

        It stops before a record that is not whole, that is malformed, or that has a cell too long for it; and
        it returns nothing at all when one of the records makes no row.
        """
        marked = self._mark(text) if self._binding.tells_nulls else text
        if marked is None:
            return [], 0, 0
        rows: list[T] = []
        reader = self._reader(StringIO(marked, newline=""))
        try:
            whole = self._binding.read(reader, rows, marked=marked is not text)
        except (TypeError, ValueError, msgspec.ValidationError):
            return [], 0, 0
        if whole:
            return rows, len(text), reader.line_num
        done = self._position(text, marked, len(rows))
        return rows, done, count_lines(text, 0, done)

    def row(self, cells: Sequence[str | None]) -> T | BadCell:
        """Return the row of one record, or what is wrong with it."""
        return self._binding.row(cells)

    def _position(self, text: str, marked: str, records: int) -> int:
        """Return where the record behind some others begins: they are parsed again, and counted."""
        source = StringIO(marked, newline="")
        deque(islice(self._reader(source), records), maxlen=0)
        rest = marked[source.tell() :]
        # A text with marks of its own is not marked.
        return len(text) - len(rest if marked is text else rest.replace(_MARK, _EMPTY))

    def _reader(self, source: StringIO) -> _csv.Reader:
        dialect = self._dialect
        return csv.reader(source, delimiter=dialect.delimiter, escapechar=dialect.escape, strict=True)

    def _mark(self, text: str) -> str | None:
        """Mark empty cells in quotes, which the parser does not tell from those without; None is a refusal.

        Inside a quoted cell the same two quotes may stand between the same neighbours. Marking them there
        puts the mark right behind a closing quote, which the strict parser refuses.
        """
        if _EMPTY not in text:
            return text
        if QUOTED_EMPTY in text or (self._doubtful is not None and self._doubtful.search(text)):
            return None
        return self._empty.sub(_MARK, text)
