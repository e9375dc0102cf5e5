"""Many CSV records at once, by the JSON decoder: most blocks of CSV are JSON but for the brackets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["Transcript"]

_BAD = (msgspec.MsgspecError, UnicodeDecodeError)
_BESIDE_QUOTES = ((b" ", (b'" ', b' "')), (b"\t", (b'"\t', b'\t"')), (b"]", (b'"]',)))
_MOST_SKIPPED = 64


class Transcript:
    """Decodes blocks of CSV that say the same as JSON: faster than the parser of CSV alone, and typed.

    A cell in quotes is a JSON string unless it has an escape, a quote or a control character. So each line
    becomes an array, and where nothing stands between two commas, null does. That a block is of this kind is
    told by what comes out: as many rows as lines, all of one width, and as many strings as pairs of quotes.

    Args:
        types: The type of each column. It has to take a text.
    """

    def __init__(self, types: Sequence[Any]) -> None:
        self._width = len(types)
        record: Any = tuple.__class_getitem__(tuple(types))
        self._decoder: msgspec.json.Decoder[list[tuple[Any, ...]]] = msgspec.json.Decoder(
            list[record], strict=False
        )
        self._skipped = self._skipping = 0

    def read(self, block: bytes) -> list[tuple[Any, ...]] | None:
        """Return the records of a block, or None unless each of its lines is one, and all are certain.

        None only says that another parser has to look.
        """
        # A file is mostly of one kind: where it was in vain, it is tried less and less.
        if self._skipping:
            self._skipping -= 1
            return None
        records = self._read(block)
        self._skipped = 0 if records is not None else min(2 * self._skipped + 1, _MOST_SKIPPED)
        self._skipping = self._skipped
        return records

    def _read(self, block: bytes) -> list[tuple[Any, ...]] | None:
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        if b"\\" in block or b"\r" in block or not block.endswith(b"\n"):
            return None
        return self._read_quoted(block) if b'"' in block else self._read_bare(block)

    def _read_bare(self, block: bytes) -> list[tuple[Any, ...]] | None:
        """Read a block without a quote: what is between separators is text."""
        text = block[:-1].replace(b",", b'","').replace(b"\n", b'"],["')
        text = b'[["%b"]]' % text
        if b'""' in text:
            if self._width == 1:
                # A blank line is no record.
                return None
            text = text.replace(b'""', b"null")
        return self._decode(text, block.count(b"\n"))

    def _read_quoted(self, block: bytes) -> list[tuple[Any, ...]] | None:
        """Read a block whose cells are in quotes, or empty.

        A line end or a separator inside quotes is text, and what is put in its place would spoil that. There
        is none if the brackets make as many rows as there are line ends, and where nulls are put in, if all
        separators are there to separate. Blanks and brackets between strings would count for nothing, so
        none may stand beside a quote.
        """
        lines = block.count(b"\n")
        cells = lines * self._width
        text, nulls = block, cells - block.count(b'"') / 2
        if nulls:
            text = _write_nulls(block)
            if len(text) - len(block) != 4 * nulls or block.count(b",") != cells - lines:
                return None
        for byte, pairs in _BESIDE_QUOTES:
            if byte in block and any(pair in block for pair in pairs):
                return None
        return self._decode(b"[[%b]]" % text[:-1].replace(b"\n", b"],["), lines)

    def _decode(self, text: bytes, lines: int) -> list[tuple[Any, ...]] | None:
        try:
            records = self._decoder.decode(text)
        except _BAD:
            return None
        return records if len(records) == lines else None


def _write_nulls(block: bytes) -> bytes:
    # Twice, for of a run of them it finds every other one.
    text = block.replace(b",,", b",null,").replace(b",,", b",null,")
    return (b"\n" + text).replace(b"\n,", b"\nnull,").replace(b",\n", b",null\n")[1:]
