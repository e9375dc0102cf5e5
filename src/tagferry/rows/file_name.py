"""The names of exported files: what they say, and what is made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["FileName", "output_name", "split_name"]

_ENDING = re.compile(r"(\.(csv|tsv|txt|json|jsonl|ndjson))?(\.gz)?$", re.IGNORECASE)
_PART = re.compile(r"-([0-9]{5})$")


class FileName(NamedTuple):
    """What the name of an exported file says."""

    stem: str
    """It without ending and number."""
    part: int | None
    """The number of the part, from 1."""
    format: str
    """The ending, such as ``".csv"``; without ``.gz``."""


def split_name(name: str) -> FileName:
    """Return what a name says.

    >>> split_name("growingio-tag-nxog09md-5rREn4PL-00002.csv.gz")
    FileName(stem='growingio-tag-nxog09md-5rREn4PL', part=2, format='.csv')
    """
    ending = _ENDING.search(name)
    assert ending is not None, "it matches nothing as well"
    stem = name[: ending.start()]
    number = _PART.search(stem)
    return FileName(
        stem[: number.start()] if number else stem,
        int(number[1]) if number else None,
        (ending[1] or "").lower(),
    )


def output_name(files: Sequence[Path], to: str) -> str:
    """Return the name of what is made of some files: that of one file keeps its number.

    >>> output_name([Path("x-00001.csv"), Path("x-00002.csv")], "parquet")
    'x.parquet'
    """
    first = split_name(files[0].name)
    number = f"-{first.part:05d}" if first.part is not None and len(files) == 1 else ""
    return f"{first.stem}{number}.{to}"
