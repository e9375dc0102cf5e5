"""One whole process, measured from outside."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Usage

__all__ = ["BenchmarkError", "environment", "own_peak", "require", "run"]

_TIMEOUT = 600
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_ROOT = Path(__file__).resolve().parent.parent


class BenchmarkError(Exception):
    """The benchmark cannot be run, or it measured something else than it says."""


def require(*programs: str) -> None:
    """Make sure that programs are there.

    Raises:
        BenchmarkError: One is not.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise BenchmarkError(f"not installed: {', '.join(missing)}; without it there is nothing to compare")


def run(command: Sequence[str], directory: Path) -> tuple[Usage, str]:
    """Run a command to its end and return what it took and what it printed.

    Args:
        command: The program and its arguments.
        directory: Where it runs.

    Raises:
        BenchmarkError: It failed.
    """
    out = directory / "stdout.txt"
    err = directory / "stderr.txt"
    program = shutil.which(command[0]) or command[0]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, str(err), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    began = time.perf_counter()
    child = os.posix_spawn(program, list(command), environment(), file_actions=actions, setpgroup=0)
    try:
        # An alarm, not a polling loop: nothing of ours may run beside what is measured.
        signal.alarm(_TIMEOUT)
        _, status, spent = os.wait4(child, 0)
        wall = time.perf_counter() - began
    except BaseException:
        # Its own group, so that the programs of a shell end with it.
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        signal.alarm(0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        detail = err.read_text(errors="replace").strip()[-600:]
        raise BenchmarkError(f"{' '.join(command[:4])} ended with {code}: {detail}")
    usage = Usage(wall, spent.ru_utime + spent.ru_stime, spent.ru_maxrss * _RSS_UNIT)
    return usage, out.read_text(errors="replace")


def own_peak() -> int:
    """Return the peak memory of this process in bytes.

    The kernel counts the memory of the process that starts another one towards the started one, so no
    measured peak is below this.
    """
    import resource  # noqa: PLC0415

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def environment() -> Mapping[str, str]:
    """Return the environment of what is run."""
    # An installed package has its bytecode at hand, so ours must not compile itself in every run.
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(_ROOT)}
