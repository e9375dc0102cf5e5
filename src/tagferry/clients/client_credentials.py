"""Tokens of older GrowingIO CDPs, by the API key of their deployment."""

from __future__ import annotations

import functools
import ssl as tls

from tagferry.clients.arguments import check_seconds
from tagferry.services import growingio_cdp as cdp
from tagferry.wire.clock import SystemClock
from tagferry.wire.origin import check_base_url, check_proxy, host_of
from tagferry.wire.transport import Transport

__all__ = ["ClientCredentials"]


class ClientCredentials:
    """Provides tokens of an older GrowingIO CDP, which has none in its console.

    It is a ``token`` for `GrowingIOCDP`, together with the scheme ``"Token"``: it exchanges the API key that
    was made when the CDP was installed, and is asked again when a token has lapsed. Making one sends nothing.

    Args:
        base_url: The API's origin.
        client_secret: The API key of the deployment.
        client_id: Who asks; those that are installed know ``"api"``.
        scope: What the token is for.
        timeout: Seconds for one exchange.
        ssl: Your own TLS settings.
        proxy: The URL of a proxy. Proxies of the environment are not used.

    Raises:
        ConfigError: A value that cannot work.

    Example:
        >>> credentials = ClientCredentials(base_url=url, client_secret=os.environ["CDP_API_KEY"])
        >>> async with GrowingIOCDP(base_url=url, token=credentials, scheme="Token") as cdp: ...
    """

    def __init__(
        self,
        *,
        base_url: str,
        client_secret: str,
        client_id: str = "api",
        scope: str = "system",
        timeout: float = 30.0,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        origin = check_base_url(base_url, service=cdp.SERVICE, example="http://cdp.example.com")
        check_seconds("timeout", timeout, service=cdp.SERVICE)
        if proxy is not None:
            check_proxy(proxy, service=cdp.SERVICE)
        self._request = cdp.ask_token(origin, client_secret, client_id=client_id, scope=scope)
        # One for each exchange: they are rare, nobody closes a provider, and several clients may share one.
        self._make_transport = functools.partial(
            Transport,
            cdp.SERVICE,
            timeout=timeout,
            session=None,
            ssl=ssl,
            proxy=proxy,
            api_host=host_of(origin),
        )

    def __repr__(self) -> str:
        return f"ClientCredentials({self._request.place})"

    async def __call__(self) -> str:
        """Return a new token.

        Raises:
            AuthError: The service does not know the key.
            TagferryError: No token came.
        """
        transport = self._make_transport()
        try:
            reply = await transport.send(self._request)
        finally:
            await transport.aclose()
        return cdp.read_token(reply, now=SystemClock().unix())
