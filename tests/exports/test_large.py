"""Files of many gigabytes: offsets that do not fit into 32 bits."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import tagferry
from tagferry.exports.record import PartState, Record
from tests.exports.world import DOWNLOAD, FAST, PROJECT, TAG, TOKEN, World, hasten, open_world
from tests.wire.raw import Raw, reply, serve

pytestmark = pytest.mark.anyio

STEM = f"growingio-tag-{PROJECT}-{TAG}"
START = 2**32 + 4097
TAIL = bytes(range(256)) * 400
BREAK = 51_000
"""Bytes of the tail after which the first connection ends."""
ZEROS = "6b8faa741a4eb698ed13c7031c4b96beaed9febbe5616929f9f55b716af55829"
"""The SHA-256 of so many bytes of zero; were it wrong, the file would begin anew."""
WHOLE = "db84eed066ef10ca30b6983134c686aa17f9caf00810474c3dda58b8dca40867"
"""The SHA-256 of the zeros and the tail."""
ETAG = '"whole-and-unchanged"'


def answer(raw: Raw) -> bytes:
    """Answer as the API, or as the download host does to a range."""
    if b"/file" not in raw.lines[-1]:
        return reply(f'{{"id":"a","status":"done","downloadLinks":["{raw.url}/file"]}}'.encode())
    first = int(raw.headers().get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    total = START + len(TAIL)
    rest = TAIL[first - START :]
    headers = (
        f"ETag: {ETAG}\r\nContent-Type: text/csv\r\nContent-Range: bytes {first}-{total - 1}/{total}\r\n"
    )
    body = rest[:BREAK] if first == START else rest
    return reply(body, "206 Partial Content", headers, length=len(rest))


def leave_the_beginning(out: Path, export: tagferry.Export) -> None:
    """Leave what a run that was ended leaves: here four gigabytes, which take no room on disk."""
    out.mkdir()
    with (out / f"{STEM}.csv.part").open("wb") as file:
        file.truncate(START)
    state = PartState(offset=START, sha256=ZEROS, validator=ETAG, total=START + len(TAIL))
    record = Record(request=export.digest, writer="another", parts=[state])
    (out / f"{STEM}.part.json").write_bytes(msgspec.json.encode(record))


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_transfer_goes_on_behind_four_gigabytes_and_again_when_it_breaks_there(tmp_path):
    out = tmp_path / "out"

    async def act(writer, number):
        data = answer(raw)
        writer.write(data)
        await writer.drain()
        if data.endswith(TAIL[:BREAK]):
            writer.close()

    async with serve(act) as raw:
        client = hasten(tagferry.GrowingIO(token=TOKEN, base_url=raw.url, rate="1000/s"))
        async with client:
            export = client.tag_users(PROJECT, TAG)
            leave_the_beginning(out, export)
            (file,) = await export.download(out)
    asked = [raw.headers(number).get("Range") for number, line in enumerate(raw.lines) if b"/file" in line]
    assert asked == [f"bytes={START}-", f"bytes={START + BREAK}-"]
    assert (file.size, file.sha256) == (START + len(TAIL), WHOLE)
    assert [path.name for path in out.iterdir()] == [f"{STEM}.csv"]
    assert file.path.stat().st_size == file.size
    with file.path.open("rb") as whole:
        whole.seek(START - 1)
        assert whole.read() == b"\0" + TAIL
    file.path.unlink()


GIB = 2**30
ROW = 26
"""Bytes of a row, about."""


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_ten_gigabytes_that_break_all_over_come_whole_and_once(tmp_path):
    dice = random.Random(20261123)
    settings = replace(FAST, time_scale=1.0, rows=10 * GIB // ROW)
    async with open_world(tmp_path, settings) as world:
        size = world.sources()[0].size
        assert size > 10 * 10**9
        # Each breaks so many bytes behind the place where it began.
        cuts = [GIB, 3 * GIB - 1, 1, *(dice.randrange(2 * GIB) for _ in range(4))]
        world.order(*(f"cut@{cut}" for cut in cuts))
        (file,) = await world.tag().download(world.out)
        judge(world, file, size, sum(cuts))


def judge(world: World, file: tagferry.SavedFile, size: int, cut: int) -> None:
    starts = [
        int(values[0].removeprefix("bytes=").removesuffix("-"))
        for arrival in world.emulator.seen.of(DOWNLOAD)
        if (values := arrival.values("Range"))
    ]
    with file.path.open("rb") as whole:
        found = hashlib.file_digest(whole, "sha256").hexdigest()
    print({"bytes": size, "sent": world.sent, "resumed at": starts})
    assert file.size == file.path.stat().st_size == size
    assert file.sha256 == found == world.sources()[0].sha256
    assert world.sent == size
    assert starts[-1] == cut > 2**32
    assert sum(start > 2**32 for start in starts) >= 3
    file.path.unlink()
