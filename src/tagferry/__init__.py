"""Ferries user tags and user segments out of GrowingIO and Tencent IM onto your disk.

Every account and every byte exactly once, at the full speed that the service allows.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagferry import emulator as emulator
    from tagferry import events as events
    from tagferry.clients.client_credentials import ClientCredentials
    from tagferry.clients.growingio import GrowingIO
    from tagferry.clients.growingio_cdp import GrowingIOCDP
    from tagferry.clients.tencent_im import TencentIM
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
    from tagferry.exports.job import Job, Ready
    from tagferry.exports.many import download_all
    from tagferry.exports.outcome import ExportDone, ExportFailed, SavedFile
    from tagferry.lookups.outcome import (
        AccountError,
        AccountFailed,
        FetchReport,
        Missing,
        Tagged,
        TagResult,
    )
    from tagferry.rows.cdp import CDPRow
    from tagferry.rows.convert import Converted, convert
    from tagferry.rows.reader import Rows, read_rows
    from tagferry.services.growingio_listed import Listed

__all__ = [
    "AccountError",
    "AccountFailed",
    "AuthError",
    "CDPRow",
    "ClientCredentials",
    "ConfigError",
    "Converted",
    "DeadlineError",
    "DiskError",
    "Export",
    "ExportDone",
    "ExportFailed",
    "FetchReport",
    "GrowingIO",
    "GrowingIOCDP",
    "IntegrityError",
    "Job",
    "JobFailedError",
    "LinkExpiredError",
    "Listed",
    "Missing",
    "ProtocolError",
    "Ready",
    "RecordError",
    "RefusedError",
    "Rows",
    "SavedFile",
    "SubmitUnknownError",
    "TagResult",
    "TagferryError",
    "Tagged",
    "TencentIM",
    "ThrottledError",
    "UnavailableError",
    "convert",
    "download_all",
    "read_rows",
]

_PLACES = {
    "AccountError": "tagferry.lookups.outcome",
    "AccountFailed": "tagferry.lookups.outcome",
    "CDPRow": "tagferry.rows.cdp",
    "ClientCredentials": "tagferry.clients.client_credentials",
    "Converted": "tagferry.rows.convert",
    "Export": "tagferry.exports.export",
    "ExportDone": "tagferry.exports.outcome",
    "ExportFailed": "tagferry.exports.outcome",
    "FetchReport": "tagferry.lookups.outcome",
    "GrowingIO": "tagferry.clients.growingio",
    "GrowingIOCDP": "tagferry.clients.growingio_cdp",
    "Job": "tagferry.exports.job",
    "Listed": "tagferry.services.growingio_listed",
    "Missing": "tagferry.lookups.outcome",
    "Ready": "tagferry.exports.job",
    "Rows": "tagferry.rows.reader",
    "SavedFile": "tagferry.exports.outcome",
    "TagResult": "tagferry.lookups.outcome",
    "Tagged": "tagferry.lookups.outcome",
    "TencentIM": "tagferry.clients.tencent_im",
    "convert": "tagferry.rows.convert",
    "download_all": "tagferry.exports.many",
    "read_rows": "tagferry.rows.reader",
}

_MODULES = ("emulator", "events")

logging.getLogger("tagferry").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # aiohttp takes a third of a second to import: `tagferry --help`, and every pytest run that only
    # loads the fixture, should not wait for it.
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("tagferry")
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(importlib.import_module(_PLACES.get(name, "tagferry.errors")), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, "__version__"})
