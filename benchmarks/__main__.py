"""``python -m benchmarks [NAME...] [--quick] [--json FILE] [--markdown FILE]``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import download, growth, limiter, lookups, memory, poller, rows
from benchmarks.compare import MB, Settings
from benchmarks.figures import Table
from benchmarks.process import BenchmarkError
from benchmarks.report import as_json, as_markdown, as_text

BENCHMARKS: Mapping[str, Callable[[Settings], Table]] = {
    "download": download.run,
    "memory": memory.run,
    "lookups": lookups.run,
    "limiter": limiter.run,
    "poller": poller.run,
    "growth": growth.run,
    "rows": rows.run,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line names and print it; return the exit code.

    An aim that is missed is printed, and is no failure: a busy machine misses them too.
    """
    given = _parser().parse_args(words)
    settings = Settings(
        quick=given.quick,
        rounds=given.rounds,
        size=int(given.size * MB),
        directory=given.directory,
        loop=given.loop,
        large=given.large,
    )
    # Whatever ends us, the server and the files of a run go too.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _stop)
    load = os.getloadavg()[0]
    tables, failed = _run(given.name or BENCHMARKS, settings)
    machine = _machine(load)
    print(as_text(tables, machine), end="")
    if failed:
        return 1
    if given.json:
        given.json.write_text(as_json(tables, machine))
    if given.markdown:
        given.markdown.write_text(as_markdown(tables, machine, sys.argv[1:] if words is None else words))
    return 0


def _run(names: Iterable[str], settings: Settings) -> tuple[list[Table], bool]:
    """Run benchmarks; what others found is not lost with one that cannot be run."""
    tables: list[Table] = []
    failed = False
    for name in names:
        print(name, file=sys.stderr, flush=True)
        try:
            tables.append(BENCHMARKS[name](settings))
        except BenchmarkError as error:
            print(f"benchmark {name} failed: {error}", file=sys.stderr)
            failed = True
    return tables, failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare tagferry with peers.")
    names = f"{' or '.join(BENCHMARKS)}; all by default"
    parser.add_argument("name", nargs="*", type=_benchmark, metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="a smoke of a few seconds; judges no aim")
    parser.add_argument("--rounds", type=_positive, default=9, metavar="N", help="pairs for each peer")
    parser.add_argument("--size", type=_positive, default=475, metavar="MB", help="size of the download")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where downloads are written")
    parser.add_argument("--loop", choices=("auto", "uvloop", "asyncio"), default="auto")
    parser.add_argument("--large", action="store_true", help="also the sizes that take minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run to a file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to a file")
    return parser


def _benchmark(text: str) -> str:
    if text in BENCHMARKS:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(BENCHMARKS)}")


def _positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")


def _stop(number: int, _frame: object) -> None:
    raise SystemExit("time-out" if number == signal.SIGALRM else 128 + number)


def _machine(load: float) -> dict[str, str]:
    packages = (
        "tagferry",
        "aiohttp",
        "anyio",
        "msgspec",
        "uvloop",
        *limiter.PEERS,
        *poller.PEERS,
        *rows.PEERS,
        "requests",
    )
    return {
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in packages),
        # Without what a vendor puts behind the kernel's own version.
        "machine": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()},"
        f" {os.cpu_count()} CPUs",
        "load": f"{load:.1f} before, {os.getloadavg()[0]:.1f} at the end",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    sys.exit(main())
