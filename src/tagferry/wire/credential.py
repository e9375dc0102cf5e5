"""A credential: kept out of sight, attached to the requests for one origin only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from tagferry.errors import AuthError, ConfigError, TagferryError
from tagferry.wire.secret import Secret

__all__ = ["Credential", "Token"]

Token = str | Callable[[], Awaitable[str]]
"""A token, or an async function that provides one and is asked again when it was refused."""


class Credential:
    """The token of one client.

    Args:
        token: A token or its provider.
        name: What the token is called in messages and settings.
        hint: Where a user finds a token.
        fresh: Tells whether what the provider gave may still be used, so that it is asked again in time.

    Raises:
        ConfigError: The token is empty or has characters that a header cannot carry.
    """

    def __init__(
        self, token: Token, *, name: str, hint: str, fresh: Callable[[], bool] = lambda: True
    ) -> None:
        self._name = name
        self._hint = hint
        self._fresh = fresh
        self._provider = token if callable(token) else None
        self._value = None if callable(token) else self._check(token)
        self._renewing = anyio.Lock()

    def __repr__(self) -> str:
        return f"Credential({self._name})"

    @property
    def identity(self) -> object:
        """What tells two credentials apart, for the sharing of quotas; can be hashed."""
        if self._provider is None:
            return self._value
        try:
            hash(self._provider)
        except TypeError:
            return id(self._provider)
        # Two bound methods of one object are equal.
        return self._provider

    @property
    def latest(self) -> Secret:
        """The token that was provided last; `value` must have been asked before."""
        assert self._value is not None
        return self._value

    async def value(self) -> Secret:
        """Return the token; the provider is asked for the first one, and when it is no longer fresh."""
        if self._value is not None and self._good and not self._renewing.locked():
            return self._value
        async with self._renewing:
            if self._value is None or not self._good:
                self._value = await self._ask()
            return self._value

    @property
    def _good(self) -> bool:
        return self._provider is None or self._fresh()

    async def renew(self, refused: str) -> bool:
        """Ask the provider once for another token than the refused one; tell whether there is one.

        Many requests may learn at once that their token is refused: one of them asks.
        """
        if self._provider is None:
            return False
        async with self._renewing:
            if self._value == refused:
                self._value = await self._ask()
            return self._value != refused

    async def _ask(self) -> Secret:
        assert self._provider is not None
        try:
            return self._check(await self._provider())
        except ConfigError as error:
            # The provider's fault comes to light in the middle of the work.
            raise AuthError(error.message, hint=error.hint) from None
        except TagferryError:
            raise
        except Exception as error:
            msg = f"{self._name} was not provided: {type(error).__name__} in its provider"
            raise AuthError(msg, hint="look at the exception that caused this one") from error

    def _check(self, token: object) -> Secret:
        if not isinstance(token, str) or not token.strip():
            msg = f"{self._name} is empty or no text"
            raise ConfigError(msg, hint=self._hint)
        # A traceback with local variables shows the token by its repr.
        token = Secret(token.strip())
        if not token.isascii() or not token.isprintable():
            msg = f"{self._name} has characters that no token has (spaces around it are removed)"
            raise ConfigError(msg, hint=self._hint)
        return token
