"""Ferries user tags and user segments out of GrowingIO and Tencent IM onto your disk.

Every account and every byte exactly once, at the full speed that the service allows.
"""

import logging
from importlib.metadata import version

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

__version__ = version("tagferry")

logging.getLogger("tagferry").addHandler(logging.NullHandler())
