"""An emulator on a thread and loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from tagferry.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tagferry.emulator.settings import Settings


@contextlib.contextmanager
def serve_in_thread(settings: Settings | None = None) -> Generator[Emulator]:
    """Run an emulator for code that has no event loop, or must not share it."""
    emulator = Emulator(settings)
    started = threading.Event()
    failures: list[BaseException] = []
    stops: list[Callable[[], object]] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with emulator:
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="tagferry-emulator", daemon=True)
    thread.start()
    started.wait()
    try:
        if stops:
            yield emulator
    finally:
        for stop in stops:
            stop()
        thread.join()
    if failures:
        raise failures[0]
