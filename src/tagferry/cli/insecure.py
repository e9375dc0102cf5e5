"""The warning of credentials in clear, the same for every verb."""

from __future__ import annotations

from tagferry.cli.screen import Screen
from tagferry.events import Emit, Event, InsecureAddress

__all__ = ["warning_on"]


def warning_on(screen: Screen, listener: Emit) -> Emit:
    """Return a listener that warns on a screen, and passes every event on."""

    def listen(event: Event) -> None:
        if isinstance(event, InsecureAddress):
            screen.warn(f"the credentials go to {event.address} in clear; https would protect them")
        listener(event)

    return listen
