"""What is to be fetched, and how."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tagferry.lookups.intake import Accounts
from tagferry.lookups.service import LookupService
from tagferry.lookups.target import IfExists, Target

__all__ = ["FetchSpec"]


class FetchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One durable fetch, as its caller wants it."""

    service: LookupService
    accounts: Accounts
    target: Target
    ordered: bool
    if_exists: IfExists
    resume: bool
    retried: Path | None = None
    """Dead letters that are asked for again; the output then begins with the lines that it has."""

    @property
    def settings(self) -> dict[str, str]:
        """What an unfinished fetch must have been begun with."""
        return {
            **self.service.settings,
            "accounts in a call": str(self.service.batch),
            "order": "of the input" if self.ordered else "as answered",
            "purpose": "retry" if self.retried else "fetch",
        }
