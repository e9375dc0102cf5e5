"""A server of our own that runs beside what is measured, in another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.process import BenchmarkError, environment

__all__ = ["Companion", "companion"]

_PATIENCE = 30


class Companion:
    """A running server. It prints one line when it is ready, and ends with its standard input."""

    def __init__(self, module: str, *words: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline().strip()
        """What it printed."""

    def end(self) -> str:
        """Let it end, and return what it printed at last.

        Raises:
            BenchmarkError: It failed.
        """
        printed, _ = self._process.communicate(timeout=_PATIENCE)
        if self._process.returncode or not self.line:
            raise BenchmarkError(f"{self._module} ended with {self._process.returncode}")
        return printed

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def companion(module: str, *words: str) -> Generator[Companion]:
    """Run ``python -m MODULE WORDS`` until the block ends, or until it is told to end."""
    server = Companion(module, *words)
    try:
        if not server.line:
            server.end()
        yield server
    finally:
        server.kill()
