"""A service that counts strictly, behind a network: ``python -m benchmarks.limiter_server STALL_EVERY``.

Each line is a call, and each answer is a line: ``yes``, or ``no`` beyond 100 in any sliding second. A call
and its answer each take 10 to 30 ms on the way. Every so many seconds, if not 0, calls are held up for
300 ms and then arrive together. It prints its port, and at the end what it counted; see `Companion`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import deque

LIMIT = 100
SECOND = 1_000_000_000
_WAY = (0.010, 0.030)
_STALL = 0.3


class Window:
    """Counts arrivals; both ends of a second belong to it."""

    def __init__(self) -> None:
        self.refused = self.most = 0
        self.accepted: list[int] = []
        """When calls were accepted, in ns."""
        self._arrived: deque[int] = deque()
        self._counted: deque[int] = deque()

    def admit(self, now: int) -> bool:
        """Count an arrival; tell whether it is within the limit. A refused one uses nothing up."""
        for times in (self._arrived, self._counted):
            while times and now - times[0] > SECOND:
                times.popleft()
        self._arrived.append(now)
        self.most = max(self.most, len(self._arrived))
        if len(self._counted) >= LIMIT:
            self.refused += 1
            return False
        self._counted.append(now)
        self.accepted.append(now)
        return True


class Network:
    """How long things are on their way."""

    def __init__(self, stall_every: float) -> None:
        self._every = stall_every
        self._since = time.monotonic()
        self._chance = random.Random(7)

    async def pass_through(self, *, stalls: bool) -> None:
        """Wait for as long as one way takes."""
        await asyncio.sleep(self._chance.uniform(*_WAY))
        if stalls and self._every:
            phase = (time.monotonic() - self._since) % self._every
            # The stall is at the end of each period.
            if phase > self._every - _STALL:
                await asyncio.sleep(self._every - phase)


async def main(stall_every: float) -> None:
    window, network = Window(), Network(stall_every)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client ends in the middle of its calls, and then we do.
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while await reader.readline():
                await network.pass_through(stalls=True)
                accepted = window.admit(time.monotonic_ns())
                await network.pass_through(stalls=False)
                writer.write(b"yes\n" if accepted else b"no\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    json.dump({"accepted": window.accepted, "refused": window.refused, "most": window.most}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
