"""A Tencent IM client and the service of the emulator in virtual time, with a network between them."""

from __future__ import annotations

import asyncio
import random
import statistics
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

import tagferry
from tagferry.clients import connection
from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Settings,
    TencentSettings,
    tencent_application,
)
from tagferry.emulator import tencent_im as service_module
from tagferry.emulator.damage import damage_reply
from tagferry.emulator.faults import FaultQueue
from tagferry.emulator.tencent_im import GET_TAG, TencentIM
from tagferry.emulator.wire import Request as Arrived
from tagferry.errors import UnavailableError
from tagferry.wire.message import Head, Reply, Request
from tests.lookups.world import forget_quotas
from tests.virtual import SECOND, VirtualClock

ORIGIN = "https://simulated.example.com"

Trip = Callable[[random.Random], tuple[float, float | None]]
"""Gives the seconds to the service and those back; None in place of the latter loses the answer."""


def steady(there: float = 0.02, back: float = 0.02) -> Trip:
    return lambda _: (there, back)


class Network:
    """In place of the transport: carries requests to the service, and answers back."""

    def __init__(self, trip: Trip | None = None, seed: int = 1, **tencent: Any) -> None:
        settings = Settings(tencent=TencentSettings(**tencent))
        self.service = TencentIM(settings)
        self.faults = FaultQueue(frozenset({GET_TAG}))
        self.trip = trip or steady()
        self.events: list[tagferry.events.Event] = []
        self.sent: list[int] = []
        self.urls: list[str] = []
        self.arrived: list[int] = []
        self.trips: list[float] = []
        """Round trips, in seconds."""
        self.lost = Counter[str]()
        self._chance = random.Random(seed)
        self._clock = VirtualClock()

    def reopen(self) -> None:
        """Do as the transport does."""

    async def aclose(self) -> None:
        """Do as the transport does."""

    async def send(self, request: Request) -> Reply:
        self.sent.append(self._clock.now())
        self.urls.append(request.url)
        there, back = self.trip(self._chance)
        await asyncio.sleep(there)
        reply = self._arrive(request)
        if back is None or reply.silent:
            self.lost["answers"] += 1
            raise UnavailableError("no answer")
        await asyncio.sleep(back + reply.delay)
        self.trips.append(there + back + reply.delay)
        return Reply(
            Head(reply.status, CIMultiDict(reply.headers)), b"".join(reply.body.read(0, reply.body.size))
        )

    def _arrive(self, request: Request) -> Any:
        now = self._clock.now()
        self.arrived.append(now)
        target = request.url.removeprefix(ORIGIN)
        arrived = Arrived(request.method, target, (), request.body, now, keep_alive=True)
        refused = self.service.refuse(arrived)
        if refused is not None:
            return refused
        plan = self.faults.take(GET_TAG)
        return damage_reply(self.service.answer(arrived, plan), plan)

    def client(
        self, monkeypatch: pytest.MonkeyPatch, *, batch: int = 100, **options: Any
    ) -> tagferry.TencentIM:
        """A client that speaks through this network; to be made in virtual time.

        Calls for fewer accounts cost the test less, and are calls as all others.
        """
        clock = types.SimpleNamespace(monotonic_ns=self._clock.now, time=self._clock.unix)
        for module in (service_module, tencent_application):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(connection, "Transport", lambda *_, **__: self)
        monkeypatch.setattr(connection, "SystemClock", lambda: self._clock)
        monkeypatch.setattr(connection, "random", types.SimpleNamespace(random=self._chance.random))
        forget_quotas(ORIGIN)
        chosen: dict[str, Any] = {
            "sdkappid": DEMO_SDKAPPID,
            "identifier": DEMO_IDENTIFIER,
            "base_url": ORIGIN,
            "on_event": self.events.append,
        }
        if "user_sig" not in options:
            chosen["secret_key"] = DEMO_SECRET_KEY
        client = tagferry.TencentIM(**chosen | options)
        client._service = msgspec.structs.replace(client._service, batch=batch)
        return client

    def of(self, kind: type[tagferry.events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def facts(self) -> dict[str, Any]:
        """What the service counted."""
        (one,) = self.service.statistics()
        return one

    @property
    def rate(self) -> float:
        """Calls in a second, the first hundred left out: a full bucket is no speed.

        Calls may come in bunches of a hundred, of which the end of a run cuts one somewhere. So the time is
        taken from each call to the one that is some hundreds later.
        """
        times = sorted(self.arrived)
        calls = (len(times) - 101) // 100 * 100
        starts = range(100, min(200, len(times) - calls))
        return calls * SECOND / statistics.mean(times[start + calls] - times[start] for start in starts)

    @property
    def allowed(self) -> float:
        """Calls in a second that are possible when a token is away for a second and the round trip."""
        return 100 / (1 + sum(self.trips) / len(self.trips))
