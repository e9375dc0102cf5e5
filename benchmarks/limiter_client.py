"""Calls as fast as a limiter lets them go: ``python -m benchmarks.limiter_client LIMITER PORT SECONDS``.

Each limiter is used as its own documents say for "wait until the call may go", at 100 a second.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable

_WORKERS = 100

Call = Callable[[], Awaitable[None]]
Limited = Callable[[Call], Awaitable[None]]
"""Makes a call when it may go."""


def tagferry() -> Limited:
    clock = importlib.import_module("tagferry.wire.clock")
    limiter = importlib.import_module("tagferry.wire.limiter")
    quota = importlib.import_module("tagferry.wire.quota")
    bucket = limiter.Limiter(quota.Quota(quota.Rate(100)), clock.SystemClock())

    async def limited(call: Call) -> None:
        async with bucket.permit():
            await call()

    return limited


def aiolimiter() -> Limited:
    bucket = importlib.import_module("aiolimiter").AsyncLimiter(100, 1)

    async def limited(call: Call) -> None:
        async with bucket:
            await call()

    return limited


def pyrate_limiter() -> Limited:
    pyrate = importlib.import_module("pyrate_limiter")
    rates = [pyrate.Rate(100, pyrate.Duration.SECOND)]
    bucket = pyrate.Limiter(pyrate.BucketAsyncWrapper(pyrate.InMemoryBucket(rates)))

    async def limited(call: Call) -> None:
        await bucket.try_acquire_async("call")
        await call()

    return limited


def throttled_py() -> Limited:
    throttled = importlib.import_module("throttled.asyncio")
    bucket = throttled.Throttled(
        using=throttled.RateLimiterType.GCRA.value, quota="100/s burst 100", timeout=60
    )

    async def limited(call: Call) -> None:
        result = await bucket.limit("call", cost=1)
        if not result.limited:
            await call()

    return limited


LIMITERS: dict[str, Callable[[], Limited]] = {
    "tagferry": tagferry,
    "aiolimiter": aiolimiter,
    "pyrate-limiter": pyrate_limiter,
    "throttled-py": throttled_py,
}


async def main(name: str, port: int, seconds: float) -> None:
    limited = LIMITERS[name]()
    trips: list[float] = []
    ready = asyncio.Barrier(_WORKERS)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def call() -> None:
            began = time.monotonic()
            writer.write(b"call\n")
            await reader.readline()
            trips.append(time.monotonic() - began)

        await ready.wait()
        while True:
            await limited(call)

    workers = [asyncio.create_task(work()) for _ in range(_WORKERS)]
    done, _ = await asyncio.wait(workers, timeout=seconds)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    # A worker that ended did so by a failure.
    for worker in done:
        worker.result()
    json.dump({"trip": sum(trips) / len(trips)}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
