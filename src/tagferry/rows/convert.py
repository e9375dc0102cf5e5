"""Files of one format made into one file of another."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import msgspec

from tagferry.errors import ConfigError
from tagferry.events import ConvertProgress, Emit
from tagferry.files.disk import disk_errors, look, sync_directory
from tagferry.files.place import place_file
from tagferry.files.scratch import create, sweep
from tagferry.files.thread import in_thread
from tagferry.listener import listen
from tagferry.rows import arrow
from tagferry.rows.dialect import DialectName
from tagferry.rows.encoding import Encoding
from tagferry.rows.fault import Faults
from tagferry.rows.file_name import output_name
from tagferry.rows.options import MAX_RECORD, ReadOptions
from tagferry.rows.reader import Files, list_files
from tagferry.rows.sink import CsvSink, JsonLinesSink, ParquetSink, Sink
from tagferry.rows.table import Table
from tagferry.rows.worker import decode

__all__ = ["Converted", "Format", "convert"]

Format = Literal["parquet", "csv", "jsonl"]


class Converted(msgspec.Struct, frozen=True):
    """A whole file that was made of others."""

    path: Path
    size: int
    """Bytes."""
    rows: int
    skipped: int = 0
    """Bad records that were left out."""


async def convert(
    files: Files,
    to: Format = "parquet",
    *,
    output: str | os.PathLike[str] | None = None,
    type: type[Any] | None = None,  # noqa: A002  # as for `read_rows`
    dialect: DialectName = "auto",
    spreadsheet_safe: bool = False,
    replace: bool = False,
    on_error: Literal["raise", "skip"] = "raise",
    encoding: Encoding = "auto",
    max_record: int = MAX_RECORD,
    on_event: Emit | None = None,
) -> Converted:
    """Make one file of exported files or of fetched tags.

    Rows go through memory piece by piece. The output gets its name when it is whole.

    A table (``"parquet"`` and ``"csv"``) has typed columns: of JSON Lines the narrowest types that hold all
    values, of CSV texts. Maps of CDP become columns as in its CSV. Lists stay lists in Parquet; they and
    nested values are JSON texts in CSV. CSV is RFC 4180: texts in quotes, a null is nothing.

    Args:
        files: A path, or the paths of the parts of one export.
        to: The format of the output.
        output: Its path, or a directory; by default it is beside the first file and named after it.
        type: A `msgspec.Struct`, for its columns and types.
        dialect: The dialect of the files, as for `read_rows`.
        spreadsheet_safe: Whether texts in CSV that a spreadsheet would run get an apostrophe before them.
        replace: Whether an output that is already there is replaced.
        on_error: ``"skip"`` leaves bad records out and counts them.
        encoding: The encoding of the files if the bytes do not tell.
        max_record: The longest record in bytes, of CSV in characters.
        on_event: Is told how much of the files was read.

    Raises:
        ConfigError: A value that cannot work, or the output is already there.
        RecordError: A record cannot be decoded.
        IntegrityError: A file is cut or damaged.
        DiskError: A file cannot be read or written.
    """
    paths = list_files(files)
    if to not in get_args(Format):
        raise ConfigError(f"cannot convert to {to!r}", hint=f"give one of {', '.join(get_args(Format))}")
    if spreadsheet_safe and to != "csv":
        raise ConfigError(f"a {to} file needs no care for spreadsheets", hint="leave out spreadsheet_safe")
    if to == "parquet":
        arrow.load()
    options: ReadOptions[Any] = ReadOptions(type, dialect=dialect, encoding=encoding, max_record=max_record)
    table = Table(paths, options, Faults(on_error))
    target = await in_thread(functools.partial(_find_target, paths, to, output, replace=replace))
    size = await in_thread(_measure, paths)
    work = _convert(table, to, target, spreadsheet_safe=spreadsheet_safe, replace=replace)
    emit, read = listen(on_event), 0
    try:
        while (done := await decode(functools.partial(_advance, work))) is None:
            if table.read > read:
                read = table.read
                total = max(read, size * table.readings)
                emit(ConvertProgress(output=str(target), read=read, total=total))
        return done
    finally:
        await in_thread(work.close)


def _advance(work: Generator[None, None, Converted]) -> Converted | None:
    try:
        next(work)
    except StopIteration as stop:
        done: Converted = stop.value
        return done
    return None


def _convert(
    table: Table, to: Format, target: Path, *, spreadsheet_safe: bool, replace: bool
) -> Generator[None, None, Converted]:
    """Do a bit of the work for each `next`. Closed early, it leaves nothing behind."""
    unfinished: Path | None = None
    try:
        while to != "jsonl" and not table.look():
            yield
        sweep(target)
        unfinished, opened = create(target)
        with disk_errors(unfinished, "write"), opened as file:
            sink = _make_sink(table, to, file, spreadsheet_safe=spreadsheet_safe)
            try:
                while sink.step():
                    yield
                sink.finish()
            except BaseException:
                sink.abort()
                raise
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        place_file(unfinished, target, replace=replace)
        with disk_errors(target, "sync"):
            sync_directory(target.parent)
        return Converted(target, size, sink.rows, table.faults.total)
    finally:
        table.close()
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _measure(files: Sequence[Path]) -> int:
    return sum(status.st_size for file in files if (status := look(file)))


def _make_sink(table: Table, to: Format, file: BinaryIO, *, spreadsheet_safe: bool) -> Sink:
    if to == "parquet":
        return ParquetSink(table, file)
    if to == "csv":
        return CsvSink(table, file, spreadsheet_safe=spreadsheet_safe)
    return JsonLinesSink(table, file)


def _find_target(
    files: Sequence[Path], to: Format, output: str | os.PathLike[str] | None, *, replace: bool
) -> Path:
    target = files[0].parent if output is None else Path(output)
    if output is None or target.is_dir():
        target /= output_name(files, to)
    if any(target.exists() and file.exists() and target.samefile(file) for file in files):
        raise ConfigError(f"{target} is one of the files to convert", hint="give another output")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is no directory", hint="make it, or give another output")
    if os.path.lexists(target) and not replace:
        raise ConfigError(f"{target} is already there", hint="give another output, or replace=True")
    return target
