"""Which accounts were asked, and which more than once."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARDS = 1024
EXAMPLES = 10
FIRST = 16
GROWTH = 4
_WHOLE = (1 << 64) - 2


class Asked:
    """Distinct accounts, told apart by 63 bits of their hash: 11 to 43 bytes for each.

    Many small tables instead of a large one: each grows on its own, so that no call waits for long.

    Attributes:
        times: Accounts in all calls, the same one as often as it came.
        repeated: Distinct ones that came more than once.
        examples: The first of these.

    """

    def __init__(self) -> None:
        self.times = 0
        self.repeated = 0
        self.examples: list[str] = []
        self._tables = [array("Q", bytes(8 * FIRST)) for _ in range(SHARDS)]
        self._free = [FIRST * 3 // 4] * SHARDS

    def add(self, accounts: Sequence[str]) -> None:
        """Note the accounts of one call."""
        tables, free = self._tables, self._free
        self.times += len(accounts)
        # One loop without calls: a service that is asked for ten million accounts comes through here.
        for account in accounts:
            # The lowest bit is a mark for repeated ones; a zero means that a place is free.
            key = hash(account) << 1 & _WHOLE or 2
            shard = key >> 1 & SHARDS - 1
            table = tables[shard]
            last = len(table) - 1
            place = key >> 11 & last
            while (entry := table[place]) and entry | 1 != key | 1:
                place = place + 1 & last
            if not entry:
                table[place] = key
                free[shard] -= 1
                if not free[shard]:
                    self._grow(shard)
            elif entry == key:
                table[place] = key | 1
                self._repeat(account)

    @property
    def accounts(self) -> int:
        """Distinct accounts."""
        places = sum(map(len, self._tables))
        return places * 3 // 4 - sum(self._free)

    def _grow(self, shard: int) -> None:
        old = self._tables[shard]
        table = array("Q", bytes(old.itemsize * GROWTH * len(old)))
        last = len(table) - 1
        for entry in filter(None, old):
            place = entry >> 11 & last
            while table[place]:
                place = place + 1 & last
            table[place] = entry
        self._tables[shard] = table
        self._free[shard] = (len(table) - len(old)) * 3 // 4

    def _repeat(self, account: str) -> None:
        self.repeated += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(account)
