"""One file, from its bytes to rows, whatever its compression, encoding and format. Pure: bytes are pushed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from tagferry.errors import RecordError
from tagferry.rows.compression import Plain
from tagferry.rows.delimited import Delimited
from tagferry.rows.encoding import Utf8
from tagferry.rows.fault import Faults
from tagferry.rows.jsonl import JsonLines
from tagferry.rows.options import DIALECTS, SLICE, ReadOptions

__all__ = ["RowFeed"]

T = TypeVar("T")

_JSON = (".json", ".jsonl", ".ndjson")
_LOOK = 64 * 1024
"""Bytes in which something has to stand that tells the format."""


class RowFeed(Generic[T]):
    """Takes the bytes of one file as they are read, or written, and gives its rows.

    Exhaust each iterator before the next call.

    Args:
        options: What is to be read.
        faults: What is done about bad records.
        file: The file's name: it goes into errors, and its ending may tell the format.
        after: The feed of the part before this one.
    """

    def __init__(
        self, options: ReadOptions[T], faults: Faults, file: Path, *, after: RowFeed[T] | None = None
    ) -> None:
        self._options = options
        self._faults = faults
        self._file = file
        self.header: Sequence[str] | None = after.header if after else None
        """The names of a CSV file's columns, as soon as they are known."""
        self.is_csv: bool | None = after.is_csv if after else None
        """Whether the file is CSV and not JSON Lines, as soon as that is known."""
        self._plain = Plain(file)
        self._utf8 = Utf8(file, options.encoding)
        self._head = b""
        self._decoder: JsonLines[T] | Delimited[T] | None = None

    @property
    def is_slow(self) -> bool:
        """Whether the next piece may take long: a record is large, or records are looked at one by one."""
        return self._decoder is not None and self._decoder.is_slow

    def feed(self, block: bytes) -> Iterator[list[T]]:
        """Yield the rows that the next bytes complete: a list for every few KiB, which may be empty.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were given.
            IntegrityError: The file is damaged.
        """
        for plain in self._plain.feed(block):
            yield from self._push(self._utf8.feed(plain))

    def finish(self) -> Iterator[list[T]]:
        """Yield the rows that the end of the file completes.

        Raises:
            RecordError: A record cannot be decoded; the rows before it were given.
            IntegrityError: The file is cut or damaged.
        """
        for plain in self._plain.finish():
            yield from self._push(self._utf8.feed(plain))
        yield from self._push(self._utf8.finish())
        if self._decoder is not None:
            yield from self._checked(self._decoder.finish())

    def _push(self, text: bytes) -> Iterator[list[T]]:
        if self._decoder is None:
            text = self._head = self._head + text
            if len(text) < _LOOK and not text.strip():
                return
            self._decoder = self._choose(text)
            self._head = b""
        size = self._options.csv_slice if self.is_csv else SLICE
        begin = 0
        while begin < len(text):
            end = begin + size
            if end < len(text):
                # Behind a line end, so that nothing has to be held back and copied.
                end = text.rfind(b"\n", begin, end) + 1 or end
            yield from self._checked(self._decoder.feed(text[begin:end]))
            begin = end

    def _checked(self, rows: list[T]) -> Iterator[list[T]]:
        if isinstance(self._decoder, Delimited):
            self.header = self._decoder.header
        yield rows
        if self._faults.failure is not None:
            raise self._faults.failure

    def _choose(self, text: bytes) -> JsonLines[T] | Delimited[T]:
        options = self._options
        name = self._file.name.lower().removesuffix(".part").removesuffix(".gz")
        is_json = text[:_LOOK].lstrip()[:1] == b"{" or name.endswith(_JSON)
        is_csv = options.dialect == "saas" or not is_json
        if self.is_csv is not None and self.is_csv is not is_csv:
            msg = f"{self._file} is {'CSV' if is_csv else 'JSON Lines'}, and the file before is not"
            raise RecordError(msg, hint="read files that are not parts of one export one by one")
        self.is_csv = is_csv
        if not is_csv:
            return JsonLines(options.decoder, self._faults, self._file, limit=options.max_record)
        return Delimited(
            options.make_engine,
            self._faults,
            self._file,
            dialect=DIALECTS[options.dialect],
            limit=options.max_record,
            header=self.header,
        )
