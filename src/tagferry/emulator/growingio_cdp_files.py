"""What is in the files of the emulated CDP: CSV and JSON Lines, made as they are read."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagferry.emulator.audience import BLOCK, BLOCK_ROWS, CELLS, Template, cut_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tagferry.emulator.audience import Source
    from tagferry.emulator.growingio_cdp_catalog import Catalog
    from tagferry.emulator.growingio_cdp_settings import Form

MOST_PROPERTIES = 60
OPTIONS = {"fileFormat": ("csv", "json"), "csvHeaderType": ("key", "name"), "language": ("CH", "US")}
"""What else a job may say, with the default first."""

# The one cell more is null, which is no empty string.
_CELLS = (*CELLS, None)
_IDENTITY = re.compile(r"(ids?)_(.+)")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job is to write."""

    properties: tuple[str, ...]
    file_format: str = "csv"
    header: str = "key"
    language: str = "CH"

    @classmethod
    def read(cls, parameters: Iterable[str]) -> Wish:
        """Read the parameters of an export: properties, and options that are not at their default."""
        given = {name: words[0] for name, words in OPTIONS.items()}
        properties: list[str] = []
        for parameter in parameters:
            name, sign, value = parameter.partition("=")
            if not sign:
                properties.append(parameter)
            elif value not in OPTIONS.get(name, ()):
                raise ValueError(f"{parameter!r} is no option of an export of the CDP")
            else:
                given[name] = value
        return cls(tuple(properties), *given.values())

    def write(self) -> tuple[str, ...]:
        """The same as parameters of an export, always in one form."""
        given = zip(OPTIONS, (self.file_format, self.header, self.language), strict=True)
        return (*self.properties, *(f"{name}={value}" for name, value in given if value != OPTIONS[name][0]))


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns behind `gio_id`: for each the key that is written, and whether it is an identity."""

    columns: tuple[tuple[str, bool], ...]
    examples: bool

    @property
    def cells(self) -> int:
        return len(_CELLS)

    def row(self, index: int, choices: tuple[int, ...]) -> tuple[str | None, ...]:
        columns = zip(self.columns, choices, strict=True)
        cells = (f"C{index:012d}" if identity else _CELLS[choice] for (_, identity), choice in columns)
        return (f"6{index:012d}", *cells)


class _Csv(_Layout):
    """RFC 4180, every value in quotes, null as nothing at all."""

    def write(self, row: int, choices: tuple[int, ...]) -> bytes:
        cells = [b'"6%s%03d"' if self.examples else b"6%s%03d"]
        cells[0] %= (BLOCK, row)
        for (_, identity), choice in zip(self.columns, choices, strict=True):
            cells.append(b'"C%s%03d"' % (BLOCK, row) if identity else _quote(_CELLS[choice]))
        return b",".join(cells) + b"\n"


class _Lines(_Layout):
    """One JSON object a line; without properties it has no maps."""

    def write(self, row: int, choices: tuple[int, ...]) -> bytes:
        line = b'{"gio_id":6%s%03d' if self.examples else b'{"gio_id":"6%s%03d"'
        line %= (BLOCK, row)
        fields: tuple[list[bytes], list[bytes]] = ([], [])
        for (key, identity), choice in zip(self.columns, choices, strict=True):
            value = b'"C%s%03d"' % (BLOCK, row) if identity else _json(_CELLS[choice])
            fields[not identity].append(_json(key) + b":" + value)
        if self.columns:
            line += b',"identifications":{%s},"properties":{%s}' % tuple(map(b",".join, fields))
        return line + b"}\n"


def make_files(
    key: str, wish: Wish, catalog: Catalog, form: Form, rows: int, *, parts: int, repeat_header: bool
) -> tuple[Source, ...]:
    """The files of one job; the key says whose users they are."""
    examples = form == "examples"
    columns = _name_columns(wish.properties, "d" if examples else "id")
    kind = _Lines if wish.file_format == "json" else _Csv
    facts = f"{key}|{','.join(wish.write())}|{form}"
    template = _template(facts, kind(columns, examples), max(1, min(rows, BLOCK_ROWS)))
    return cut_parts(
        template, _header(wish, columns, catalog), rows, parts=parts, repeat_header=repeat_header
    )


@functools.lru_cache(maxsize=512)
def _template(key: str, layout: _Csv | _Lines, rows: int) -> Template:
    return Template(key, len(layout.columns), rows, layout)


def _name_columns(properties: Sequence[str], prefix: str) -> tuple[tuple[str, bool], ...]:
    """Name the columns as the service does: an identity comes back under another key than was asked for."""
    columns: dict[str, bool] = {}
    for asked in properties:
        match = _IDENTITY.fullmatch(asked)
        # Who asks for both forms of an identity gets two columns, so they need two keys.
        names = (f"{prefix}_{match[2]}", asked, f"ids_{match[2]}") if match else (asked,)
        columns[next(name for name in names if name not in columns)] = match is not None
    return tuple(columns.items())


def _header(wish: Wish, columns: Sequence[tuple[str, bool]], catalog: Catalog) -> bytes:
    if wish.file_format == "json":
        return b""
    names = [column for column, _ in columns]
    if wish.header == "name":
        names = [catalog.display(name, wish.language) for name in names]
    return b",".join(map(_quote, ("gio_id", *names))) + b"\n"


def _quote(cell: str | None) -> bytes:
    return b"" if cell is None else b'"%s"' % cell.replace('"', '""').encode()


def _json(value: str | None) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
