"""What a fetch set out to do and how far it has come: the documents of its ledger."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tagferry.errors import ConfigError

__all__ = ["Checkpoint", "Ending", "Plan", "Totals"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was set out for. A later run goes on only with the same."""

    settings: Mapping[str, str]
    source: str
    """What the input is called, for messages."""
    stamp: str | None
    """A cheap identity of the input, if it has one."""
    digest: str
    """The digest of the input, repeats included."""
    accounts: int
    distinct: int
    size: int
    """Bytes of the spool."""
    retried: str | None = None
    """The path of the dead letters that are asked for again, if they are not beside the output."""

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Refuse to go on under other settings.

        Raises:
            ConfigError: Some are others.
        """
        for name in sorted(self.settings.keys() | settings.keys()):
            before, now = self.settings.get(name), settings.get(name)
            if before != now:
                msg = f"the unfinished fetch was begun with {name} {before}, and now it is {now}"
                raise ConfigError(msg, hint=_OTHER)

    def check_input(self, source: str, accounts: int, digest: str) -> None:
        """Refuse to go on with another input; an empty one stands for an input that is gone.

        Raises:
            ConfigError: It is another one.
        """
        if accounts and (accounts, digest) != (self.accounts, self.digest):
            how = f"{self.accounts} accounts before, {accounts} now"
            how = how if accounts != self.accounts else "as many accounts, but others or in another order"
            msg = f"the input is not the one that the unfinished fetch was begun with: {source} ({how})"
            raise ConfigError(msg, hint=_OTHER)


_OTHER = "go on as it was begun, choose another output, or start over with --no-resume (resume=False)"


class Totals(msgspec.Struct):
    """Counts of a whole fetch, over all its runs."""

    tagged: int = 0
    missing: int = 0
    failed: int = 0
    requests: int = 0
    throttled: int = 0
    seconds: float = 0.0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a fetch has come: what the files hold, and for which batches."""

    low: int = 0
    """All batches below are done."""
    above: list[int] = []
    """Batches beyond it that are done."""
    output_size: int = 0
    dead_size: int = 0
    totals: Totals


class Ending(msgspec.Struct, frozen=True):
    """All accounts are answered, and the giving of the final names has begun."""

    replace: bool
