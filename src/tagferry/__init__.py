"""Ferries user tags and user segments out of GrowingIO onto your disk.

Every byte exactly once, at the full speed that the service allows.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagferry.clients.growingio import GrowingIO
    from tagferry.errors import (
        AuthError,
        ConfigError,
        DeadlineError,
        DiskError,
        IntegrityError,
        JobFailedError,
        LinkExpiredError,
        ProtocolError,
        RecordError,
        RefusedError,
        SubmitUnknownError,
        TagferryError,
        ThrottledError,
        UnavailableError,
    )
    from tagferry.exports.export import Export
    from tagferry.exports.job import Ready
    from tagferry.exports.many import download_all
    from tagferry.exports.outcome import ExportDone, ExportFailed, SavedFile

__all__ = [
    "AuthError",
    "ConfigError",
    "DeadlineError",
    "DiskError",
    "Export",
    "ExportDone",
    "ExportFailed",
    "GrowingIO",
    "IntegrityError",
    "JobFailedError",
    "LinkExpiredError",
    "ProtocolError",
    "Ready",
    "RecordError",
    "RefusedError",
    "SavedFile",
    "SubmitUnknownError",
    "TagferryError",
    "ThrottledError",
    "UnavailableError",
    "download_all",
]

_PLACES = {
    "Export": "tagferry.exports.export",
    "ExportDone": "tagferry.exports.outcome",
    "ExportFailed": "tagferry.exports.outcome",
    "GrowingIO": "tagferry.clients.growingio",
    "Ready": "tagferry.exports.job",
    "SavedFile": "tagferry.exports.outcome",
    "download_all": "tagferry.exports.many",
}

logging.getLogger("tagferry").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # aiohttp takes a third of a second to import: `tagferry --help`, and every pytest run that only
    # loads the fixture, should not wait for it.
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("tagferry")
    if name in __all__:
        return getattr(importlib.import_module(_PLACES.get(name, "tagferry.errors")), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
