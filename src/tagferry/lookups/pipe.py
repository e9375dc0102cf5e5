"""A fetch into a stream: each account once, but with nothing kept for a next run."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from tagferry.errors import DiskError
from tagferry.lookups.format import find_format
from tagferry.lookups.plan import Checkpoint, Plan, Totals
from tagferry.lookups.target import Target

__all__ = ["PipePlace"]

_NAME = "stdout.jsonl"


class PipePlace:
    """What `tagferry.lookups.workplace.Workplace` is for files, for two streams and a temporary spool.

    Everything here blocks. Close it in the end.

    Args:
        output: Takes the lines of answers.
        dead_letters: Takes the lines of failures.

    Raises:
        DiskError: No temporary directory can be made.
    """

    def __init__(self, output: BinaryIO, dead_letters: BinaryIO) -> None:
        self._output = output
        self._dead_letters = dead_letters
        try:
            self._directory = tempfile.TemporaryDirectory(prefix="tagferry-")
        except OSError as error:
            msg = f"cannot make a temporary directory: {error.strerror}"
            raise DiskError(msg, hint="check TMPDIR and the space there") from None
        path = Path(self._directory.name, _NAME)
        self.target = Target(path, find_format(path))
        self.plan: Plan | None = None
        self.checkpoint = Checkpoint(totals=Totals())

    def begin(self, plan: Plan, base: Path | None = None) -> None:
        """Take what is set out for; there is never a base."""
        assert base is None
        self.plan = plan

    def open_files(self) -> None:
        """Do nothing: the streams are open."""

    def save(self, answers: bytes, dead: bytes, low: int, above: list[int], totals: Totals) -> None:
        """Write lines.

        Raises:
            BrokenPipeError: The reader has gone.
            DiskError: A stream cannot be written.
        """
        for stream, text in ((self._dead_letters, dead), (self._output, answers)):
            if text:
                _write(stream, text)
        size = self.checkpoint.dead_size + len(dead)
        self.checkpoint = Checkpoint(low=low, above=above, dead_size=size, totals=totals)

    def close(self) -> None:
        """Remove the spool."""
        self._directory.cleanup()


def _write(stream: BinaryIO, text: bytes) -> None:
    try:
        while text:
            # Without a buffer a stream may take a part; one that does not wait may take nothing.
            written = cast("int | None", stream.write(text))
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            text = text[written:]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DiskError(
            f"cannot write the output: {error.strerror}", hint="check where it leads to"
        ) from None
