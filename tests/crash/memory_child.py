"""Exports a tag within little memory: -m tests.crash.memory_child BASE_URL OUT ID ROOM [BYTES LEFT].

ROOM is how much more memory the process may have than at its start. After BYTES of the file, LEFT is how much
more it may have than at that moment.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
from pathlib import Path

import tagferry
from tagferry.events import Event, Progress
from tests.exports.world import PROJECT, TOKEN, hasten


def has(what: str) -> int:
    """Return a figure of this process in bytes: VmData counts against the limit, VmHWM is the peak."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def allow(room: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (has("VmData") + room, resource.RLIM_INFINITY))


def is_limited(room: int) -> bool:
    try:
        bytearray(2 * room)
    except MemoryError:
        return True
    return False


async def main(base_url: str, out: str, tag_id: str, room: int, squeeze: list[int]) -> None:
    def listen(event: Event) -> None:
        if squeeze and isinstance(event, Progress) and event.received >= squeeze[0]:
            allow(squeeze[1])
            squeeze.clear()

    client = tagferry.GrowingIO(
        token=TOKEN, base_url=base_url, rate="1000/s", stall_timeout=2, on_event=listen
    )
    async with hasten(client) as gio:
        before = has("VmHWM")
        allow(room)
        limited = is_limited(room)
        (file,) = await gio.tag_users(PROJECT, tag_id).download(out)
    print(json.dumps({"limited": limited, "sha256": file.sha256, "grown": has("VmHWM") - before}))


if __name__ == "__main__":
    base_url, out, tag_id, room, *squeeze = sys.argv[1:]
    asyncio.run(main(base_url, out, tag_id, int(room), [int(word) for word in squeeze]))
