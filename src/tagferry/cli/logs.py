"""The log of the command line, on standard error, without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from rich.console import Console

__all__ = ["Redactor", "logging_to"]

_QUERY = re.compile(r"(https?://[^\s\"'<>?]*)\?[^\s\"'<>]*")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_LOGGERS = ("tagferry", "asyncio", "aiohttp")
_SHORT = 6


class Redactor:
    """Takes secrets out of a text: those that are known, and the queries of links."""

    def __init__(self) -> None:
        self._secrets: list[re.Pattern[str]] = []

    def learn(self, secrets: Iterable[str]) -> None:
        """Remember values that must not be shown."""
        self._secrets += [_pattern_of(secret.strip()) for secret in secrets if secret.strip()]

    def clean(self, text: str) -> str:
        """Return the text without secrets and control characters."""
        for secret in self._secrets:
            text = secret.sub("***", text)
        text = _QUERY.sub(r"\1?…", text)
        return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def _pattern_of(secret: str) -> re.Pattern[str]:
    """Return what finds a secret; one of a few letters, such as a test has, would stand in ordinary words."""
    pattern = re.escape(secret)
    return re.compile(pattern if len(secret) >= _SHORT else rf"(?<!\w){pattern}(?!\w)")


class _Handler(logging.Handler):
    def __init__(self, console: Console, redactor: Redactor) -> None:
        super().__init__()
        self._console = console
        self._redactor = redactor
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self._console.out(self._redactor.clean(self.format(record)), highlight=False)


@contextmanager
def logging_to(console: Console, level: str, redactor: Redactor) -> Generator[None]:
    """Show the log of a level and above while the block runs."""
    handler = _Handler(console, redactor)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (old, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)
            logger.propagate = propagate
