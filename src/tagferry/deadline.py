"""The time that a caller allows for a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tagferry.errors import ConfigError, DeadlineError

__all__ = ["within"]

T = TypeVar("T")


async def within(deadline: float | None, work: Callable[[], Awaitable[T]], *, name: str, service: str) -> T:
    """Do some work in no more than a deadline in seconds; None is no bound.

    Args:
        deadline: Seconds.
        work: The work.
        name: What is done, for the error.
        service: The service that is spoken to.

    Raises:
        ConfigError: The deadline is not a positive number.
        DeadlineError: The time is over.
    """
    if deadline is not None and not deadline > 0:
        msg = f"a deadline of {deadline!r} s is not positive"
        raise ConfigError(msg, hint="give seconds, or None for no deadline")
    timer = asyncio.timeout(deadline)
    try:
        async with timer:
            return await work()
    except TimeoutError:
        if not timer.expired():
            raise
    msg = f"{name} was not done within {deadline:g} s"
    hint = "run the same again to go on where it stopped, with a longer deadline"
    raise DeadlineError(msg, service=service, hint=hint)
