"""Deterministic audiences of any size, generated and never held."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK_ROWS = 1000
BATCH = 1 << 18
BLOCK = b"\0"
"""Where the number of the block goes in a row, nine digits long; no cell has this byte."""
_DIGITS = 9

# Every cell that has ever broken a reader of this dialect; small audiences get them all, in turn.
CELLS = (
    "高价值",
    "",
    "华东,上海",
    'say "hi"',
    "第一行\n第二行",
    "back\\slash",
    "plain",
    "'single'",
    "rocket 🚀",
    " spaces around ",
    "tab\tinside",
    '"',
    ",",
    "0",
    "-1.50",
    "NULL",
    "中文“引号”",
    "line\u2028separator",
    "=1+1",
    "crlf\r\ninside",
    "ends with \\",
    '\\"',
    '沉睡用户,"近30天"\n未登录',
    "nine hundred and ninety-nine bottles of beer",
)


class Body(Protocol):
    """Bytes of known length that can be read from any offset."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Text:
    """A body that is small enough to be held."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        if start < stop:
            yield self.data[start:stop]


def escape_cell(cell: str) -> bytes:
    """One cell in the SaaS dialect: quoted where it must be, escaped with a backslash."""
    if any(sign in cell for sign in ',"\\\r\n'):
        cell = '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return cell.encode()


_ESCAPED = tuple(escape_cell(cell) for cell in CELLS)


class Dialect(Protocol):
    """How the rows of a service look in its files."""

    @property
    def cells(self) -> int:
        """How many different cells there are to choose from."""
        ...

    def write(self, row: int, choices: tuple[int, ...]) -> bytes:
        """One row of a block, with `BLOCK` wherever the number of the block goes."""
        ...

    def row(self, index: int, choices: tuple[int, ...]) -> tuple[str | None, ...]:
        """The decoded cells of one row of the audience."""
        ...


class _SaaS:
    cells = len(CELLS)

    def write(self, row: int, choices: tuple[int, ...]) -> bytes:
        return b"u%s%03d%s\n" % (BLOCK, row, b"".join(b"," + _ESCAPED[choice] for choice in choices))

    def row(self, index: int, choices: tuple[int, ...]) -> tuple[str | None, ...]:
        return (f"u{index:012d}", *(CELLS[choice] for choice in choices))


SAAS: Dialect = _SaaS()


class Template:
    """One block of rows that repeats; only the high digits of the user ids differ between blocks.

    All blocks therefore have one length, and the block that holds a byte is found by a division.
    """

    def __init__(self, key: str, columns: int, rows: int, dialect: Dialect = SAAS) -> None:
        self.key = key
        self._dialect = dialect
        cells = dialect.cells
        noise = hashlib.shake_256(key.encode()).digest(max(1, rows * columns))
        self._choices = tuple(
            tuple(
                # The first rows go through all cells in turn, the others are noise.
                (row + column + noise[0] if row < cells else noise[row * columns + column]) % cells
                for column in range(columns)
            )
            for row in range(rows)
        )
        lines = [dialect.write(row, choices) for row, choices in enumerate(self._choices)]
        self._pieces = b"".join(lines).split(BLOCK)
        self._ends = [0]
        for line in lines:
            self._ends.append(self._ends[-1] + len(line) + line.count(BLOCK) * (_DIGITS - len(BLOCK)))
        self.length = self._ends[-1]

    def position(self, row: int) -> int:
        """Where a row starts, counted from the first byte of row 0."""
        block, rest = divmod(row, BLOCK_ROWS)
        return block * self.length + self._ends[rest]

    def row(self, index: int) -> tuple[str | None, ...]:
        """The decoded cells of one row; `None` where the service has no value."""
        return self._dialect.row(index, self._choices[index % BLOCK_ROWS])

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from one position to another, in large pieces."""
        if start >= stop:
            return
        step = max(1, BATCH // self.length)
        last = (stop - 1) // self.length + 1
        for low in range(start // self.length, last, step):
            high = min(low + step, last)
            text = b"".join([(b"%09d" % block).join(self._pieces) for block in range(low, high)])
            base = low * self.length
            yield text[max(0, start - base) : stop - base]


@functools.lru_cache(maxsize=512)
def _template(key: str, columns: int, rows: int) -> Template:
    return Template(key, columns, rows)


@dataclass(frozen=True)
class Source:
    """One exported file as the service holds it: the truth that a download is compared with.

    Attributes:
        header: The header row with its line end, or nothing.
        rows: How many rows follow it.

    """

    template: Template = field(repr=False)
    header: bytes
    first: int = field(repr=False)
    rows: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + self._stop - self._start

    @property
    def _start(self) -> int:
        return self.template.position(self.first)

    @property
    def _stop(self) -> int:
        return self.template.position(self.first + self.rows)

    @property
    def etag(self) -> str:
        """A strong validator, quotes included; made from what determines the bytes, so it costs nothing."""
        facts = f"{self.template.key}|{self.header!r}|{self.first}|{self.rows}"
        return f'"{hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()}"'

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in large pieces."""
        stop = min(stop, self.size)
        head = self.header[start:stop]
        if head:
            yield head
        shift = self._start - len(self.header)
        yield from self.template.read(max(start + shift, self._start), stop + shift)

    def slice(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, at once."""
        return b"".join(self.read(start, stop))

    def bytes(self) -> bytes:
        """The whole file; for small ones."""
        return self.slice(0, self.size)

    def open(self) -> io.BufferedReader:
        """The file as a seekable binary stream."""
        return io.BufferedReader(_Stream(self), BATCH)

    def row(self, index: int) -> tuple[str | None, ...]:
        """The decoded cells of one row, `None` where there is no value; the header is not counted."""
        if not 0 <= index < self.rows:
            raise IndexError(f"no row {index} in a file of {self.rows}")
        return self.template.row(self.first + index)

    @functools.cached_property
    def sha256(self) -> str:
        """The hex digest of the whole file."""
        return self._digest("sha256")

    @functools.cached_property
    def md5(self) -> str:
        """The hex digest of the whole file."""
        return self._digest("md5")

    def _digest(self, name: str) -> str:
        digest = hashlib.new(name, usedforsecurity=False)
        for block in self.read(0, self.size):
            digest.update(block)
        return digest.hexdigest()


class _Stream(io.RawIOBase):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._source.size}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        block = self._source.slice(self._offset, self._offset + len(buffer))
        buffer[: len(block)] = block
        self._offset += len(block)
        return len(block)


def make_parts(
    key: str, columns: Sequence[str], rows: int, *, parts: int = 1, repeat_header: bool = True
) -> tuple[Source, ...]:
    """The files of one export: its rows, in order, split evenly over the parts."""
    template = _template(key, len(columns) - 1, max(1, min(rows, BLOCK_ROWS)))
    header = b",".join(escape_cell(column) for column in columns) + b"\n"
    return cut_parts(template, header, rows, parts=parts, repeat_header=repeat_header)


def cut_parts(
    template: Template, header: bytes, rows: int, *, parts: int, repeat_header: bool
) -> tuple[Source, ...]:
    """The rows of a template, split evenly over the parts."""
    cuts = [rows * part // parts for part in range(parts + 1)]
    return tuple(
        Source(template, header if repeat_header or part == 0 else b"", first, last - first)
        for part, (first, last) in enumerate(itertools.pairwise(cuts))
    )
