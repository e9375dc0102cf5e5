"""What every client speaks through: a transport, quotas, waits and a listener, made of the same arguments."""

from __future__ import annotations

import random
import ssl as tls
from collections.abc import Hashable, Mapping, Sequence

import aiohttp

from tagferry.clients.arguments import check_count, check_seconds
from tagferry.clients.insecure import warn_of_clear_text
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.listener import listen
from tagferry.wire.backoff import Backoff
from tagferry.wire.clock import SystemClock
from tagferry.wire.limiter import Limiter, shared_limiter
from tagferry.wire.origin import check_proxy, host_of
from tagferry.wire.quota import Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tagferry.wire.transport import Transport

__all__ = ["Connection"]


class Connection:
    """The way of one client to its service. Making one opens nothing.

    Args:
        service: The service's name.
        addresses: The checked base URLs that credentials go to; the last one is where files come from.
        opening: How its client is opened, for those who did not, like ``"tagferry.GrowingIO(...) as gio"``.
        timeout: Seconds for one API request.
        stall_timeout: Seconds in which the reply to one must bring some bytes, if they are bounded.
        retries: How often something failed is tried again in a row.
        session: The user's own session for API requests.
        ssl: The user's own TLS settings.
        proxy: The URL of a proxy.
        on_event: The user's listener.

    Raises:
        ConfigError: A value that cannot work.
    """

    def __init__(
        self,
        service: str,
        addresses: Sequence[str],
        opening: str,
        *,
        timeout: float,
        stall_timeout: float | None = None,
        retries: int,
        session: aiohttp.ClientSession | None,
        ssl: tls.SSLContext | None,
        proxy: str | None,
        on_event: Emit | None,
    ) -> None:
        check_seconds("timeout", timeout, service=service)
        check_count("retries", retries, least=0, service=service)
        if proxy is not None:
            check_proxy(proxy, service=service)
        self._service = service
        self._addresses = addresses
        self._opening = opening
        self._retries = retries
        self._is_open = False
        self.clock = SystemClock()
        self.emit = listen(on_event)
        self.transport = Transport(
            service,
            timeout=timeout,
            stall_timeout=stall_timeout,
            session=session,
            ssl=ssl,
            proxy=proxy,
            api_host=host_of(addresses[-1]),
        )

    def limiter(self, key: Hashable, rate: Rate) -> Limiter:
        """Return what keeps to a rate, together with all clients of the process that have the same key."""
        return shared_limiter(key, rate, self.clock)

    def backoff(self, limits: Mapping[int | str | None, int] = {}) -> Backoff:
        """Return waits with a budget of their own.

        Args:
            limits: The most retries after errors with certain codes, where they are fewer.
        """
        policy = RetryPolicy(retries=self._retries, limits=limits)
        return Backoff(policy=policy, budget=RetryBudget(), clock=self.clock, chance=random.random)

    def open(self) -> None:
        """Allow requests from now on."""
        self.transport.reopen()
        self._is_open = True
        for address in self._addresses:
            warn_of_clear_text(address, self._service, self.emit)

    async def aclose(self) -> None:
        """Close what is open, and allow no other request."""
        self._is_open = False
        await self.transport.aclose()

    def check_open(self) -> None:
        """Refuse what is done with a client that is not open.

        Raises:
            ConfigError: It is not.
        """
        if not self._is_open:
            hint = f"open it: async with {self._opening}"
            raise ConfigError("the client is not open", service=self._service, hint=hint)
