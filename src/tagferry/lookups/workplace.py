"""The unfinished files of one fetch, while this process works on them. Everything here blocks."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import Self

from tagferry.errors import DiskError
from tagferry.files.disk import disk_errors, look, sync_directory
from tagferry.files.place import check_there, place_file
from tagferry.ledger import Ledger
from tagferry.lookups.appender import Appender
from tagferry.lookups.parquet import lines_of
from tagferry.lookups.plan import Checkpoint, Ending, Plan, Totals
from tagferry.lookups.spool import Spool
from tagferry.lookups.target import Target

__all__ = ["Workplace"]

_PLAN, _CHECKPOINT, _ENDING = "plan", "checkpoint", "ending"
_START_OVER = "start over with --no-resume (resume=False)"


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
        self.follows = self.plan is not None
        """Whether an earlier run may have sent requests, a short while ago."""
        self._is_ours = not ledger.is_new

    @classmethod
    def open(cls, target: Target) -> Self:
        """Lock the files of a fetch, and read what an earlier run left.

        Raises:
            DiskError: Another run holds them, or something else is in the place of the ledger.
        """
        with disk_errors(target.output.parent, "make the directory"):
            target.output.parent.mkdir(parents=True, exist_ok=True)
        ledger = Ledger.open(target.ledger)
        try:
            return cls(target, ledger)
        except BaseException:
            ledger.close()
            raise

    def make_room(self) -> None:
        """Drop what an earlier run left.

        Raises:
            DiskError: There was none: without a ledger, what is there is not ours.
        """
        strange = [path for path in self.target.unfinished if look(path, follow=False)]
        if strange and not self._is_ours:
            msg = f"{' and '.join(map(str, strange))}: already there, and no ledger tells what for"
            raise DiskError(msg, code="EEXIST", hint="remove it or choose another output")
        self._is_ours = True
        for key in (_PLAN, _CHECKPOINT, _ENDING):
            self._ledger.delete(key)
        self.plan, self.ending, self.checkpoint = None, None, Checkpoint(totals=Totals())
        self._clear()

    def begin(self, plan: Plan, base: Path | None = None) -> None:
        """Write down what is set out for; the spool is complete.

        Args:
            plan: What is set out for.
            base: A file that the output begins with, instead of the head of its format.
        """
        with (
            contextlib.closing(Appender(self.target.part, 0)) as part,
            contextlib.closing(Appender(self.target.dead_part, 0)),
        ):
            if base is None:
                part.append(self.target.form.head)
            elif self.target.form.is_table:
                part.extend(lines_of(base))
            else:
                part.copy(base)
        # Both files, and the ledger itself, have to be there when the plan is.
        sync_directory(self.target.output.parent)
        self.checkpoint = Checkpoint(output_size=part.size, totals=Totals())
        self._ledger.put(_CHECKPOINT, self.checkpoint)
        self._ledger.put(_PLAN, plan)
        self.plan = plan

    def open_files(self) -> None:
        """Open output and dead letters, without what was written after the last checkpoint.

        Raises:
            DiskError: They, or the spool, are not as they were left.
        """
        assert self.plan is not None
        spool = self.target.spool
        status = look(spool, follow=False)
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != self.plan.size:
            how = "is gone" if status is None else "is not as it was left"
            raise DiskError(f"{spool} {how}", code="ENOENT" if status is None else None, hint=_START_OVER)
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
        """Give the files their final names and forget the rest; run again after a crash, it ends the same.

        Args:
            replace: Whether to replace files that are there.

        Raises:
            DiskError: A name is taken, or the disk refuses.
        """
        assert self.plan is not None
        replace = self._note_ending(replace=replace)
        self._close_files()
        target = self.target
        with disk_errors(target.output, "finish"):
            # Dead letters first: an output under its final name has them beside it.
            if self.checkpoint.dead_size:
                _place(target.dead_part, target.dead, replace=replace)
            if target.form.is_table:
                # What the table was made of; from here on there is only it.
                target.part.unlink(missing_ok=True)
            _place(target.table if target.form.is_table else target.part, target.output, replace=replace)
            if not self.checkpoint.dead_size:
                target.dead_part.unlink(missing_ok=True)
                if replace:
                    # Those that are there are of the output that was replaced.
                    target.dead.unlink(missing_ok=True)
            if self.plan.retried is not None:
                Path(self.plan.retried).unlink(missing_ok=True)
            target.spool.unlink(missing_ok=True)
            sync_directory(target.output.parent)
        self._ledger.remove()

    def close(self) -> None:
        """Let go of everything; what a next run can go on with stays on disk."""
        try:
            self._close_files()
            if self.plan is None:
                if self._is_ours:
                    self._clear()
                self._ledger.remove()
        finally:
            self._ledger.close()

    def _clear(self) -> None:
        Spool.sweep(self.target.spool)
        for path in self.target.unfinished:
            with disk_errors(path, "remove"):
                path.unlink(missing_ok=True)

    def _note_ending(self, *, replace: bool) -> bool:
        """Write down that nothing but names is left to give; return whether files are replaced."""
        before = self.ending
        if before is None or (replace and not before.replace):
            self.ending = Ending(replace or (before is not None and before.replace))
            self._ledger.put(_ENDING, self.ending)
        assert self.ending is not None
        return self.ending.replace

    def _close_files(self) -> None:
        while self._files:
            self._files.pop().close()


def _place(source: Path, target: Path, *, replace: bool) -> None:
    """Give a file its final name, unless a run that was ended did so."""
    if look(source, follow=False):
        place_file(source, target, replace=replace)
    elif not look(target, follow=False):
        check_there(source)
