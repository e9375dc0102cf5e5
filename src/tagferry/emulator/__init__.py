"""A local stand-in for the services, for demonstrations and tests.

Strict, stateful and deterministic. It shares no code with the clients, so that a mistake in them cannot hide.
"""

from tagferry.emulator.audience import Source
from tagferry.emulator.server import Emulator
from tagferry.emulator.settings import Settings
from tagferry.emulator.thread import serve_in_thread

__all__ = ["Emulator", "Settings", "Source", "serve_in_thread"]
