"""Runs in a network of its own, which it breaks: python -m tests.crash.network_child SCENE OUT [ROUTE]."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import tagferry
from tagferry.emulator import Emulator
from tagferry.errors import TagferryError
from tagferry.events import Event, Retrying, TransferBroken
from tests.exports.world import DOWNLOAD, FAST, PROJECT, TAG, TOKEN, hasten

FAR = "10.77.0.1"
"""No machine has this address."""
FAULTY, SOUND = "127.0.0.2", "127.0.0.1"
STALL = 0.3
PART = 20_000


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def break_route(kind: str, host: str, *, table: str = "main") -> None:
    """Let no packet reach a host; a silent route says nothing at all, like most firewalls."""
    route = [f"{host}/32", "table", table]
    ip("route", "add", *([*route, "dev", "lo"] if kind == "silent" else [kind, *route]))


async def unreachable(route: str, out: Path) -> dict[str, Any]:
    """Ask for an export at a host that cannot be reached, with two more tries."""
    events: list[Event] = []
    if route != "none":
        break_route(route, FAR)
    client = tagferry.GrowingIO(
        token=TOKEN, base_url=f"http://{FAR}", rate="1000/s", timeout=0.4, on_event=events.append
    )
    began = time.monotonic()
    async with hasten(client, retries=2):
        try:
            await client.tag_users(PROJECT, TAG).download(out)
        except TagferryError as error:
            facts = {"error": type(error).__name__, "retryable": error.retryable, "message": str(error)}
    retries = [event for event in events if isinstance(event, Retrying)]
    return {**facts, "retries": len(retries), "seconds": time.monotonic() - began, "made": out.exists()}


class Names(asyncio.DatagramProtocol):
    """A name server that answers every question with the same code, or not at all."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.asked = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.asked.set()
        if self.code is not None:
            head = data[:2] + bytes([0x81, 0x80 | self.code]) + data[4:6] + bytes(6)
            self.transport.sendto(head + data[12:], addr)


CODES = {"nxdomain": 3, "servfail": 2, "silence": None}


async def unresolved(kind: str, out: Path) -> dict[str, Any]:
    """Ask for an export at a host whose name cannot be resolved, and for another one meanwhile."""
    config = out.with_name("resolv.conf")
    config.write_text("nameserver 127.0.0.1\noptions timeout:3 attempts:1\n")
    subprocess.run(["mount", "--bind", str(config), "/etc/resolv.conf"], check=True)
    names = Names(CODES[kind])
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 53))
    async with Emulator(replace(FAST, time_scale=1.0)) as sound:
        options = {"token": TOKEN, "rate": "1000/s", "timeout": 0.5}
        lost = tagferry.GrowingIO(base_url="http://api.lost.test", **options)
        gone = tagferry.GrowingIO(base_url="http://api.gone.test", **options)
        near = tagferry.GrowingIO(base_url=sound.base_url, **options)
        async with hasten(lost, retries=1), hasten(gone), hasten(near):
            failing = asyncio.create_task(lost.tag_users(PROJECT, TAG).download(out))
            await names.asked.wait()
            files = await near.tag_users(PROJECT, "other000").download(out)
            (error,) = await asyncio.gather(failing, return_exceptions=True)
            # Whoever gives up waits for no name server.
            names.asked.clear()
            cancelled = asyncio.create_task(gone.tag_users(PROJECT, TAG).wait())
            await names.asked.wait()
            began = time.monotonic()
            cancelled.cancel()
            await asyncio.wait([cancelled])
            took = time.monotonic() - began
    transport.close()
    assert isinstance(error, TagferryError)
    return {
        "error": type(error).__name__,
        "retryable": error.retryable,
        "message": str(error),
        "others": files[0].sha256 == sound.source("growingio-tag", PROJECT, "other000").sha256,
        "took": took,
    }


async def outage(route: str, out: Path) -> dict[str, Any]:
    """Break the way to one of two hosts in the middle of its download, and mend it."""
    settings = replace(FAST, host=FAULTY, time_scale=1.0, rows=60_000)
    async with Emulator(settings) as faulty, Emulator(replace(settings, host=SOUND)) as sound:
        # Slow enough to be in the middle when the route breaks.
        faulty.faults.add(DOWNLOAD, f"drip@{PART} bytes={PART} every=0.05")
        broken = asyncio.Event()
        broke: list[str] = []

        def listen(event: Event) -> None:
            if isinstance(event, TransferBroken):
                broke.append(str(event.error))
                # The first is the transfer itself, the next ones are connections that fail.
                if len(broke) == 3:
                    broken.set()

        options = {"token": TOKEN, "rate": "1000/s", "timeout": 1.0, "stall_timeout": STALL}
        far = tagferry.GrowingIO(base_url=faulty.base_url, on_event=listen, **options)
        near = tagferry.GrowingIO(base_url=sound.base_url, **options)
        async with hasten(far, retries=500), hasten(near):
            slow = asyncio.create_task(far.tag_users(PROJECT, TAG).download(out))
            part = out / f"growingio-tag-{PROJECT}-{TAG}.csv.part"
            while not (part.exists() and part.stat().st_size >= 2 * PART):
                await asyncio.sleep(0.005)
            break_route(route, FAULTY, table="local")
            others = await near.tag_users(PROJECT, "other000").download(out)
            await asyncio.wait_for(broken.wait(), 30)
            waited = not slow.done()
            ip("route", "del", f"{FAULTY}/32", "table", "local")
            files = await slow
        source = faulty.source("growingio-tag", PROJECT, TAG)
        arrivals = [one for one in faulty.seen.of(DOWNLOAD) if one.status in {200, 206}]
        return {
            "broke": broke,
            "waited": waited,
            "others": others[0].sha256 == sound.source("growingio-tag", PROJECT, "other000").sha256,
            "whole": files[0].sha256 == source.sha256 == digest(files[0].path),
            "ranges": [one.values("Range") for one in arrivals],
            "names": len(list(out.iterdir())),
        }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    scene, where, how = sys.argv[1:]
    ip("link", "set", "lo", "up")
    scenes = {"unreachable": unreachable, "unresolved": unresolved, "outage": outage}
    print(json.dumps(asyncio.run(scenes[scene](how, Path(where)))))
