"""Rows as Arrow record batches. pyarrow is an extra, and comes without types."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, cast

from tagferry.errors import ConfigError, RecordError
from tagferry.rows.binding import BadCell, Binding
from tagferry.rows.delimited import Engine
from tagferry.rows.header import Header
from tagferry.rows.layout import Layout, layout_of_header
from tagferry.rows.mapping import bind_cells
from tagferry.rows.parser import Parser
from tagferry.rows.shape import Shape

__all__ = ["RecordBatch", "load", "make_batch", "make_engine", "make_schema"]

RecordBatch = Any
"""A `pyarrow.RecordBatch`."""
Cells = tuple[str | None, ...]


def load(module: str = "pyarrow") -> Any:
    """Import pyarrow, or one of its modules.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        hint = "install the extra: pip install 'tagferry[parquet]'"
    raise ConfigError("Arrow tables and Parquet files need pyarrow", hint=hint)


def make_schema(layout: Layout) -> Any:
    """Return the Arrow schema of a table."""
    arrow = load()
    return arrow.schema([arrow.field(column.name, _arrow_type(column.shape)) for column in layout.columns])


def make_batch(layout: Layout, rows: Sequence[Any], schema: Any) -> RecordBatch:
    """Return rows as a record batch.

    Raises:
        RecordError: A value of a Struct does not fit into its column.
    """
    arrow = load()
    try:
        arrays = [
            arrow.array(values, field.type) for values, field in zip(layout.values(rows), schema, strict=True)
        ]
    except (arrow.ArrowException, OverflowError) as error:
        msg = f"a value does not fit into a table: {error}"
        raise RecordError(msg, hint="use a narrower type for the field, or str") from None
    return arrow.record_batch(arrays, schema=schema)


def make_engine(header: Header) -> Engine[RecordBatch] | BadCell:
    """Return what makes record batches of the records below a header, or what is wrong with the header."""
    binding = bind_cells(header.names)
    return binding if isinstance(binding, BadCell) else _ArrowEngine(header, binding)


class _ArrowEngine:
    """Makes record batches of records: by pyarrow where it reads a text as the other parsers do.

    Args:
        header: What stands above the records.
        binding: Makes tuples of records.
    """

    def __init__(self, header: Header, binding: Binding[Cells]) -> None:
        self._arrow = load()
        self._csv = load("pyarrow.csv")
        self._names = header.names
        self._escape = header.dialect.escape
        self._schema = make_schema(layout_of_header(header.names))
        self._parser = Parser(header.dialect, binding)
        self._parse = self._csv.ParseOptions(delimiter=header.dialect.delimiter, newlines_in_values=False)
        self._convert = self._csv.ConvertOptions(
            column_types=self._schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        self._delimiter = header.dialect.delimiter.encode()
        separators = self._delimiter + b"\r\n"
        # Commas for what separates, quotes for quotes, and an x for all else.
        classes = {separator: ord(",") for separator in separators} | {ord('"'): ord('"')}
        self._classes = bytes(classes.get(byte, ord("x")) for byte in range(256))

    def transcribe(self, block: bytes) -> list[RecordBatch] | None:
        """Return the rows of a block of lines, if each line is a record and pyarrow reads it as we do."""
        batch = self._read(block) if self._is_simple(block) else None
        return None if batch is None else [batch]

    def parse(self, text: str) -> tuple[list[RecordBatch], int, int]:
        """Return the rows of the first records, where the next one begins, and the lines before it."""
        rows, done, lines = self._parser.parse(text)
        return [self._batch(rows)] if rows else [], done, lines

    def row(self, cells: Sequence[str | None]) -> RecordBatch | BadCell:
        """Return the row of one record, or what is wrong with it."""
        found = self._parser.row(cells)
        return found if isinstance(found, BadCell) else self._batch([found])

    def _batch(self, rows: Sequence[Cells]) -> RecordBatch:
        columns = [self._arrow.array(column, self._arrow.string()) for column in zip(*rows, strict=True)]
        return self._arrow.record_batch(columns, schema=self._schema)

    def _is_simple(self, data: bytes) -> bool:
        """Tell whether pyarrow may try a text: it has no escapes, and quotes only around what is not empty.

        pyarrow takes a text behind a closing quote for a part of the cell. Here every other quote has a
        separator before it, and none has a text on both sides. So if all quotes open and close cells, which
        `_read` finds out, those that close have no separator before them, and one behind.
        """
        if not data.endswith(b"\n") or data.startswith(b"\xef\xbb\xbf"):
            return False
        if self._escape is not None and self._escape.encode() in data:
            return False
        if b'"' not in data or self._is_all_quoted(data):
            return True
        if b'""' in data:
            return False
        classes = data.translate(self._classes)
        opening = classes.count(b',"') + classes.startswith(b'"')
        return 2 * opening == classes.count(b'"') and b'x"x' not in classes

    def _is_all_quoted(self, data: bytes) -> bool:
        """Tell whether each line is as many cells in quotes as there are columns.

        It is if all quotes stand at both ends, around separators or around line ends.
        """
        lines, between = data.count(b"\n"), len(self._names) - 1
        return (
            data.startswith(b'"')
            and data.endswith(b'"\n')
            and data.count(b'"') == 2 * (between + 1) * lines
            and data.count(b'"%b"' % self._delimiter) == between * lines
            and data.count(b'"\n"') == lines - 1
        )

    def _read(self, data: bytes) -> RecordBatch | None:
        """Return the records that pyarrow sees if each is a line, and if no byte is lost but the syntax."""
        lines, returns = data.count(b"\n"), data.count(b"\r") if b"\r" in data else 0
        source = self._arrow.BufferReader(data)
        read = self._csv.ReadOptions(use_threads=False, column_names=self._names, block_size=len(data) + 1)
        try:
            table = self._csv.read_csv(source, read, self._parse, self._convert)
        except self._arrow.ArrowInvalid:
            return None
        if table.num_rows != lines or returns not in {0, data.count(b"\r\n")}:
            return None
        syntax = lines * len(self._names) + data.count(b'"') + returns
        (batch,) = table.to_batches()
        return batch if sum(map(_text_size, batch.columns)) + syntax == len(data) else None


def _text_size(column: Any) -> int:
    """Return the bytes of a column of texts."""
    ends = cast("Sequence[int]", memoryview(column.buffers()[1]).cast("i"))
    begin: int = column.offset
    return ends[begin + len(column)] - ends[begin]


def _arrow_type(shape: Shape) -> Any:
    arrow = load()
    kinds = {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "long": arrow.int64(),
        "float": arrow.float64(),
        "date": arrow.date32(),
    }
    kind = kinds.get(shape.kind, arrow.string())
    return arrow.list_(kind) if shape.many else kind
