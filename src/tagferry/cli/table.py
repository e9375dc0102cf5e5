"""Tables as wide as the terminal; a Chinese character takes two of its columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

__all__ = ["draw", "shrink"]

_GAP = "  "
_FLOOR = 8
"""Columns behind the first one are cut to this width before the first one is cut."""


def draw(
    header: Sequence[str], rows: Sequence[Sequence[str]], room: int, *, right: frozenset[int] = frozenset()
) -> list[str]:
    """Return a table as lines.

    Args:
        header: The names of the columns.
        rows: Their texts, on one line each.
        room: The width of the terminal; texts that do not fit are cut with an ellipsis.
        right: Columns of numbers, which end under each other.
    """
    table = [list(header), *map(list, rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    widths = shrink(widths, room - len(_GAP) * (len(widths) - 1))
    return [_line(texts, widths, right) for texts in table]


def shrink(widths: Sequence[int], room: int) -> list[int]:
    """Make columns narrower until they fit: the widest one behind the first, and the first as the last.

    >>> shrink([10, 40, 12], 50)
    [10, 28, 12]
    """
    fitting = [min(width, max(room, 1)) for width in widths]
    for first, floor in ((1, _FLOOR), (0, 1)):
        while sum(fitting) > room and max(fitting[first:], default=0) > floor:
            widest = max(range(first, len(fitting)), key=fitting.__getitem__)
            fitting[widest] -= 1
    return fitting


def _line(texts: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = (
        _cell(text, width, right=place in right)
        for place, (text, width) in enumerate(zip(texts, widths, strict=True))
    )
    return _GAP.join(cells).rstrip()


def _cell(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        # Half of a wide character is a blank.
        text = set_cell_size(text, width - 1).rstrip() + "…"
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks
