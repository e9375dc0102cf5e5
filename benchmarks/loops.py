"""Event loops by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["loop_factory"]


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a loop, for `asyncio.Runner`; None stands for that of asyncio."""
    if name == "asyncio":
        return None
    import uvloop  # noqa: PLC0415

    return uvloop.new_event_loop
