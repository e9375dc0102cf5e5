"""How a CSV file separates, quotes and escapes."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

__all__ = ["BACKSLASH", "RFC4180", "Dialect", "DialectName", "guess_dialect"]

DialectName = Literal["auto", "saas", "cdp"]
_GIO_ID = re.compile(r"[\"“”]*gio_id[\"“”]*(?:[,\t\r\n]|\Z)")
_FETCHED = re.compile(r"(\"?)account\1,(\"?)tags\2(?:[\r\n]|\Z)")


class Dialect(msgspec.Struct, frozen=True):
    """A delimiter, and maybe an escape; the quote is always ``"``, and two of them are one."""

    delimiter: str = ","
    escape: str | None = None


RFC4180 = Dialect()
"""What CDP writes."""
BACKSLASH = Dialect(escape="\\")
"""What SaaS writes: protocol/growingio.md, 1.8."""


def guess_dialect(text: str) -> Dialect:
    """Tell the dialect from the beginning of a file.

    Every CDP file has ``gio_id`` as its first column; and fetched tags are in two columns of known names.
    """
    return RFC4180 if _GIO_ID.match(text) or _FETCHED.match(text) else BACKSLASH
