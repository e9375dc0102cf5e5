"""Fetches in processes of their own, to be killed: python -m tests.crash.fetch_child COMMAND JSON.

`run` fetches once. `stop` fetches, but ends before the files get their names. `forks` makes a process with a
fetch for each line that it reads, says its number, and at the next line waits for its end and says how it
ended: without the second that each of them would take to begin.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import tagferry
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID
from tagferry.errors import DiskError, TagferryError
from tagferry.lookups import fetch, saver
from tagferry.lookups.sources import open_source
from tagferry.lookups.workplace import Workplace
from tests.lookups.world import SECRET_KEY, hasten


async def work(order: dict[str, Any]) -> int:
    client = tagferry.TencentIM(
        sdkappid=DEMO_SDKAPPID,
        identifier=DEMO_IDENTIFIER,
        secret_key=SECRET_KEY,
        base_url=order["base_url"],
        rate=order["rate"],
    )
    async with hasten(client):
        source = await asyncio.to_thread(open_source, order["accounts"])
        try:
            await client.fetch_tags(source, order["output"], ordered=order.get("ordered", False))
        except TagferryError as error:
            print(error.code, repr(error), file=sys.stderr)
            return 1
    return 0


def run(order: dict[str, Any]) -> int:
    saver._EVERY = order.get("every", saver._EVERY)
    fetch._COOL = order.get("cool", fetch._COOL)
    if limit := order.get("file_size"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return asyncio.run(work(order))


def stop(order: dict[str, Any]) -> int:
    def end(*_: object, **__: object) -> None:
        raise DiskError("it is to end here", code="END")

    Workplace.finish = end  # type: ignore[method-assign]
    return run(order)


def forks(order: dict[str, Any]) -> int:
    while sys.stdin.readline():
        child = os.fork()
        if not child:
            os._exit(run(order))
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitpid(child, 0)[1], flush=True)
    return 0


if __name__ == "__main__":
    name, text = sys.argv[1:]
    Path(json.loads(text)["output"]).parent.mkdir(exist_ok=True)
    sys.exit({"run": run, "stop": stop, "forks": forks}[name](json.loads(text)))
