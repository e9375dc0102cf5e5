"""A record that cannot be read: where it stands, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from tagferry.errors import ConfigError, RecordError
from tagferry.wire.excerpt import excerpt

__all__ = ["Fault", "Faults", "OnError", "record_error"]

OnError = Literal["raise", "skip", "collect"]
_KEPT = 1000
_VALUE = 80


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one record."""

    line: int
    """The number of the record's first line, from 1."""
    reason: str
    column: str | None = None
    """The column of a CSV file, or the path in a JSON value."""
    value: str | bytes | None = None
    """What stands there."""
    hint: str | None = None


class Faults:
    """Does with bad records what the caller wants, over all files of one reading.

    Args:
        on_error: Whether the first one ends the reading, or they are left out and counted, or kept too.

    Raises:
        ConfigError: Another word is given.
    """

    def __init__(self, on_error: OnError = "raise") -> None:
        if on_error not in get_args(OnError):
            raise ConfigError(f"on_error is {on_error!r}", hint="give one of raise, skip, collect")
        self.on_error: OnError = on_error
        self._kept: list[RecordError] = []
        self.total = 0
        """Bad records so far, also those that were not kept."""
        self.failure: RecordError | None = None
        """What ended the reading: rows before it are good, and nothing is read behind it."""

    @property
    def kept(self) -> Sequence[RecordError]:
        """The first 1,000 of them, when they are collected."""
        return self._kept

    def note(self, fault: Fault, file: Path) -> bool:
        """Take a bad record; tell whether to read on."""
        self.total += 1
        if self.on_error == "raise":
            self.failure = record_error(fault, file)
        elif self.on_error == "collect" and len(self._kept) < _KEPT:
            self._kept.append(record_error(fault, file))
        return self.failure is None

    def stop(self, fault: Fault, file: Path) -> None:
        """Take a fault behind which nobody can say where the next record begins."""
        self.total += 1
        self.failure = record_error(fault, file)


def record_error(fault: Fault, file: Path) -> RecordError:
    """Return the error that names file, line, column and value, in words and as attributes."""
    where = f"{file}, line {fault.line}"
    if fault.column is not None:
        where += f", column {excerpt(fault.column, _VALUE)}"
    value = None if fault.value is None else excerpt(fault.value, _VALUE)
    return RecordError(
        f"{where}: {fault.reason}" + ("" if value is None else f": {value!r}"),
        hint=fault.hint,
        file=file,
        line=fault.line,
        column=fault.column,
        value=value,
    )
