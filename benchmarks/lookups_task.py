"""What every contestant of the look-ups has to do, and how it tells what that took.

Standard library only, so that no contestant imports what it would not need.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

__all__ = ["BATCH", "PATH", "Laps", "Task", "names"]

BATCH = 100
PATH = "/v4/all_member_push/im_get_tag"


def names(accounts: int) -> Iterator[str]:
    """Yield accounts, each another one."""
    return (f"user-{number:09d}" for number in range(accounts))


@dataclass(frozen=True, slots=True)
class Task:
    """What a contestant is told on its command line."""

    url: str
    accounts: int
    connections: int
    sdkappid: str
    identifier: str
    credential: str
    """A UserSig, or for ours the secret key that it makes one of."""
    loop: str

    @property
    def words(self) -> list[str]:
        """The words of the command line; `of` is the way back."""
        numbers = [str(self.accounts), str(self.connections)]
        return [self.url, *numbers, self.sdkappid, self.identifier, self.credential, self.loop]

    @classmethod
    def of(cls, words: list[str]) -> Self:
        url, accounts, connections, *rest = words
        return cls(url, int(accounts), int(connections), *rest)

    def batches(self) -> Iterator[list[str]]:
        """Yield the accounts of each call."""
        for begin in range(0, self.accounts, BATCH):
            numbers = range(begin, min(begin + BATCH, self.accounts))
            yield [f"user-{number:09d}" for number in numbers]

    def parameters(self) -> dict[str, str]:
        """Return the query of one call."""
        return {
            "sdkappid": self.sdkappid,
            "identifier": self.identifier,
            "usersig": self.credential,
            "random": str(random.getrandbits(32)),
            "contenttype": "json",
        }


class Laps:
    """The CPU time of this process, from stage to stage."""

    def __init__(self) -> None:
        self._before = 0.0
        self._seconds: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """Count what was used since the last stage ended for this one."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now = usage.ru_utime + usage.ru_stime
        self._seconds[stage] = now - self._before
        self._before = now

    def tell(self, tagged: int) -> None:
        """Print how many accounts had an entry, and the stages."""
        json.dump({"tagged": tagged, "cpu": self._seconds}, sys.stdout)
