"""Where a run writes to: data to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console

from tagferry.cli.logs import Redactor
from tagferry.cli.text import plain
from tagferry.errors import DiskError, TagferryError

__all__ = ["PatientConsole", "Screen", "set_up_streams"]


class PatientConsole(Console):
    """A console on a standard stream; when its reader goes away it falls silent, and the work goes on."""

    def on_broken_pipe(self) -> None:
        """Write nothing more."""
        self.quiet = True
        _silence(2 if self.stderr else 1)


class Screen:
    """Both standard streams.

    Args:
        redactor: Takes secrets out of what people read.
        live: Whether a view that renews itself is wanted although standard error is no terminal.
    """

    def __init__(self, redactor: Redactor, *, live: bool = False) -> None:
        self.redactor = redactor
        self.console = PatientConsole(
            stderr=True, markup=False, highlight=False, emoji=False, force_terminal=True if live else None
        )

    def say(self, text: str) -> None:
        """Write a line for people to standard error."""
        self.console.out(self.redactor.clean(text), highlight=False)

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.say(f"tagferry: warning: {plain(text)}")

    def fail(self, message: str, hint: str | None) -> None:
        """Write what went wrong, and the next step."""
        self.say(f"tagferry: error: {plain(message)}")
        if hint:
            self.say(f"  next: {plain(hint)}")

    def fail_with(self, error: TagferryError, subject: str = "") -> None:
        """Write an error of ours."""
        self.fail(f"{subject}: {error.message}" if subject else error.message, error.hint)

    def give(self, lines: Iterable[str]) -> None:
        """Write lines of data to standard output.

        Raises:
            DiskError: They cannot be written; a reader that went away is no error.
        """
        try:
            for line in lines:
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            _silence(1)
        except OSError as error:
            _silence(1)
            message = f"cannot write to standard output: {error.strerror}"
            raise DiskError(message, hint="the saved files are not touched by this") from None


def _silence(descriptor: int) -> None:
    # Else the interpreter complains when it flushes the stream at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def set_up_streams() -> None:
    """Let no character be unprintable: paths pass unchanged, and foreign text is escaped where it must be."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if reconfigure := getattr(stream, "reconfigure", None):
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            reconfigure(errors=errors if utf8 else "backslashreplace")
