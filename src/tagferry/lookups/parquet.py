"""Parquet files: read as lines, and made of the lines of a fetch. pyarrow is an extra without types."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tagferry.errors import RecordError
from tagferry.events import Converting, Emit
from tagferry.files.disk import disk_errors, look
from tagferry.files.thread import in_thread
from tagferry.lookups.target import Target
from tagferry.rows.arrow import load
from tagferry.rows.convert import convert

__all__ = ["lines_of", "make_table", "open_parquet"]

_ROWS = 10_000
_ENCODER = msgspec.json.Encoder()


class _Answer(msgspec.Struct):
    """A line of an output, which is a row of the table."""

    account: str
    tags: list[str] | None


async def make_table(target: Target, emit: Emit) -> None:
    """Make a table of the lines of a fetch that has all its answers; what an earlier run made of them stays.

    Raises:
        DiskError: It cannot be written.
        RecordError: The lines were damaged by somebody else.
    """
    if not await in_thread(_is_left, target):
        return
    emit(Converting(output=str(target.output)))
    await convert(target.part, "parquet", output=target.table, type=_Answer, replace=True)


def _is_left(target: Target) -> bool:
    """Tell whether there is something to make."""
    # Without lines, the table has its final name by now.
    return look(target.table, follow=False) is None and look(target.part, follow=False) is not None


@contextmanager
def open_parquet(path: Path) -> Generator[Any]:
    """Open a Parquet file. Blocks.

    Raises:
        ConfigError: pyarrow is not installed.
        RecordError: The file is damaged, or none; raised in the block too.
    """
    parquet, damage = load("pyarrow.parquet"), load("pyarrow.lib").ArrowException
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (damage, OSError) as error:
        # What the file system says has a number; the rest is about the content.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise RecordError(f"it is no whole Parquet file: {reason}", hint="make the file again") from None


def lines_of(table: Path) -> Iterator[bytes]:
    """Yield the rows of the output of a fetch as JSON Lines, some thousands at a time. Blocks.

    Raises:
        RecordError: It is no such file.
    """
    try:
        with disk_errors(table, "read"), open_parquet(table) as file:
            for batch in file.iter_batches(_ROWS, use_threads=False):
                yield _ENCODER.encode_lines(msgspec.convert(batch.to_pylist(), list[_Answer]))
    except msgspec.ValidationError as error:
        reason = str(error)
    except RecordError as error:
        reason = error.message
    else:
        return
    raise RecordError(f"{table} is not what a fetch wrote: {reason}", hint="name the output of the fetch")
