"""CSV: blocks of bytes in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tagferry.rows.binding import BadCell
from tagferry.rows.dialect import Dialect
from tagferry.rows.fault import Fault, Faults
from tagferry.rows.header import Header, find_header
from tagferry.rows.lines import LARGE, Lines, count_lines
from tagferry.rows.scanner import Record, Scanner

__all__ = ["Delimited", "Engine"]

T = TypeVar("T")

_PARTS = "read, or convert, files that are not parts of one export one by one"


class Engine(Protocol[T]):
    """Makes rows of the records below one header."""

    def transcribe(self, block: bytes) -> list[T] | None:
        """Return the rows of a block of lines, if each line is a record and there is a fast way."""
        ...

    def parse(self, text: str) -> tuple[list[T], int, int]:
        """Return the rows of the first records, where the next one begins, and the lines before it."""
        ...

    def row(self, cells: Sequence[str | None]) -> T | BadCell:
        """Return the row of one record, or what is wrong with it."""
        ...


class Delimited(Generic[T]):
    """Decodes CSV as it comes; any split of the bytes gives the same rows.

    An engine does the work, on blocks of lines, or else on texts. Where it stops, the records are looked at
    one by one.
    A file that ends within a quoted cell is refused: its last record is not whole.

    Args:
        make_engine: Returns what makes rows below a header, or what is wrong with the header.
        faults: Takes the bad records. Once it has a failure nothing more may be fed.
        file: The file's name, for errors.
        dialect: None is told from the header.
        limit: The most characters that a record may have.
        header: What the header has to be, in a further part of a file.
    """

    def __init__(
        self,
        make_engine: Callable[[Header], Engine[T] | BadCell],
        faults: Faults,
        file: Path,
        *,
        dialect: Dialect | None,
        limit: int,
        header: Sequence[str] | None = None,
    ) -> None:
        self._make_engine = make_engine
        self._faults = faults
        self._file = file
        self._dialect = dialect
        self._limit = limit
        self.header: tuple[str, ...] | None = None if header is None else tuple(header)
        """The names of the columns, once they are known."""
        self._engine: tuple[Engine[T], Scanner] | None = None
        self._lines = Lines(bare_cr=True)
        self._done = 0
        self._rest = ""
        self._wait = 0
        self._bad_bytes = False
        self._one_by_one = False

    @property
    def is_slow(self) -> bool:
        """Whether the next block may take long."""
        return self._one_by_one or self._lines.pending + len(self._rest) > LARGE

    def feed(self, block: bytes) -> list[T]:
        """Return the rows that the next bytes complete."""
        rows: list[T] = []
        self._take(self._lines.feed(block), rows, final=False)
        # A character has four bytes at most.
        if self._lines.pending > 4 * self._limit and self._faults.failure is None:
            self._refuse_long()
        return rows

    def finish(self) -> list[T]:
        """Return the row of a last record without a line end."""
        rows: list[T] = []
        self._take(self._lines.finish(), rows, final=True)
        return rows

    def _take(self, block: bytes, rows: list[T], *, final: bool) -> None:
        if self._engine is not None and not self._rest and 0 < len(block) <= self._limit:
            found = self._engine[0].transcribe(block)
            if found is not None:
                rows += found
                self._done += block.count(b"\n")
                self._one_by_one = False
                return
        text = self._rest + self._decode(block)
        # A long record is looked at again only when it has doubled, so that its length costs no square.
        if len(text) < self._wait and not final:
            self._rest = text
            return
        done = self._read(text, rows, final=final)
        self._rest = text[done:]
        self._wait = min(2 * len(self._rest), self._limit + 1)
        self._bad_bytes = self._bad_bytes and bool(self._rest)
        if self._faults.failure is None and len(self._rest) > self._limit:
            self._refuse_long()
        elif self._faults.failure is None and final and self._rest:
            self._stop(BadCell("the file ends within this record", hint="export or download it again"))

    def _decode(self, block: bytes) -> str:
        try:
            return block.decode()
        except UnicodeDecodeError:
            self._bad_bytes = True
            return block.decode(errors="surrogateescape")

    def _read(self, text: str, rows: list[T], *, final: bool) -> int:
        """Append the rows of the whole records of a text, and return where the rest begins."""
        done = self._read_header(text, final=final) if self._engine is None else 0
        if self._engine is None:
            return done
        engine, scanner = self._engine
        if not self._bad_bytes and len(text) <= self._limit:
            found, count, lines = engine.parse(text[done:] if done else text)
            rows += found
            done += count
            self._done += lines
        return self._read_each(text, done, engine, scanner, rows, final=final)

    def _read_header(self, text: str, *, final: bool) -> int:
        header = find_header(text, self._dialect, final=final)
        if header is None:
            return 0
        engine = self._make_engine(header)
        self._done += count_lines(text, 0, header.begin)
        if header.problem is not None:
            self._stop(BadCell(header.problem, value=text[header.begin : header.end]))
        elif self.header is not None and header.names != self.header:
            self._stop(BadCell("the header is not that of the first file", hint=_PARTS))
        elif isinstance(engine, BadCell):
            self._stop(engine)
        else:
            self._done += count_lines(text, header.begin, header.end)
            self.header = header.names
            self._engine = engine, Scanner(header.dialect)
        return header.end

    def _read_each(
        self, text: str, done: int, engine: Engine[T], scanner: Scanner, rows: list[T], *, final: bool
    ) -> int:
        """Read records one by one: a tenth as fast, but it can name a bad one."""
        self._one_by_one = False
        while done < len(text) and (record := scanner.record(text, done, final=final)) is not None:
            if record.end - done > self._limit:
                break
            if (problem := _read_one(record, engine, rows)) is not None:
                fault = Fault(self._done + 1, problem.reason, problem.column, problem.value)
                if not self._faults.note(fault, self._file):
                    break
            self._done += count_lines(text, done, record.end)
            done = record.end
            self._one_by_one = True
        return done

    def _refuse_long(self) -> None:
        self._stop(BadCell(f"the record has more than {self._limit} characters", hint="raise max_record"))

    def _stop(self, problem: BadCell) -> None:
        fault = Fault(self._done + 1, problem.reason, problem.column, problem.value, problem.hint)
        self._faults.stop(fault, self._file)


def _read_one(record: Record, engine: Engine[T], rows: list[T]) -> BadCell | None:
    """Append the row of a record, or return what is wrong with it; a blank line makes no row."""
    if record.problem is not None:
        return BadCell(record.problem, value=record.value)
    if record.cells:
        row = engine.row(record.cells)
        if isinstance(row, BadCell):
            return row
        rows.append(row)
    return None
