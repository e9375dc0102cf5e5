"""The unfinished files of one fetch, while this process works on them. Everything here blocks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Self

from tagferry.exports.disk import disk_errors, sync_directory
from tagferry.exports.place import place_file
from tagferry.ledger import Ledger
from tagferry.lookups.appender import Appender
from tagferry.lookups.plan import Checkpoint, Ending, Plan, Totals
from tagferry.lookups.spool import Spool
from tagferry.lookups.target import Target

__all__ = ["Workplace"]

_PLAN, _CHECKPOINT, _ENDING = "plan", "checkpoint", "ending"


class Workplace:
    """Output, dead letters, spool and ledger of a fetch; the ledger locks them all.

    Args:
        target: Their names.
        ledger: The open ledger.
    """

    def __init__(self, target: Target, ledger: Ledger) -> None:
        self.target = target
        self._ledger = ledger
        self._files: list[Appender] = []
        self.plan = ledger.get(_PLAN, Plan)
        """What an earlier run set out for, or this one."""
        self.checkpoint = ledger.get(_CHECKPOINT, Checkpoint) or Checkpoint(totals=Totals())
        """How far the fetch has come."""
        self.ending = ledger.get(_ENDING, Ending)
        """Set when only the final names are left to give."""

    @classmethod
    def open(cls, target: Target, *, resume: bool) -> Self:
        """Lock the files of a fetch, and take over what an earlier run left, or drop it.

        Raises:
            DiskError: Another process holds them, or something else is in their place.
        """
        with disk_errors(target.output.parent, "make the directory"):
            target.output.parent.mkdir(parents=True, exist_ok=True)
        ledger = Ledger.open(target.ledger)
        try:
            place = cls(target, ledger)
            if place.plan is None or not (resume or place.ending):
                place._clear()
        except BaseException:
            ledger.close()
            raise
        return place

    def begin(self, plan: Plan, base: Path | None = None) -> None:
        """Write down what is set out for; the spool is complete.

        Args:
            plan: What is set out for.
            base: A file that the output begins with, instead of the head of its format.
        """
        part = self.target.part
        with disk_errors(part, "write"):
            if base is None:
                part.write_bytes(self.target.form.head)
            else:
                shutil.copyfile(base, part)
            size = part.stat().st_size
        self.checkpoint = Checkpoint(output_size=size, totals=Totals())
        self._ledger.put(_CHECKPOINT, self.checkpoint)
        self._ledger.put(_PLAN, plan)
        self.plan = plan

    def open_files(self) -> None:
        """Open output and dead letters, without what was written after the last checkpoint."""
        self._files.append(Appender(self.target.part, self.checkpoint.output_size))
        self._files.append(Appender(self.target.dead_part, self.checkpoint.dead_size))

    def save(self, answers: bytes, dead: bytes, low: int, above: list[int], totals: Totals) -> None:
        """Write lines, and then that they are written: a crash in between leaves neither."""
        output, letters = self._files
        output.append(answers)
        letters.append(dead)
        checkpoint = Checkpoint(
            low=low, above=above, output_size=output.size, dead_size=letters.size, totals=totals
        )
        self._ledger.put(_CHECKPOINT, checkpoint)
        self.checkpoint = checkpoint

    def finish(self, *, replace: bool) -> None:
        """Give the files their final names and forget the rest; run again after a crash, it ends the same."""
        if self.ending is None:
            self.ending = Ending(replace)
            self._ledger.put(_ENDING, self.ending)
        target, replace = self.target, self.ending.replace
        self._close_files()
        with disk_errors(target.output, "finish"):
            # Dead letters first: an output under its final name has them beside it.
            if target.dead_part.exists() and self.checkpoint.dead_size:
                place_file(target.dead_part, target.dead, replace=replace)
            else:
                target.dead_part.unlink(missing_ok=True)
            if target.part.exists():
                if replace and not self.checkpoint.dead_size:
                    # Those that are there are of the output that is replaced.
                    target.dead.unlink(missing_ok=True)
                place_file(target.part, target.output, replace=replace)
            target.spool.unlink(missing_ok=True)
            sync_directory(target.output.parent)
        self._ledger.remove()

    def close(self) -> None:
        """Let go of everything; what a next run can go on with stays on disk."""
        try:
            self._close_files()
            if self.plan is None and os.path.lexists(self.target.ledger):
                self._clear()
                self._ledger.remove()
        finally:
            self._ledger.close()

    def _clear(self) -> None:
        """Drop what an earlier run left."""
        for key in (_PLAN, _CHECKPOINT, _ENDING):
            self._ledger.delete(key)
        self.plan, self.ending, self.checkpoint = None, None, Checkpoint(totals=Totals())
        Spool.sweep(self.target.spool)
        for path in (self.target.part, self.target.dead_part):
            with disk_errors(path, "remove"):
                path.unlink(missing_ok=True)

    def _close_files(self) -> None:
        while self._files:
            self._files.pop().close()
