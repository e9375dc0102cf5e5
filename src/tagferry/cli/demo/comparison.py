"""The files of a fetch, beside what the emulator knows of each account."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from tagferry.cli.demo.part import Row
from tagferry.emulator import tags_of
from tagferry.lookups.target import Target

__all__ = ["Comparison"]


class _Line(msgspec.Struct):
    account: str
    tags: list[str] | None = None
    code: int | str | None = None


class Comparison:
    """Counts every account of the input in the files; blocks.

    An account is as it should be when it is in exactly one of the two files, once, and if it is among the
    answers, with the tags that the emulator makes for it.

    Args:
        target: The files.
        accounts: Gives the input.
    """

    def __init__(self, target: Target, accounts: Callable[[], Iterable[str]]) -> None:
        left = set(accounts())
        self.accounts = len(left)
        """How many distinct ones there are."""
        answers, dead = list(_read(target.output)), list(_read(target.dead))
        right = all(line.tags == tags_of(line.account) for line in answers)
        found = [line.account for line in (*answers, *dead)]
        once = len(found) == len(left) and set(found) == left
        self.is_same = right and once and all(line.code is not None for line in dead)
        """Whether all are as they should be."""
        self.rows = [_row(target.output, len(answers), same=self.is_same)]
        """Both files."""
        if dead:
            self.rows.append(_row(target.dead, len(dead), same=self.is_same))


def _read(path: Path) -> Iterator[_Line]:
    if path.exists():
        decoder = msgspec.json.Decoder(_Line)
        with path.open("rb") as file:
            for line in file:
                yield decoder.decode(line)


def _row(path: Path, lines: int, *, same: bool) -> Row:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Row(path, lines, path.stat().st_size, digest, same)
