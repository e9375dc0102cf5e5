"""Rows from files, against bare loops of the same parsers; and what eight readers do to the event loop."""

from __future__ import annotations

import json
import random
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.compare import MB, Settings
from benchmarks.figures import Aim, Figure, Table
from benchmarks.process import run as run_process

__all__ = ["PEERS", "run"]

PEERS = ("pyarrow", "polars", "duckdb")
_CASES = {
    "json batches": 0.95,
    "json rows": 0.8,
    "csv texts": 0.7,
    "csv texts, batches": 0.7,
    "csv typed": 0.4,
    "csv typed, batches": 0.4,
    "csv arrow": 0.4,
    "csv duckdb": None,
    "csv to Arrow, pyarrow": None,
    "csv to Arrow, polars": None,
    "csv to Parquet, polars": None,
    "csv to Parquet, duckdb": None,
}
"""The speed of ours over that of the bare loop, or of the named library, that is aimed at."""
_NEEDS = {
    "csv arrow": ("pyarrow",),
    "csv duckdb": ("duckdb",),
    "csv to Arrow, pyarrow": ("pyarrow",),
    "csv to Arrow, polars": ("pyarrow", "polars"),
    "csv to Parquet, polars": ("pyarrow", "polars"),
    "csv to Parquet, duckdb": ("pyarrow", "duckdb"),
}
"""Packages that a case needs; it is left out without them."""
_DELAY = 50
_GROWTH = 8
_WORDS = ("男", "女", "高", "低", "vip", "new", "渠道评估")


def run(settings: Settings) -> Table:
    """Compare reading with bare loops, pair by pair in one process, and measure delays and memory."""
    rows, rounds = (20_000, 1) if settings.quick else (500_000, settings.rounds)
    sizes = (1 * MB, 4 * MB) if settings.quick else (10 * MB, (2000 if settings.large else 200) * MB)
    with tempfile.TemporaryDirectory(prefix="tagferry-bench-", dir=settings.directory) as name:
        place = Path(name)
        write(place, rows)
        cases = [case for case in _CASES if all(map(find_spec, _NEEDS.get(case, ())))]
        pairs = {case: json.loads(_worker(place, case, rounds)[1]) for case in cases}
        late = {kind: sorted(json.loads(_worker(place, f"delay {kind}", 1)[1])) for kind in ("json", "csv")}
        peaks: list[float] = []
        for size in sizes:
            grow(place / "x.csv", size)
            peaks.append(_worker(place, "memory", 1)[0])
    judged = not settings.quick
    found, aims = _speeds(pairs, judged=judged)
    for kind, delays in late.items():
        p99 = 1000 * delays[len(delays) * 99 // 100]
        found.append([f"delay of the loop, 8 readers of {kind}, p99", f"{p99:.1f} ms", ""])
        aims.append(Aim(f"delay with eight readers of {kind}, p99 in ms", p99, _DELAY, judged))
    for size, peak in zip(sizes, peaks, strict=True):
        found.append([f"peak memory, CSV of {size / MB:.0f} MB", f"{peak / MB:.0f} MB", ""])
    aims.append(
        Aim("peak memory, large file - small file, in MB", (peaks[1] - peaks[0]) / MB, _GROWTH, judged)
    )
    return Table(
        "rows",
        f"{rows} rows, {rounds} pairs a process: speed of ours / bare loop, median (lowest-highest)",
        ("", "wall", "CPU"),
        found,
        aims,
        {"pairs": pairs, "late": late, "peaks": peaks},
        [
            "bare: decode_lines on blocks of 256 KiB, and csv.reader whose lists are dropped at once",
            "batches are lists of 10,000 rows, ours and those of the bare loop of JSON Lines",
            "what ours takes more for JSON is the look at whether each line is one record",
            "duckdb: its rows as Structs, against csv.reader; no part of ours",
            "pyarrow, polars and duckdb run on one thread and take dialect and encoding on trust",
            "a third of ours to Arrow is the proof that each line is a record and no byte is lost",
        ],
    )


def write(place: Path, rows: int) -> None:
    """Write the same made-up users as CSV and as JSON Lines."""
    chance = random.Random(1)
    csv, lines = ((place / name).open("w", encoding="utf-8") for name in ("x.csv", "x.jsonl"))
    with csv, lines:
        csv.write('"user_id","open_id","role","age","score"\n')
        for number in range(rows):
            word, age, score = chance.choice(_WORDS), chance.randrange(90), f"{chance.random():.3f}"
            csv.write(f'"u{number:08d}","o{chance.getrandbits(48):012x}","{word}","{age}","{score}"\n')
            user = {
                "gio_id": 603542 + number,
                "identifications": {"id_$basic_userId": f"C{number:07d}"},
                "properties": {
                    "usr_gender": word,
                    "tag_rfm": chance.choice([word, None]),
                    "usr_age": str(age),
                },
            }
            lines.write(json.dumps(user, ensure_ascii=False, separators=(",", ":")) + "\n")


def grow(path: Path, size: int) -> None:
    """Make a CSV file as large as wanted, out of its first rows."""
    with path.open("rb") as file:
        header, body = file.readline(), b"".join(file.readlines(MB))
    with path.open("wb") as file:
        file.write(header)
        while file.tell() < size:
            file.write(body)


def _worker(place: Path, case: str, rounds: int) -> tuple[float, str]:
    command = (sys.executable, "-m", "benchmarks.rows_worker", str(place), case, str(rounds))
    usage, printed = run_process(command, place)
    return usage.rss, printed


def _speeds(pairs: dict[str, list[list[float]]], *, judged: bool) -> tuple[list[list[str]], list[Aim]]:
    rows: list[list[str]] = []
    aims: list[Aim] = []
    for case, taken in pairs.items():
        aim = _CASES[case]
        wall = Figure.of(bare / ours for ours, _, bare, _ in taken)
        cpu = Figure.of(bare / ours for _, ours, _, bare in taken)
        rows.append([case, wall.text(), cpu.text()])
        if aim is not None:
            # A table's aims are upper bounds, so here it is the time that is divided.
            aims.append(Aim(f"{case}, time of ours / bare loop", 1 / wall.median, 1 / aim, judged))
    return rows, aims
