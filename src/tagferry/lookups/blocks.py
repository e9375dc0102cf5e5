"""The text of a file of accounts, block by block: UTF-8 and whole lines, whatever it was."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import BinaryIO, cast

from tagferry.errors import RecordError

__all__ = ["line_blocks", "lines_of_text"]

_BLOCK = 256 * 1024
"""Measured: with blocks of 1 MiB, a text file takes a third more CPU, as they leave the cache."""
_LONGEST_LINE = 16 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def line_blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines in UTF-8, each with the number of its first line."""
    number, tail = 1, b""
    for block in _utf8_blocks(file):
        text = tail + block
        end = text.rfind(b"\n") + 1
        tail = text[end:]
        if end:
            lines = text[:end]
            yield number, lines
            number += lines.count(b"\n")
        if len(tail) > _LONGEST_LINE:
            msg = f"line {number} is longer than {_LONGEST_LINE} bytes"
            raise RecordError(msg, hint="is it a list with one record a line?")
    if tail:
        yield number, tail


def _utf8_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file as UTF-8 without a byte order mark, unpacked if it is gzip, decoded if it is UTF-16."""
    reader = io.BufferedReader(cast("io.RawIOBase", file), _BLOCK)
    try:
        # No account begins like a gzip file, so what it is called does not matter.
        packed = reader.peek(len(_GZIP)).startswith(_GZIP)
        stream = gzip.GzipFile(fileobj=reader, mode="rb") if packed else reader
        first = stream.read(_BLOCK)
        if encoding := _UTF16.get(first[:2]):
            yield from _from_utf16(chain([first[2:]], iter(lambda: stream.read(_BLOCK), b"")), encoding)
            return
        yield first.removeprefix(codecs.BOM_UTF8)
        while block := stream.read(_BLOCK):
            yield block
    finally:
        # Who stops half-way may have closed the file by now.
        with suppress(ValueError):
            reader.detach()


def _from_utf16(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    for block in chain(blocks, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            number += error.object[: error.start].decode(encoding).count("\n")
            msg = f"line {number} is not UTF-16"
            raise RecordError(msg, hint="is the file cut? save it as UTF-8") from None
        number += text.count("\n")
        yield text.encode()


def lines_of_text(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file with their ends, which are LF and nothing else."""
    for first, block in line_blocks(file):
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            number = first + block.count(b"\n", 0, error.start)
            raise RecordError(f"line {number} is not UTF-8", hint="save the file as UTF-8") from None
        yield from io.StringIO(text, newline="\n")
