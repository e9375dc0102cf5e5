"""One file, from its bytes to rows, whatever its compression, encoding and format. Pure: bytes are pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from tagferry.errors import ConfigError, RecordError
from tagferry.rows.binding import BadCell
from tagferry.rows.compression import Plain
from tagferry.rows.delimited import Delimited, Engine
from tagferry.rows.dialect import BACKSLASH, RFC4180, DialectName
from tagferry.rows.encoding import Encoding, Utf8, check_encoding
from tagferry.rows.fault import Faults
from tagferry.rows.header import Header
from tagferry.rows.jsonl import JsonLines, RowDecoder
from tagferry.rows.parser import Parser
from tagferry.rows.target import bind

__all__ = ["MAX_RECORD", "Plan", "RowFeed"]

T = TypeVar("T")

MAX_RECORD = 16 * 1024 * 1024
"""The longest record, unless the caller says otherwise."""
_DIALECTS = {"auto": None, "saas": BACKSLASH, "cdp": RFC4180}
_JSON = (".json", ".jsonl", ".ndjson")
_SLICE = 32 * 1024
"""Bytes decoded by one call. More is slower: what it makes no longer fits into the processor's cache."""
_TABLE_SLICE = 256 * 1024
"""Engines that make tables have a cost for each call."""
_LOOK = 64 * 1024
"""Bytes in which something has to stand that tells the format."""


class Plan(Generic[T]):
    """What is to be read: the same for all parts of a file.

    Args:
        wanted: The type of a row; None is a dict.
        dialect: The dialect of CSV.
        encoding: The encoding.
        max_record: The longest record, in bytes (of CSV, in characters).
        make_engine: What makes rows of CSV, if it is not the standard library's parser.

    Raises:
        ConfigError: A value that cannot work.
    """

    def __init__(
        self,
        wanted: type[T] | None = None,
        *,
        dialect: DialectName = "auto",
        encoding: Encoding = "auto",
        max_record: int = MAX_RECORD,
        make_engine: Callable[[Header], Engine[T] | BadCell] | None = None,
    ) -> None:
        if dialect not in _DIALECTS:
            msg = f"dialect is {dialect!r}"
            raise ConfigError(msg, hint=f"give one of {', '.join(get_args(DialectName))}")
        if max_record < 1:
            raise ConfigError(f"max_record is {max_record}", hint="give a positive number of bytes")
        self.make_engine = make_engine or self._make_parser
        self.csv_slice = _SLICE if make_engine is None else _TABLE_SLICE
        """Bytes of CSV decoded by one call."""
        self.wanted = wanted
        self.dialect: DialectName = dialect
        self.encoding: Encoding = check_encoding(encoding)
        self.max_record = max_record
        self.decoder: RowDecoder[T] = _make_decoder(wanted)

    def of(
        self,
        wanted: type[Any] | None,
        *,
        make_engine: Callable[[Header], Engine[Any] | BadCell] | None = None,
    ) -> Plan[Any]:
        """Return the same plan for rows of another type, or of another make."""
        return Plan(
            wanted,
            dialect=self.dialect,
            encoding=self.encoding,
            max_record=self.max_record,
            make_engine=make_engine,
        )

    def _make_parser(self, header: Header) -> Engine[T] | BadCell:
        binding = bind(self.wanted, header.names)
        return binding if isinstance(binding, BadCell) else Parser(header.dialect, binding)


class RowFeed(Generic[T]):
    """Takes the bytes of one file as they are read, or written, and gives its rows.

    Exhaust each iterator before the next call.

    Args:
        plan: What is to be read.
        faults: What is done about bad records.
        file: The file's name: it goes into errors, and its ending may tell the format.
        after: The feed of the part before this one.
    """

    def __init__(self, plan: Plan[T], faults: Faults, file: Path, *, after: RowFeed[T] | None = None) -> None:
        self._plan = plan
        self._faults = faults
        self._file = file
        self.header: Sequence[str] | None = after.header if after else None
        """The names of a CSV file's columns, as soon as they are known."""
        self.is_csv: bool | None = after.is_csv if after else None
        """Whether the file is CSV and not JSON Lines, as soon as that is known."""
        self._plain = Plain(file)
        self._utf8 = Utf8(file, plan.encoding)
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
        size = self._plan.csv_slice if self.is_csv else _SLICE
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
        plan = self._plan
        name = self._file.name.lower().removesuffix(".part").removesuffix(".gz")
        is_json = text[:_LOOK].lstrip()[:1] == b"{" or name.endswith(_JSON)
        is_csv = plan.dialect == "saas" or not is_json
        if self.is_csv is not None and self.is_csv is not is_csv:
            msg = f"{self._file} is {'CSV' if is_csv else 'JSON Lines'}, and the file before is not"
            raise RecordError(msg, hint="read files that are not parts of one export one by one")
        self.is_csv = is_csv
        if not is_csv:
            return JsonLines(plan.decoder, self._faults, self._file, limit=plan.max_record)
        return Delimited(
            plan.make_engine,
            self._faults,
            self._file,
            dialect=_DIALECTS[plan.dialect],
            limit=plan.max_record,
            header=self.header,
        )


def _make_decoder(wanted: type[T] | None) -> RowDecoder[T]:
    try:
        return RowDecoder(wanted or dict[str, Any])
    except TypeError as error:
        msg = f"rows cannot be of the type {wanted!r}"
        raise ConfigError(msg, hint=str(error)) from None
