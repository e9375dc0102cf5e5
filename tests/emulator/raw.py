"""A client that sees the bytes: nothing is decoded, followed, resent or repaired."""

import asyncio
import json
from dataclasses import dataclass

from tagferry.emulator import Emulator

TAG = "/v3/exporter/projects/nxog09md/tags/5rREn4PL/users"
SEGMENT = "/v3/exporter/projects/nxog09md/segmentations/nP2lpkX9/users"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    end: str

    def json(self):
        return json.loads(self.body)


async def ask(origin, target, headers=(), *, method="GET", body=b"", timeout=10.0) -> Answer:
    raw, end = await exchange(origin, request(target, headers, method=method, body=body), timeout=timeout)
    return read(raw, end)


def request(target, headers=(), *, method="GET", body=b"", close=True) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def exchange(origin, data: bytes, *, timeout=10.0) -> tuple[bytes, str]:
    """Everything that comes back until the connection ends, and how it ended."""
    host, port = origin.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    raw = b""
    try:
        writer.write(data)
        async with asyncio.timeout(timeout):
            while block := await reader.read(1 << 16):
                raw += block
        return raw, "fin"
    except ConnectionResetError:
        return raw, "rst"
    except TimeoutError:
        return raw, "timeout"
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def read(raw: bytes, end: str) -> Answer:
    if not raw:
        return Answer(0, {}, b"", end)
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split(" ")[1]), headers, body, end)


async def poll(emu: Emulator, target=TAG, token=None, **headers) -> Answer:
    return await ask(emu.base_url, target, {"Authorization": token or emu.token, **headers})


async def links(emu: Emulator, target=TAG) -> list[str]:
    """Poll until the export is done; the targets of its links on the download host."""
    for _ in range(200):
        answer = (await poll(emu, target)).json()
        if answer["status"] == "done":
            return [link.removeprefix(emu.download_url) for link in answer["downloadLinks"]]
        await asyncio.sleep(0.005)
    raise AssertionError("never done")


async def download(emu: Emulator, target: str, timeout=10.0, **headers) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(emu.download_url, target, named, timeout=timeout)


def unchunk(body: bytes) -> tuple[bytes, bool]:
    """The data of a chunked body, and whether its terminator came."""
    data = b""
    while True:
        size, sep, rest = body.partition(b"\r\n")
        if not sep:
            return data, False
        try:
            length = int(size, 16)
        except ValueError:
            return data, False
        if length == 0:
            return data, rest == b"\r\n"
        if len(rest) < length + 2:
            return data + rest, False
        data, body = data + rest[:length], rest[length + 2 :]
