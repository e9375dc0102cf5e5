"""Results as text, Markdown and JSON. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from benchmarks.figures import Table

__all__ = ["as_json", "as_markdown", "as_text"]

_INTRODUCTION = """\
Whole processes, ours and a peer in turn, in one run on one machine; a ratio is taken pair by pair, and then
their median. The notes below a table say what is compared with what. What runs beside ours has to be there:
nginx, curl, if wanted aria2c, and the packages of the group `bench` in `pyproject.toml`, which `nox -s bench`
installs. It is written, and not by hand, by"""


def as_text(tables: Sequence[Table], machine: Mapping[str, str]) -> str:
    """Return all tables for a terminal."""
    blocks = ["\n".join(f"{name}: {value}" for name, value in machine.items())]
    blocks += [_text(table) for table in tables]
    return "\n\n".join(blocks) + "\n"


def as_markdown(tables: Sequence[Table], machine: Mapping[str, str], words: Sequence[str]) -> str:
    """Return all tables as a page.

    Args:
        tables: The tables.
        machine: What they were measured on.
        words: The words of the command that measured them.
    """
    command = shlex.join(["python", "-m", "benchmarks", *words])
    blocks = ["# Benchmarks", f"{_INTRODUCTION} `{command}`."]
    blocks += ["\n".join(f"- {name}: {value}" for name, value in machine.items())]
    blocks += [_markdown(table) for table in tables]
    return "\n\n".join(blocks) + "\n"


def as_json(tables: Sequence[Table], machine: Mapping[str, str]) -> str:
    """Return all tables, and every single run, for a program."""
    found = [
        {
            "name": table.name,
            "title": table.title,
            "columns": list(table.columns),
            "rows": [list(row) for row in table.rows],
            "aims": [
                {"text": aim.text, "value": aim.value, "at_most": aim.at_most, "verdict": aim.verdict}
                for aim in table.aims
            ],
            "notes": list(table.notes),
            "raw": table.raw,
        }
        for table in tables
    ]
    return json.dumps({"v": 1, "machine": dict(machine), "benchmarks": found}, indent=1) + "\n"


def _text(table: Table) -> str:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [f"{table.name}: {table.title}", ""]
    for number, row in enumerate(rows):
        # Names to the left, figures to the right.
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in _zip(row[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    lines += ["", *_aims(table)] if table.aims else []
    lines += [f"note: {note}" for note in table.notes]
    return "\n".join(lines)


def _markdown(table: Table) -> str:
    lines = [f"## {table.name}: {table.title}", ""]
    lines.append(_row(table.columns))
    lines.append(_row(["---", *("---:" for _ in table.columns[1:])]))
    lines += [_row(row) for row in table.rows]
    lines += ["", *(f"- {line}" for line in _aims(table))] if table.aims else []
    lines += [f"- note: {note}" for note in table.notes]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _aims(table: Table) -> list[str]:
    return [f"aim {aim.verdict}: {aim.text} {aim.value:.2f}, at most {aim.at_most:.2f}" for aim in table.aims]


def _zip(cells: Sequence[str], widths: Sequence[int]) -> list[tuple[str, int]]:
    return list(zip(cells, widths, strict=True))
