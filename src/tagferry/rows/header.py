"""The header of a CSV file: what it names, and what it tells of the dialect."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tagferry.rows.dialect import Dialect, guess_dialect
from tagferry.rows.scanner import Scanner

__all__ = ["Header", "find_header"]

_CURLY = ("“", "”")


class Header(NamedTuple):
    """The first record of a file that is no blank line."""

    names: tuple[str, ...]
    dialect: Dialect
    begin: int
    end: int
    """Where the next record begins."""
    problem: str | None = None


def find_header(text: str, dialect: Dialect | None, *, final: bool) -> Header | None:
    """Return the header of a text, or None if it is not all there yet.

    Args:
        text: The beginning of a file.
        dialect: None is told from the header. The delimiter always is: a header of one column with tabs in it
            is that of a file with tabs.
        final: Whether the file ends where the text ends.
    """
    begin = len(text) - len(text.lstrip("\r\n"))
    if begin == len(text):
        return None
    dialect = guess_dialect(text[begin:]) if dialect is None else dialect
    record = Scanner(dialect).record(text, begin, final=final)
    if record is not None and len(record.cells) == 1 and "\t" in (record.cells[0] or ""):
        dialect = msgspec.structs.replace(dialect, delimiter="\t")
        record = Scanner(dialect).record(text, begin, final=final)
    if record is None:
        return None
    names = tuple(_clean(cell or "") for cell in record.cells)
    return Header(names, dialect, begin, record.end, record.problem)


def _clean(name: str) -> str:
    """Take off curly quotes, which a page of the service shows around a header; in data they are data."""
    return name.strip('“”"') if name.startswith(_CURLY) or name.endswith(_CURLY) else name
