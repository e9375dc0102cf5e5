"""The files of one fetch: its output, its dead letters, and what stands beside them until it is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import msgspec

from tagferry.errors import ConfigError
from tagferry.files.disk import check_directory, disk_errors, is_plain, look, names_in
from tagferry.lookups.format import Format, find_format
from tagferry.rows.arrow import load

__all__ = ["IfExists", "Target", "check_dead_letters", "output_of"]

IfExists = Literal["error", "skip", "replace"]

_DEAD = ".dead.jsonl"
_ENDINGS = (".jsonl", ".csv", ".parquet")


class Target(msgspec.Struct, frozen=True):
    """Where a fetch writes. Only `output` and `dead` stay when it is done."""

    output: Path
    form: Format

    @classmethod
    def of(cls, output: str | os.PathLike[str]) -> Target:
        """Name the files of an output.

        Raises:
            ConfigError: The name does not end in a known format.
        """
        path = Path(output)
        return cls(path, find_format(path))

    @property
    def dead(self) -> Path:
        """The dead letters: accounts that the service would not answer for."""
        return self.output.with_name(self.output.stem + _DEAD)

    @property
    def part(self) -> Path:
        """The unfinished output."""
        return self._beside(self.output, ".part")

    @property
    def table(self) -> Path:
        """The table made of it, if there is to be one, until it has its final name."""
        return self._beside(self.output, ".table")

    @property
    def dead_part(self) -> Path:
        """The unfinished dead letters; an output in another format may share the final name."""
        return self._beside(self.output, ".dead.part")

    @property
    def spool(self) -> Path:
        """The accounts, each once."""
        return self._beside(self.output, ".accounts")

    @property
    def ledger(self) -> Path:
        """How far the fetch has come."""
        return self._beside(self.output, ".ledger")

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """What a fetch works on while its ledger is there."""
        table = (self.table,) if self.form.is_table else ()
        return self.part, *table, self.dead_part, self.spool

    def check(self, if_exists: IfExists) -> bool:
        """Refuse what cannot end well, without touching the disk. Blocks.

        Returns:
            Whether there is nothing to do, since the output is there and is to be kept.

        Raises:
            ConfigError: The place cannot be written, a file is already there, or something is not installed.
        """
        if if_exists not in get_args(IfExists):
            raise ConfigError(f"if_exists is {if_exists!r}", hint="give one of error, skip, replace")
        self.check_tools()
        with disk_errors(self.output, "look for"):
            check_directory(self.output.parent)
            for path in (self.output, self.dead):
                if look(path, follow=False) and not is_plain(path):
                    raise ConfigError(f"{path} is no plain file", hint="choose another output")
            # A run that was ended while it gave the files their names is brought to its end first.
            return not look(self.ledger, follow=False) and self.is_kept(if_exists)

    def check_tools(self) -> None:
        """Make sure that what writes the output is installed. Blocks.

        Raises:
            ConfigError: It is not.
        """
        if self.form.is_table:
            load()

    def is_kept(self, if_exists: IfExists) -> bool:
        """Tell whether the output is there and is to be kept. Blocks.

        Raises:
            ConfigError: A file is there and must be neither kept nor replaced.
        """
        taken = [path for path in (self.output, self.dead) if look(path, follow=False)]
        if not taken or if_exists == "replace":
            return False
        if if_exists == "skip" and taken[0] == self.output:
            return True
        hint = "--if-exists skip (if_exists=) keeps it, replace does not; or choose another output"
        raise ConfigError(f"{taken[0]} is already there", hint=hint)

    @staticmethod
    def _beside(path: Path, ending: str) -> Path:
        return path.with_name(path.name + ending)


def output_of(dead_letters: Path) -> Path:
    """Return the output that dead letters came from, by their name. Blocks.

    Raises:
        ConfigError: They are not named like dead letters, or there is not one output beside them.
    """
    name = dead_letters.name
    if not name.endswith(_DEAD):
        msg = f"{dead_letters} is not named like dead letters"
        raise ConfigError(msg, hint=f"give the file that a fetch wrote, NAME{_DEAD}")
    stem = name.removesuffix(_DEAD)
    beside = [dead_letters.with_name(one) for one in names_in(dead_letters.parent)]
    # The ending may be in capitals.
    found = [one for one in beside if one.stem == stem and one.suffix.lower() in _ENDINGS and is_plain(one)]
    if len(found) == 1:
        return found[0]
    check_dead_letters(dead_letters)
    what = "more than one is there" if found else "none is there"
    msg = f"{dead_letters} came from {stem}.jsonl, {stem}.csv or {stem}.parquet, and {what}"
    raise ConfigError(msg, hint="keep dead letters beside the output that they came from, or name the output")


def check_dead_letters(path: Path) -> None:
    """Refuse dead letters that are not there. Blocks.

    Raises:
        ConfigError: There are none.
    """
    if not os.path.lexists(path):
        hint = "check the name; beside an output without them, nothing failed"
        raise ConfigError(f"there are no dead letters {path}", hint=hint)
