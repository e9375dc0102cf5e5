"""The console entry: ``tagferry`` and ``python -m tagferry``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = ("cyclopts", "platformdirs", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        argv: The words after the program's name; by default those of the process.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        text = "tagferry: the command line is not installed\n  next: run pip install 'tagferry[cli]'\n"
        sys.stderr.write(text)
        return 2
    try:
        from tagferry.cli.app import run  # noqa: PLC0415  # only where its packages are there
    except KeyboardInterrupt:
        # It takes a third of a second, in which nothing has begun.
        sys.stderr.write("tagferry: stopped by SIGINT\n")
        return 130
    return run(sys.argv[1:] if argv is None else list(argv))


if __name__ == "__main__":
    sys.exit(main())
