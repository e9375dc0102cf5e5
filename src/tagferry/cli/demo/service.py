"""The emulator of the demo, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from tagferry.errors import UnavailableError

__all__ = ["Service", "open_service"]

_START = 20.0
"""Seconds in which it has to be there."""
# Its exports take a second.
_WORDS = ("--until-eof", "--time-scale=0.1", "--job-seconds=10")


@dataclass(frozen=True)
class Service:
    """An emulator that runs.

    Attributes:
        environment: The settings that lead to it, by the names of environment variables.
    """

    environment: Mapping[str, str]
    _admin: str

    async def ask(self, path: str) -> Any:
        """Return what it tells about itself, below a path of its admin API."""
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/{path}") as response:
            return await response.json()


@asynccontextmanager
async def open_service(words: Sequence[str]) -> AsyncGenerator[Service]:
    """Run an emulator with words of its command line; it ends with its standard input, whatever happens here.

    Raises:
        UnavailableError: It did not start.
    """
    # -P: what lies in the working directory must not be imported; no signal for us must reach it.
    command = [sys.executable, "-P", "-m", "tagferry", "emulator", *_WORDS, *words]
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(_START):
                line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 65536)
        except (TimeoutError, anyio.IncompleteRead, anyio.EndOfStream):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            hint = "run tagferry emulator to see why"
            raise UnavailableError("the emulator did not start", hint=hint) from None
        facts = json.loads(line)
        yield Service(facts["environment"], facts["admin"])
