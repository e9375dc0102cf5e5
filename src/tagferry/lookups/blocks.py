"""The text of a file of accounts, block by block: UTF-8 and whole lines, whatever it was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from tagferry.errors import RecordError
from tagferry.rows.compression import Plain
from tagferry.rows.encoding import Utf8
from tagferry.rows.lines import Lines

__all__ = ["line_blocks", "lines_of_text"]

_BLOCK = 256 * 1024
"""Measured: with blocks of 1 MiB, a text file takes a third more CPU, as they leave the cache."""
_LONGEST_LINE = 16 * 1024 * 1024


def line_blocks(file: BinaryIO, name: Path) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines in UTF-8, each with the number of its first line.

    Args:
        file: What is read.
        name: Its path, or what messages call it.

    Raises:
        RecordError: It is no text, or a line has no end.
        IntegrityError: It is cut or damaged.
    """
    lines, number = Lines(), 1
    for text in _texts(file, name):
        if block := lines.feed(text):
            yield number, block
            number += block.count(b"\n")
        if lines.pending > _LONGEST_LINE:
            msg = f"line {number} is longer than {_LONGEST_LINE} bytes"
            raise RecordError(msg, hint="is it a list with one record a line?")
    if rest := lines.finish():
        yield number, rest


def _texts(file: BinaryIO, name: Path) -> Iterator[bytes]:
    """Yield a file as UTF-8 without a byte order mark, unpacked and decoded if need be."""
    reader = io.BufferedReader(cast("io.RawIOBase", file), _BLOCK)
    plain, utf8 = Plain(name), Utf8(name)
    try:
        while block := reader.read(_BLOCK):
            yield from map(utf8.feed, plain.feed(block))
        yield from map(utf8.feed, plain.finish())
        yield utf8.finish()
    finally:
        # Who stops half-way may have closed the file by now.
        with suppress(ValueError):
            reader.detach()


def lines_of_text(file: BinaryIO, name: Path) -> Iterator[str]:
    """Yield the lines of a file with their ends, which are LF and nothing else."""
    for first, block in line_blocks(file, name):
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            number = first + block.count(b"\n", 0, error.start)
            raise RecordError(f"line {number} is not UTF-8", hint="save the file as UTF-8") from None
        yield from io.StringIO(text, newline="\n")
