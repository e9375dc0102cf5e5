"""What one writes without us, and without hash, sync and check.

``python -m benchmarks.download_plain URL FILE``
"""

from __future__ import annotations

import asyncio
import sys

import aiofiles
import aiohttp


async def main(url: str, path: str) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        response.raise_for_status()
        async with aiofiles.open(path, "wb") as file:
            async for chunk in response.content.iter_chunked(64 * 1024):
                await file.write(chunk)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
