"""Arguments that all clients take."""

from __future__ import annotations

from tagferry.errors import ConfigError

__all__ = ["check_count", "check_seconds"]


def check_seconds(name: str, value: object, *, service: str) -> None:
    """Refuse what is no time to wait.

    Raises:
        ConfigError: It is not positive and finite.
    """
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        msg = f"{name} of {value!r} s is not positive and finite"
        raise ConfigError(msg, service=service, hint="30 suits most networks")


def check_count(name: str, value: object, *, least: int, service: str) -> None:
    """Refuse what is no number of things.

    Raises:
        ConfigError: It is no whole number, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        msg = f"{name} is {value!r}"
        raise ConfigError(msg, service=service, hint=f"give a whole number, {least} or more")
