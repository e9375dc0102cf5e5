"""A Tencent IM client and an emulator made for speed, and the truth about the accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import tagferry
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, Emulator, Settings, TencentSettings, tags_of
from tagferry.events import Event
from tagferry.wire import limiter
from tagferry.wire.retry import RetryBudget

GET_TAG = "tencent-im.get-tag"
SECRET_KEY = "CANARY-key-of-the-emulator-0123456789abcdef"
APPLICATIONS = {DEMO_SDKAPPID: (SECRET_KEY, (DEMO_IDENTIFIER,))}
TENCENT = TencentSettings(applications=APPLICATIONS, quota_per_second=10_000)
FAST = Settings(time_scale=0.01, tencent=TENCENT)
RATE = "10000/s"


def settings(**tencent: Any) -> Settings:
    """The fast settings, with others for Tencent IM."""
    return replace(FAST, tencent=replace(TENCENT, **tencent))


def hasten(client: tagferry.TencentIM) -> tagferry.TencentIM:
    """Give a client waits that suit a test; what it does between them, and how often, stays as it is."""
    old = client._caller.backoff
    policy = msgspec.structs.replace(old.policy, base=0.002, cap=0.01)
    backoff = msgspec.structs.replace(old, policy=policy, budget=RetryBudget(floor=10_000))
    client._caller = msgspec.structs.replace(client._caller, backoff=backoff)
    client._service = msgspec.structs.replace(client._service, backoff=backoff)
    return client


def forget_quotas(origin: str) -> None:
    """Forget what an earlier emulator on the same port allowed."""
    for key in [key for key in limiter._shared if isinstance(key, tuple) and key[0] == origin]:
        del limiter._shared[key]


def make_accounts(count: int, start: int = 0) -> list[str]:
    """Accounts such as the emulator makes up; one in 512 is unknown to it."""
    return [f"user{number:07d}" for number in range(start, start + count)]


def truth_of(accounts: Iterable[str]) -> dict[str, tuple[str, ...] | None]:
    """The tags of accounts, None for those that the service does not know."""
    return {account: None if (tags := tags_of(account)) is None else tuple(tags) for account in accounts}


class World:
    """An emulator, a client of it, and the events that it emitted."""

    def __init__(
        self, emulator: Emulator, client: tagferry.TencentIM, out: Path, events: list[Event]
    ) -> None:
        self.emulator = emulator
        self.client = client
        self.out = out
        self.events = events

    def order(self, *faults: str) -> None:
        """Order faults for the next calls, one after the other."""
        for fault in faults:
            self.emulator.faults.add(GET_TAG, fault)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def calls(self) -> int:
        """Requests that the service saw."""
        return sum(usage.window.arrivals for usage in self.emulator.tencent.usages.values())

    def facts(self, sdkappid: int = DEMO_SDKAPPID) -> dict[str, Any]:
        """What the service counted for an application and its one command; see `Usage.facts`."""
        (one,) = [one for one in self.emulator.tencent.statistics() if one["sdkappid"] == sdkappid]
        return one

    def check(self, result: tagferry.TagResult, accounts: Sequence[str]) -> None:
        """Every account is in the result once, with the truth."""
        truth = truth_of(accounts)
        known = {account: tags for account, tags in truth.items() if tags is not None}
        assert dict(result.tags) == known
        assert result.missing == truth.keys() - known.keys()
        assert result.failed == {}


@asynccontextmanager
async def open_world(tmp_path: Path, settings: Settings = FAST, **options: Any) -> AsyncIterator[World]:
    """Run a fast emulator and a client of it, with further options of the client's constructor."""
    events: list[Event] = []
    async with Emulator(settings) as emulator:
        forget_quotas(emulator.base_url)
        chosen: dict[str, Any] = {
            "sdkappid": DEMO_SDKAPPID,
            "identifier": DEMO_IDENTIFIER,
            "base_url": emulator.base_url,
            "rate": RATE,
            "on_event": events.append,
        }
        if "user_sig" not in options:
            chosen["secret_key"] = SECRET_KEY
        client = hasten(tagferry.TencentIM(**chosen | options))
        async with client:
            yield World(emulator, client, tmp_path / "out", events)
        await asyncio.sleep(0)
