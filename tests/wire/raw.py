"""A server that does to the letter what a test tells it, byte by byte, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, field

Act = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Answers a request; its number on this connection, from 0."""


@dataclass
class Raw:
    """What a raw server saw."""

    url: str
    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def lines(self) -> list[bytes]:
        return [head.split(b"\r\n", 1)[0] for head in self.heads]

    def headers(self, number: int = -1) -> dict[str, str]:
        pairs = [line.decode().partition(": ") for line in self.heads[number].split(b"\r\n")[1:] if line]
        assert len({name for name, _, _ in pairs}) == len(pairs), "a header came twice"
        return {name: value for name, _, value in pairs}


def reply(body: bytes = b"{}", status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    """The bytes of a whole reply."""
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def always(data: bytes, *more: bytes, close: bool = False, reset: bool = False) -> Act:
    """Answer everything with these bytes, each part in a packet of its own."""

    async def act(writer: asyncio.StreamWriter, number: int) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            for part in more:
                await asyncio.sleep(0.03)
                writer.write(part)
                await writer.drain()
        if reset:
            await asyncio.sleep(0.05)
            writer.transport.abort()
        elif close:
            writer.close()

    return act


@contextlib.asynccontextmanager
async def serve(act: Act) -> AsyncGenerator[Raw]:
    """Serve on a free port of this machine until the block ends."""
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        number = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                raw.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await act(writer, number)
                number += 1

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(talk(reader, writer))
        tasks[task] = writer

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    raw = Raw(f"http://127.0.0.1:{port}", port)
    try:
        yield raw
    finally:
        server.close()
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.contextmanager
def serve_tls(context: ssl.SSLContext, data: bytes) -> Generator[Raw]:
    """Answer everything over TLS with these bytes.

    On a thread: a client that hangs up in the handshake is nothing that this loop has to hear of.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    raw = Raw(f"https://127.0.0.1:{port}", port)

    def work() -> None:
        while True:
            connection, _ = listener.accept()
            raw.connections += 1
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                with context.wrap_socket(connection, server_side=True) as secure:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        more = secure.recv(65536)
                        if not more:
                            break
                        head += more
                    else:
                        raw.heads.append(head)
                        secure.sendall(data)
            if stop.is_set():
                return

    stop = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield raw
    finally:
        stop.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listener.close()
