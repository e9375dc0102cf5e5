"""Who listens to events: the log, and what its user gave."""

from __future__ import annotations

import logging

from tagferry.events import Emit, Event, log_event

__all__ = ["listen"]

logger = logging.getLogger("tagferry")


def listen(on_event: Emit | None) -> Emit:
    """Return what emits events: to the log, and to a listener whose failures break nothing but itself."""

    def emit(event: Event) -> None:
        log_event(event)
        if on_event is not None:
            try:
                on_event(event)
            except Exception:
                # A transfer must not die of its progress view.
                logger.exception("on_event failed for %s", type(event).__name__)

    return emit
