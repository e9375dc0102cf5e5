"""Peak memory of our process at a small and at a large file, and what it is before the first byte."""

from __future__ import annotations

from benchmarks.compare import MB, Settings, measure
from benchmarks.download import floor, ours
from benchmarks.figures import Aim, Figure, Table
from benchmarks.process import own_peak
from benchmarks.store import serve

__all__ = ["run"]

_SIZES = (10 * MB, 2000 * MB)
_QUICK_SIZES = (2 * MB, 20 * MB)
_AT_MOST = 80


def run(settings: Settings) -> Table:
    """Measure the peak memory of a download by its size, beside that of the bare imports."""
    sizes, rounds = (_QUICK_SIZES, 1) if settings.quick else (_SIZES, 3)
    imports = floor(settings.loop)
    runs: list[tuple[str, list[float]]] = [
        (imports.name, [measure(imports, settings.directory).rss for _ in range(rounds)])
    ]
    for size in sizes:
        with serve(size) as store:
            mine = ours(store, settings.loop)
            peaks = [measure(mine, settings.directory).rss for _ in range(rounds)]
        runs.append((f"{mine.name}, {size / MB:.0f} MB", peaks))
    return Table(
        "memory",
        f"peak resident memory of whole processes, {rounds} runs each: median (lowest-highest)",
        ("", "peak MB"),
        [[name, Figure.of(peaks).text(MB, 1)] for name, peaks in runs],
        [
            Aim(f"{name}, highest peak in MB", max(peaks) / MB, _AT_MOST, not settings.quick)
            for name, peaks in runs[1:]
        ],
        [{"name": name, "peaks": peaks} for name, peaks in runs],
        [f"no figure can be below the {own_peak() / MB:.0f} MB of the benchmark's own process"],
    )
