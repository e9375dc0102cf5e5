"""Alternating runs of ours and of a peer."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Figure, Pair, Pairing, Usage
from benchmarks.process import run

__all__ = ["MB", "Contestant", "Settings", "compare", "measure", "raw_of", "rows_of"]

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How a benchmark is run."""

    quick: bool = False
    """A smoke: small sizes and one round, and no aim is judged."""
    rounds: int = 9
    size: int = 475 * MB
    """Bytes of the downloaded file."""
    directory: Path | None = None
    """Where files are written; the place of temporary files unless given."""
    loop: str = "auto"
    """The event loop of ours: ``uvloop``, ``asyncio``, or the better one that is there."""
    large: bool = False
    """Sizes that take minutes too."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A command that does the job."""

    name: str
    command: Sequence[str]
    """Its program and arguments; ``{out}`` stands for an empty directory of its own."""
    check: Callable[[Path, str], None]
    """Raises unless the directory and what was printed show that the job was done."""


def measure(contestant: Contestant, place: Path | None, scrap: int = 0) -> Usage:
    """Run a contestant once, in a directory of its own, and check what it did.

    Args:
        contestant: Who runs.
        place: Where files are written.
        scrap: Bytes that are written and dropped before. In a virtual machine memory that was not used
            for a while is slow to touch, twice the time for a whole download; so both sides find it used.

    Raises:
        BenchmarkError: It failed, or did not do the job.
    """
    with tempfile.TemporaryDirectory(prefix="tagferry-bench-", dir=place) as name:
        out = Path(name) / "out"
        out.mkdir()
        # What others left to be written must not be paid for by whoever syncs next.
        os.sync()
        _use_memory(Path(name) / "scrap", scrap)
        usage, printed = run([word.replace("{out}", str(out)) for word in contestant.command], Path(name))
        contestant.check(out, printed)
        shutil.rmtree(out)
    return usage


def compare(ours: Contestant, peer: Contestant, rounds: int, place: Path | None, scrap: int) -> Pairing:
    """Run ours and a peer in turn, after a warm-up of both that does not count; a smoke has none.

    Args:
        ours: Ours.
        peer: What it is compared with.
        rounds: How many pairs.
        place: Where files are written.
        scrap: As for `measure`.
    """
    for contestant in (ours, peer) if rounds > 1 else ():
        measure(contestant, place, scrap)
    pairs: list[Pair] = []
    for number in range(1, rounds + 1):
        pairs.append(Pair(measure(ours, place, scrap), measure(peer, place, scrap)))
        print(f"  {number}/{rounds} against {peer.name}", file=sys.stderr, flush=True)
    return Pairing(peer.name, pairs)


def rows_of(pairings: Sequence[Pairing], name: str) -> list[list[str]]:
    """Return table rows: ours over all pairings, then each peer with ours divided by it."""
    rows = [_row(name, [pair.ours for pairing in pairings for pair in pairing.pairs], "1", "1")]
    for pairing in pairings:
        wall = pairing.ratio(lambda usage: usage.wall).text()
        cpu = pairing.ratio(lambda usage: usage.cpu).text()
        rows.append(_row(pairing.peer, [pair.peer for pair in pairing.pairs], wall, cpu))
    return rows


def raw_of(pairings: Sequence[Pairing]) -> object:
    """Return every single run."""
    return [asdict(pairing) for pairing in pairings]


def _use_memory(path: Path, size: int) -> None:
    block = bytes(MB)
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MB):
            file.write(block)
    path.unlink()


def _row(name: str, usages: Sequence[Usage], wall: str, cpu: str) -> list[str]:
    return [
        name,
        Figure.of(usage.wall for usage in usages).text(),
        Figure.of(usage.cpu for usage in usages).text(),
        Figure.of(usage.rss for usage in usages).text(MB, 0),
        wall,
        cpu,
    ]
