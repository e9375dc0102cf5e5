"""A local stand-in for the services, for demonstrations and tests.

Strict, stateful and deterministic. It shares no code with the clients, so that a mistake in them cannot hide.
"""

from tagferry.emulator.arrivals import Arrival, Arrivals
from tagferry.emulator.audience import Source
from tagferry.emulator.faults import FaultQueue
from tagferry.emulator.growingio_cdp_settings import CDPSettings
from tagferry.emulator.server import Emulator
from tagferry.emulator.settings import Settings
from tagferry.emulator.tencent_people import tags_of
from tagferry.emulator.tencent_settings import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    TencentSettings,
)
from tagferry.emulator.thread import serve_in_thread

__all__ = [
    "DEMO_IDENTIFIER",
    "DEMO_SDKAPPID",
    "DEMO_SECRET_KEY",
    "Arrival",
    "Arrivals",
    "CDPSettings",
    "Emulator",
    "FaultQueue",
    "Settings",
    "Source",
    "TencentSettings",
    "serve_in_thread",
    "tags_of",
]
