"""One case, ours and a bare loop in turn: ``python -m benchmarks.rows_worker DIRECTORY CASE ROUNDS``."""

from __future__ import annotations

import asyncio
import csv
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tagferry.rows.convert import convert
from tagferry.rows.reader import read_rows

_BLOCK = 256 * 1024
_BATCH = 10_000
_TICK = 0.001


class Event(msgspec.Struct):
    gio_id: int
    identifications: dict[str, str]
    properties: dict[str, str | None]


class Texts(msgspec.Struct):
    user_id: str
    open_id: str
    role: str
    age: str
    score: str


class Typed(msgspec.Struct):
    user_id: str
    open_id: str
    role: str
    age: int
    score: float


def bare_json(path: Path) -> Iterator[list[Event]]:
    """Decode blocks, cut at their last line end."""
    decoder = msgspec.json.Decoder(Event)
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            yield decoder.decode_lines(block[:end])


def bare_json_batches(path: Path) -> int:
    """The same, in lists of one length: to have that many rows at once costs more than to decode them."""
    count = 0
    held: list[Event] = []
    for rows in bare_json(path):
        held += rows
        while len(held) >= _BATCH:
            batch, held = held[:_BATCH], held[_BATCH:]
            count += len(batch)
    return count + len(held)


def bare_json_rows(path: Path) -> int:
    """The same, with a look at every row."""
    count = 0
    for rows in bare_json(path):
        for _ in rows:
            count += 1
    return count


def bare_csv(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, escapechar="\\")
        next(reader)
        return sum(1 for _ in reader)


async def batches(path: Path, wanted: type[object]) -> int:
    count = 0
    async for batch in read_rows(path, wanted).batches(_BATCH):
        count += len(batch)
    return count


async def each(path: Path, wanted: type[object]) -> int:
    count = 0
    async for _ in read_rows(path, wanted):
        count += 1
    return count


async def arrow(path: Path) -> int:
    count = 0
    async for batch in read_rows(path).arrow_batches():
        count += batch.num_rows
    return count


def duckdb_rows(path: Path) -> int:
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(config={"threads": 1})
    options = "header = true, all_varchar = true, quote = '\"', escape = '\\'"
    found = connection.execute(f"select * from read_csv('{path}', {options})")
    count = 0
    while rows := found.fetchmany(10_000):
        count += len([Texts(*row) for row in rows])
    return count


def pyarrow_table(path: Path) -> int:
    """Read all as texts, on one thread, batch by batch."""
    arrow: Any = importlib.import_module("pyarrow")
    csv: Any = importlib.import_module("pyarrow.csv")
    # Large blocks, which is what it does best.
    reader = csv.open_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False, block_size=4 << 20),
        parse_options=csv.ParseOptions(escape_char="\\", newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(Texts.__struct_fields__, arrow.string())
        ),
    )
    return sum(batch.num_rows for batch in reader)


def polars_table(path: Path) -> int:
    """Read all as texts, on one thread, as a whole. It knows no backslashes; there are none in the file."""
    return int(_polars_frame(path).height)


def polars_parquet(path: Path) -> int:
    frame = _polars_frame(path)
    frame.write_parquet(path.with_suffix(".parquet"))
    return int(frame.height)


def _polars_frame(path: Path) -> Any:
    # It reads this when it is imported.
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl  # noqa: PLC0415

    return pl.read_csv(path, infer_schema=False)


def duckdb_parquet(path: Path) -> int:
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(config={"threads": 1})
    options = "header = true, all_varchar = true, quote = '\"', escape = '\\'"
    target = path.with_suffix(".parquet")
    done = connection.execute(f"copy (from read_csv('{path}', {options})) to '{target}' (format parquet)")
    (count,) = done.fetchone() or (0,)
    return int(count)


def parquet(path: Path) -> int:
    made = asyncio.run(convert(path, output=path.with_suffix(".parquet"), replace=True))
    return made.rows


async def eight(path: Path, wanted: type[object]) -> list[float]:
    """Return how late a task of one tick was, each time, while eight readers decode."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(_TICK)
            late.append(time.perf_counter() - begin - _TICK)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(each(path, wanted) for _ in range(8)))
    watcher.cancel()
    return late


CASES: dict[str, tuple[str, Callable[[Path], int], Callable[[Path], int]]] = {
    "json batches": ("x.jsonl", lambda path: asyncio.run(batches(path, Event)), bare_json_batches),
    "json rows": ("x.jsonl", lambda path: asyncio.run(each(path, Event)), bare_json_rows),
    "csv texts": ("x.csv", lambda path: asyncio.run(each(path, Texts)), bare_csv),
    "csv texts, batches": ("x.csv", lambda path: asyncio.run(batches(path, Texts)), bare_csv),
    "csv typed": ("x.csv", lambda path: asyncio.run(each(path, Typed)), bare_csv),
    "csv typed, batches": ("x.csv", lambda path: asyncio.run(batches(path, Typed)), bare_csv),
    "csv arrow": ("x.csv", lambda path: asyncio.run(arrow(path)), bare_csv),
    "csv duckdb": ("x.csv", duckdb_rows, bare_csv),
    "csv to Arrow, pyarrow": ("x.csv", lambda path: asyncio.run(arrow(path)), pyarrow_table),
    "csv to Arrow, polars": ("x.csv", lambda path: asyncio.run(arrow(path)), polars_table),
    "csv to Parquet, polars": ("x.csv", parquet, polars_parquet),
    "csv to Parquet, duckdb": ("x.csv", parquet, duckdb_parquet),
}


def main(directory: Path, case: str, rounds: int) -> None:
    """Print the pairs of a case as JSON, or the delays of one."""
    if case.startswith("delay"):
        name, wanted = ("x.jsonl", Event) if case == "delay json" else ("x.csv", Typed)
        print(json.dumps(asyncio.run(eight(directory / name, wanted))))
        return
    if case == "memory":
        print(asyncio.run(each(directory / "x.csv", Typed)))
        return
    name, ours, bare = CASES[case]
    pairs: list[list[float]] = []
    for number in range(rounds + 1):
        taken: list[float] = []
        counts: set[int] = set()
        for run in (ours, bare):
            begin = time.perf_counter(), time.process_time()
            counts.add(run(directory / name))
            taken += [time.perf_counter() - begin[0], time.process_time() - begin[1]]
        if len(counts) != 1:
            raise SystemExit(f"{case}: ours and the bare loop count differently: {counts}")
        # The first round is for warming up.
        pairs += [taken] if number else []
    print(json.dumps(pairs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
