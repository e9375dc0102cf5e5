"""What tables are written to: Parquet, CSV, JSON Lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

import msgspec

from tagferry.rows import arrow
from tagferry.rows.layout import TableColumn
from tagferry.rows.table import Table

__all__ = ["CsvSink", "JsonLinesSink", "ParquetSink", "Sink"]

_GROUP_ROWS = 128 * 1024
_GROUP_BYTES = 32 * 1024 * 1024
"""A row group is held in memory until it has so many rows or bytes."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet run a cell."""


class Sink(Protocol):
    """Writes the rows of a table into a file. Its methods block."""

    rows: int
    """Rows written so far."""

    def step(self) -> bool:
        """Write some more rows; tell whether there may be more."""
        ...

    def finish(self) -> None:
        """Write what belongs behind the last row."""
        ...

    def abort(self) -> None:
        """Let go of the file, which is of no use any more."""
        ...


class ParquetSink:
    """Writes Parquet.

    Args:
        table: The rows.
        file: Where they go.

    Raises:
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, table: Table, file: BinaryIO) -> None:
        self.rows = 0
        self._table = table
        self._arrow = arrow.load()
        self._writer = arrow.load("pyarrow.parquet").ParquetWriter(file, table.schema, compression="zstd")
        self._held: list[arrow.RecordBatch] = []
        self._held_rows = 0
        self._held_bytes = 0

    def step(self) -> bool:
        """Take some more rows; tell whether there may be more."""
        batches = self._table.pull_batches()
        for batch in batches or ():
            self._held.append(batch)
            self._held_rows += batch.num_rows
            self._held_bytes += batch.nbytes
            if self._held_rows >= _GROUP_ROWS or self._held_bytes >= _GROUP_BYTES:
                self._flush()
        return batches is not None

    def finish(self) -> None:
        """Write the last row group, and the footer."""
        self._flush()
        self._writer.close()

    def abort(self) -> None:
        """Let go of the file: without it the writer would write its footer whenever it is collected."""
        with contextlib.suppress(OSError, self._arrow.ArrowException):
            self._writer.close()
        self._writer.is_open = False

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(self._arrow.Table.from_batches(self._held, self._table.schema))
        self.rows += self._held_rows
        self._held.clear()
        self._held_rows = self._held_bytes = 0


class CsvSink:
    """Writes CSV as RFC 4180 has it: texts in quotes, so that an empty one is not the null without them.

    Args:
        table: The rows.
        file: Where they go.
        spreadsheet_safe: Whether to put an apostrophe before texts that a spreadsheet would run.
    """

    def __init__(self, table: Table, file: BinaryIO, *, spreadsheet_safe: bool) -> None:
        self.rows = 0
        self._table = table
        self._file = file
        self._safe = spreadsheet_safe
        self._formats = [self._format_of(column) for column in table.layout.columns]
        header = ",".join(self._quote(column.name) for column in table.layout.columns)
        file.write(header.encode() + b"\n")

    def step(self) -> bool:
        """Write some more rows; tell whether there may be more."""
        lists = self._table.pull()
        for rows in lists or ():
            values = self._table.layout.values(rows)
            columns = [map(form, column) for form, column in zip(self._formats, values, strict=True)]
            lines = [",".join(cells) + "\n" for cells in zip(*columns, strict=True)]
            self._file.write("".join(lines).encode())
            self.rows += len(lines)
        return lists is not None

    def finish(self) -> None:
        """Do nothing: there is nothing behind the last row."""

    def abort(self) -> None:
        """Do nothing: the file is closed by who opened it."""

    def _format_of(self, column: TableColumn) -> Callable[[Any], str]:
        if column.shape.many or column.shape.kind == "date":
            return lambda value: "" if value is None else self._quote(_json_text(value))
        if column.shape.kind in {"text", "json"}:
            return lambda value: "" if value is None else self._quote(value)
        return lambda value: "" if value is None else _json_text(value)

    def _quote(self, text: str) -> str:
        if self._safe and text.startswith(_FORMULAS):
            text = "'" + text
        return '"' + text.replace('"', '""') + '"'


class JsonLinesSink:
    """Writes JSON Lines: rows as they are, so no columns are needed.

    Args:
        table: The rows.
        file: Where they go.
    """

    def __init__(self, table: Table, file: BinaryIO) -> None:
        self.rows = 0
        self._table = table
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def step(self) -> bool:
        """Write some more rows; tell whether there may be more."""
        lists = self._table.pull()
        for rows in lists or ():
            self._file.write(self._encoder.encode_lines(rows))
            self.rows += len(rows)
        return lists is not None

    def finish(self) -> None:
        """Do nothing: there is nothing behind the last row."""

    def abort(self) -> None:
        """Do nothing: the file is closed by who opened it."""


def _json_text(value: Sequence[Any] | object) -> str:
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
