"""Rows of files, for `async for`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from tagferry.errors import ConfigError, RecordError, TagferryError
from tagferry.files.thread import in_thread
from tagferry.rows.ahead import Ahead
from tagferry.rows.arrow import RecordBatch, load
from tagferry.rows.dialect import DialectName
from tagferry.rows.encoding import Encoding
from tagferry.rows.fault import Faults, OnError
from tagferry.rows.options import MAX_RECORD, ReadOptions
from tagferry.rows.pieces import PieceDecoder, Pieces
from tagferry.rows.source import Source
from tagferry.rows.table import Table
from tagferry.rows.worker import decode

__all__ = ["Files", "Rows", "list_files", "read_rows"]

T = TypeVar("T")

Files = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class Rows(Generic[T]):
    """The rows of one or more files, for one loop. `read_rows` makes them, and `Export.rows`.

    Files are opened by the loop, one at a time, and read as it goes on. A loop that runs to the end, fails or
    is cancelled leaves no file open; leave others through ``async with``.

    Args:
        files: The files.
        options: What is to be read.
        faults: What is done about bad records.
        pieces: Where rows come from, if it is not the files as they are.

    Raises:
        ConfigError: By the loop: they were read before, or closed.
        RecordError: By the loop: a record cannot be decoded; the rows before it came.
        IntegrityError: By the loop: a file is cut or damaged.
        DiskError: By the loop: a file cannot be read.

    Example:
        >>> async with read_rows("out/users.csv", User) as rows:
        ...     async for row in rows: ...
    """

    def __init__(
        self,
        files: Sequence[Path],
        options: ReadOptions[T],
        faults: Faults,
        *,
        pieces: Pieces[T] | None = None,
    ) -> None:
        self._files = files
        self._options = options
        self._faults = faults
        self._decoder = PieceDecoder(pieces or Ahead(Source(files, options, faults)))
        self._rows = self._each()
        self._begun: Literal["rows", "batches", "arrow"] | None = None

    @property
    def errors(self) -> Sequence[RecordError]:
        """The bad records so far, if they are collected; at most the first 1,000."""
        return self._faults.kept

    @property
    def error_count(self) -> int:
        """How many bad records there were so far."""
        return self._faults.total

    def __aiter__(self) -> AsyncIterator[T]:
        if self._decoder.closed:
            raise ConfigError("these rows were read or closed", hint="call read_rows again")
        # The generator itself: a method between it and the loop would cost as much as it does.
        return self._rows

    async def __anext__(self) -> T:
        return await anext(self._rows)

    def batches(self, size: int = 10_000) -> AsyncIterator[list[T]]:
        """Return the rows in lists of one length; only the last may be shorter.

        Args:
            size: Rows in a list.

        Raises:
            ConfigError: The size is not positive.
        """
        if size < 1:
            raise ConfigError(f"a batch cannot have {size} rows", hint="give a positive number")
        return self._batches(size)

    def arrow_batches(self) -> AsyncIterator[RecordBatch]:
        """Return the rows as ``pyarrow.RecordBatch``, some thousand rows each.

        Columns are those that `convert` gives to Parquet. JSON Lines without a type are read twice, the first
        time for what columns there are.

        Raises:
            ConfigError: pyarrow is not installed, or rows of the type make no table.
        """
        load()
        return self._arrow_batches(Table(self._files, self._options, self._faults))

    async def aclose(self) -> None:
        """Close the file that is open."""
        await self._decoder.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rows.aclose()
        await self.aclose()

    async def _each(self) -> AsyncGenerator[T]:
        self._begin("rows")
        try:
            while (rows := await self._decoder.next()) is not None:
                for row in rows:
                    yield row
                # What comes next is made of their memory, while that is in the processor's cache.
                del rows
        finally:
            await self.aclose()

    async def _batches(self, size: int) -> AsyncGenerator[list[T]]:
        self._begin("batches")
        batch: list[T] = []
        failure: TagferryError | None = None
        try:
            while (rows := await self._decoder.next()) is not None:
                batch += rows
                while len(batch) >= size:
                    yield batch[:size]
                    del batch[:size]
        except TagferryError as error:
            failure = error
        finally:
            await self.aclose()
        # Rows before a bad record are good.
        if batch:
            yield batch
        if failure is not None:
            raise failure

    async def _arrow_batches(self, table: Table) -> AsyncGenerator[RecordBatch]:
        self._begin("arrow")
        try:
            while not await decode(table.look):
                pass
            while (batches := await decode(table.pull_batches)) is not None:
                for batch in batches:
                    yield batch
        finally:
            await in_thread(table.close)
            await self.aclose()

    def _begin(self, what: Literal["rows", "batches", "arrow"]) -> None:
        if self._decoder.closed or self._begun is not None:
            msg = "these rows were read, or are being read, by another loop"
            raise ConfigError(msg, hint="call read_rows again")
        self._begun = what
        self._decoder.begin()


@overload
def read_rows(
    files: Files,
    type: None = None,
    *,
    dialect: Literal["saas"],
    on_error: OnError = ...,
    encoding: Encoding = ...,
    max_record: int = ...,
) -> Rows[dict[str, str | None]]: ...
@overload
def read_rows(
    files: Files,
    type: None = None,
    *,
    dialect: DialectName = ...,
    on_error: OnError = ...,
    encoding: Encoding = ...,
    max_record: int = ...,
) -> Rows[dict[str, Any]]: ...
@overload
def read_rows(
    files: Files,
    type: type[T],
    *,
    dialect: DialectName = ...,
    on_error: OnError = ...,
    encoding: Encoding = ...,
    max_record: int = ...,
) -> Rows[T]: ...
def read_rows(
    files: Files,
    type: type[Any] | None = None,  # noqa: A002  # the design's name, and what it is
    *,
    dialect: DialectName = "auto",
    on_error: OnError = "raise",
    encoding: Encoding = "auto",
    max_record: int = MAX_RECORD,
) -> Rows[Any]:
    """Read the rows of exported files: CSV or JSON Lines, plain or gzip, in UTF-8 or UTF-16.

    Nothing is opened by the call. Without a type a row is a dict: of texts and None (an empty cell without
    quotes) from CSV, of JSON values from JSON Lines.

    Args:
        files: A path, or the paths of the parts of one export, whose headers have to be the same.
        type: A `msgspec.Struct`; its fields find their columns by name. Of JSON Lines, any type of msgspec.
        dialect: ``"saas"`` escapes with a backslash; ``"cdp"`` is RFC 4180, as `convert` writes it;
            ``"auto"`` takes the latter for files whose first column is ``gio_id``, as it is in all of CDP,
            and for fetched tags.
        on_error: ``"raise"`` ends at the first bad record; ``"skip"`` leaves bad ones out and counts them;
            ``"collect"`` keeps them too, in `Rows.errors`. A file that is cut is an error in any case.
        encoding: What to read if the bytes do not tell.
        max_record: The longest record in bytes, of CSV in characters.

    Raises:
        ConfigError: A value that cannot work.
    """
    options: ReadOptions[Any] = ReadOptions(type, dialect=dialect, encoding=encoding, max_record=max_record)
    return Rows(list_files(files), options, Faults(on_error))


def list_files(files: Files) -> list[Path]:
    """Return paths as a list.

    Raises:
        ConfigError: There is none.
    """
    paths = [Path(files)] if isinstance(files, str | os.PathLike) else [Path(file) for file in files]
    if not paths:
        raise ConfigError("there is no file to read", hint="give a path, or more than one")
    return paths
