"""CSV records, one by one, with where they begin and what is wrong with them.

This is the slow twin of the standard library's parser in strict mode, and takes the same texts in the same
way. It can say three things that the other one cannot: whether an empty cell was quoted, how long a bad
record is, and what stands in a cell of more than 131,072 characters (the other one's limit is global to the
process, so it is not ours to change).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tagferry.rows.dialect import Dialect

__all__ = ["Record", "Scanner"]

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_BYTES = re.compile("[\udc80-\udcff]")


class Record(NamedTuple):
    """One record of a text."""

    cells: list[str | None]
    """None is an empty cell without quotes; no cells are a blank line."""
    end: int
    """Where the next record begins."""
    problem: str | None = None
    value: str | None = None
    """What the problem is about."""


class Scanner:
    """Finds records of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._delimiter = dialect.delimiter
        self._escape = dialect.escape
        no_bare = re.escape(dialect.delimiter) + "\r\n"
        if dialect.escape is None:
            self._quoted = re.compile(r'"((?:[^"]++|"")*+)"')
            self._bare = re.compile(f"[^{no_bare}]*+")
        else:
            escape = re.escape(dialect.escape)
            self._quoted = re.compile(rf'"((?:[^"{escape}]++|{escape}[\s\S]|"")*+)"')
            self._bare = re.compile(rf"(?:[^{no_bare}{escape}]++|{escape}[\s\S])*+")
            self._escaped = re.compile(rf'{escape}([\s\S])|"(")')
            self._escaped_bare = re.compile(rf"{escape}([\s\S])")

    def record(self, text: str, begin: int, *, final: bool) -> Record | None:
        """Return the record that begins somewhere, or None if its end is not there yet.

        Args:
            text: The text.
            begin: Where the record begins.
            final: Whether the file ends where the text ends.
        """
        cells: list[str | None] = []
        after = begin - 1
        while after < begin or text.startswith(self._delimiter, after):
            cell, after = self._cell(text, after + 1)
            if after < 0:
                return None
            cells.append(cell)
        line_end = _LINE_END.match(text, after)
        if line_end is None and after < len(text):
            return _bad(text, begin, after)
        if line_end is None and not final:
            return None
        return _good(text, begin, after if line_end is None else line_end.end(), cells)

    def _cell(self, text: str, begin: int) -> tuple[str | None, int]:
        """Return the cell that begins somewhere and where it ends; that is -1 if it is not there yet."""
        if text.startswith('"', begin):
            found = self._quoted.match(text, begin)
            return (None, -1) if found is None else (self._unquote(found[1]), found.end())
        found = self._bare.match(text, begin)
        assert found is not None, "it matches nothing as well"
        if self._escape is None:
            return found[0] or None, found.end()
        # An escape needs what follows, and an escaped line end the line that it joins.
        waits = found[0].endswith(("\r", "\n")) and found.end() == len(text)
        if waits or text.startswith(self._escape, found.end()):
            return None, -1
        return self._escaped_bare.sub(r"\1", found[0]) or None, found.end()

    def _unquote(self, inner: str) -> str:
        if self._escape is None:
            return inner.replace('""', '"')
        return self._escaped.sub(lambda match: match[1] or match[2], inner)


def _good(text: str, begin: int, end: int, cells: list[str | None]) -> Record:
    if _BYTES.search(text, begin, end):
        return Record(cells, end, "the record is not UTF-8", text[begin:end])
    return Record([] if cells == [None] else cells, end)


def _bad(text: str, begin: int, at: int) -> Record:
    line = _LINE.match(text, at)
    assert line is not None, "it matches nothing as well"
    return Record([], line.end(), "a quoted cell goes on behind its closing quote", text[begin:at])
