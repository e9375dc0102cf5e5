"""The JSON documents of all verbs, as far as they are alike."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tagferry.errors import TagferryError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["describe_error", "describe_stop", "dump", "failure_document", "fetch_document"]

_FETCHES = {"fetch", "retry"}
_THINGS = {"list": "items", "doctor": "checks", "convert": "files"}
"""What the document of a verb has in place of exports."""
_COUNTS = ("accounts", "distinct", "tagged", "missing", "failed", "requests", "throttled")


def describe_error(error: TagferryError) -> dict[str, Any]:
    """Return an error as the JSON document has it."""
    return {"type": type(error).__name__, "code": error.code, "message": error.message, "hint": error.hint}


def describe_stop(number: signal.Signals, hint: str) -> dict[str, Any]:
    """Return a signal that ended a run, and the next step, as the JSON document has them."""
    return {"type": "Stopped", "code": number.name, "message": f"stopped by {number.name}", "hint": hint}


def failure_document(
    type_: str, message: str, hint: str | None, code: int | str | None = None, *, verb: str = ""
) -> dict[str, Any]:
    """Return the JSON document of a run that did not begin, or broke; its shape is that of the verb."""
    error = {"type": type_, "code": code, "message": message, "hint": hint}
    if verb in _FETCHES:
        return fetch_document("failed", {}, error)
    return {"v": 1, "outcome": "failed", _THINGS.get(verb, "exports"): [], "error": error}


def fetch_document(
    outcome: str,
    counts: Mapping[str, Any],
    error: dict[str, Any] | None,
    output: Path | None = None,
    dead_letters: Path | None = None,
) -> dict[str, Any]:
    """Return the JSON document of a fetch.

    Args:
        outcome: The outcome in one word.
        counts: What was counted, by name; what is not there is 0.
        error: Why it did not end well.
        output: The file of the answers, if it is done.
        dead_letters: The file of what failed, if anything did.
    """
    return {
        "v": 1,
        "outcome": outcome,
        **{name: counts.get(name, 0) for name in _COUNTS},
        "seconds": counts.get("seconds", 0.0),
        "output": None if output is None else str(output),
        "dead_letters": None if dead_letters is None else str(dead_letters),
        "error": error,
    }


def dump(document: dict[str, Any]) -> str:
    """Return a document as one line of JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # A path that is no UTF-8 has surrogates, which only an escape can carry.
    return text if _is_text(text) else json.dumps(document, separators=(",", ":"))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
