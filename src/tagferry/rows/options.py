"""What is read of files, and how: the same for all parts of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_args

from tagferry.errors import ConfigError
from tagferry.rows.binding import BadCell
from tagferry.rows.delimited import Engine
from tagferry.rows.dialect import BACKSLASH, RFC4180, Dialect, DialectName
from tagferry.rows.encoding import Encoding, check_encoding
from tagferry.rows.header import Header
from tagferry.rows.jsonl import RowDecoder
from tagferry.rows.mapping import bind
from tagferry.rows.parser import Parser

__all__ = ["DIALECTS", "MAX_RECORD", "SLICE", "ReadOptions"]

T = TypeVar("T")

MAX_RECORD = 16 * 1024 * 1024
"""The longest record, unless the caller says otherwise."""
DIALECTS: Mapping[DialectName, Dialect | None] = {"auto": None, "saas": BACKSLASH, "cdp": RFC4180}
"""The dialects by their names; None is told from the header."""
SLICE = 32 * 1024
"""Bytes decoded by one call. More is slower: what it makes no longer fits into the processor's cache."""
_TABLE_SLICE = 256 * 1024
"""Engines that make tables have a cost for each call."""


class ReadOptions(Generic[T]):
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
        if dialect not in DIALECTS:
            msg = f"dialect is {dialect!r}"
            raise ConfigError(msg, hint=f"give one of {', '.join(get_args(DialectName))}")
        if max_record < 1:
            raise ConfigError(f"max_record is {max_record}", hint="give a positive number of bytes")
        self.make_engine = make_engine or self._make_parser
        self.csv_slice = SLICE if make_engine is None else _TABLE_SLICE
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
    ) -> ReadOptions[Any]:
        """Return the same options for rows of another type, or of another make."""
        return ReadOptions(
            wanted,
            dialect=self.dialect,
            encoding=self.encoding,
            max_record=self.max_record,
            make_engine=make_engine,
        )

    def _make_parser(self, header: Header) -> Engine[T] | BadCell:
        binding = bind(self.wanted, header.names)
        return binding if isinstance(binding, BadCell) else Parser(header.dialect, binding)


def _make_decoder(wanted: type[T] | None) -> RowDecoder[T]:
    try:
        return RowDecoder(wanted or dict[str, Any])
    except TypeError as error:
        msg = f"rows cannot be of the type {wanted!r}"
        raise ConfigError(msg, hint=str(error)) from None
