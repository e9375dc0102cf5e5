"""A whole export, from the poll to the synced file, against tools that only download."""

from __future__ import annotations

import importlib.util
import json
import operator
import shutil
import sys
from pathlib import Path

from benchmarks.compare import MB, Contestant, Settings, compare, measure, raw_of, rows_of
from benchmarks.figures import Aim, Figure, Pairing, Table
from benchmarks.process import BenchmarkError, require
from benchmarks.store import PROJECT, TAG, Store, serve

__all__ = ["floor", "loop_name", "ours", "run"]

_CURL = ("curl", "-q", "-s", "-f", "-o", "{out}/f")
_WHOLE = "curl + sha256sum + sync"
_BARE = "curl"
_COLUMNS = ("", "wall s", "CPU s", "peak MB", "ours / it, wall", "ours / it, CPU")
_QUICK_SIZE = 20 * MB


def ours(store: Store, loop: str) -> Contestant:
    """Return our process: the public path, with the hash, the checks and the sync."""

    def check(out: Path, printed: str) -> None:
        (file,) = json.loads(printed)
        if (file["size"], file["sha256"]) != (store.size, store.sha256):
            msg = "ours reports another size or hash than the served file has"
            raise BenchmarkError(msg)
        store.verify(Path(file["path"]))
        if left := [path.name for path in out.iterdir() if path != Path(file["path"])]:
            raise BenchmarkError(f"ours left {left} behind")

    loop = loop_name(loop)
    command = (sys.executable, "-m", "benchmarks.download_ours", store.url, PROJECT, TAG, "{out}", loop)
    return Contestant(f"tagferry ({loop})", command, check)


def floor(loop: str) -> Contestant:
    """Return a process that imports what ours imports, and ends."""

    def check(_out: Path, _printed: str) -> None:
        pass

    script = f"import asyncio, {loop_name(loop)}, tagferry; tagferry.GrowingIO"
    return Contestant("the imports alone", (sys.executable, "-c", script), check)


def loop_name(loop: str) -> str:
    """Return the event loop that ours runs on."""
    if loop != "auto":
        return loop
    return "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"


def run(settings: Settings) -> Table:
    """Compare a download of ours with those of others."""
    require("curl", "sha256sum", "sync")
    size, rounds = (_QUICK_SIZE, 1) if settings.quick else (settings.size, settings.rounds)
    with serve(size) as store:
        mine = ours(store, settings.loop)
        pairings = [compare(mine, peer, rounds, settings.directory, size) for peer in _peers(store)]
        start = Figure.of(measure(floor(settings.loop), settings.directory).wall for _ in range(rounds))
    notes = [f"of ours, {start.text()} s are the start of Python and the imports", _left_out(pairings)]
    notes += [] if shutil.which("aria2c") else ["aria2c is not installed"]
    if mine.name.endswith("(asyncio)"):
        notes.append("ours ran without uvloop")
    return Table(
        "download",
        f"{size / MB:.0f} MB from nginx on loopback, {rounds} pairs each: median (lowest-highest)",
        _COLUMNS,
        rows_of(pairings, mine.name),
        _aims(pairings, judged=not settings.quick),
        raw_of(pairings),
        notes,
    )


def _peers(store: Store) -> list[Contestant]:
    def check(out: Path, _printed: str) -> None:
        store.verify(out / "f")

    def check_sum(out: Path, printed: str) -> None:
        check(out, printed)
        if store.sha256 not in printed:
            msg = "sha256sum printed another hash than the served file has"
            raise BenchmarkError(msg)

    script = 'cd "$1" && curl -q -s -f -o f "$2" && sha256sum f && sync f'
    plain = (sys.executable, "-m", "benchmarks.download_plain", store.link, "{out}/f")
    peers = [
        Contestant(_WHOLE, ("sh", "-c", script, "sh", "{out}", store.link), check_sum),
        Contestant(_BARE, (*_CURL, store.link), check),
        Contestant("aiohttp + aiofiles, 64 KiB", plain, check),
    ]
    if shutil.which("aria2c"):
        command = ("aria2c", "--no-conf", "-q", "-d", "{out}", "-o", "f", store.link)
        peers.append(Contestant("aria2c", command, check))
    return peers


def _left_out(pairings: list[Pairing]) -> str:
    wall = {pairing.peer: Figure.of(pair.peer.wall for pair in pairing.pairs).median for pairing in pairings}
    more = wall[_WHOLE] - wall[_BARE]
    return f"bare curl, aria2c and aiohttp neither hash nor sync, which takes curl {more:.2f} s more"


def _aims(pairings: list[Pairing], *, judged: bool) -> list[Aim]:
    by_name = {pairing.peer: pairing for pairing in pairings}

    def aim(peer: str, what: str, at_most: float) -> Aim:
        return Aim(
            f"ours / {peer}, {what}, median of the pairs",
            by_name[peer].ratio(operator.attrgetter(what)).median,
            at_most,
            judged,
        )

    return [aim(_WHOLE, "wall", 1.0), aim(_WHOLE, "cpu", 1.3), aim(_BARE, "wall", 1.15)]
