"""The credential of a Tencent IM client: a UserSig that is given, or those made of the secret key."""

from __future__ import annotations

import functools

from tagferry.errors import ConfigError
from tagferry.services.tencent_codes import SERVICE
from tagferry.services.tencent_usersig import LIFETIME, check_secret_key, make_user_sig
from tagferry.wire.clock import Clock
from tagferry.wire.credential import Credential, Token
from tagferry.wire.secret import Secret

__all__ = ["hide", "make_credential"]

_RENEW_AFTER = 0.9 * LIFETIME


def hide(secret: Token | None) -> Token | None:
    """Return a secret such that no traceback with local variables shows it; what can be none is empty."""
    text = secret if isinstance(secret, str) else ""
    return secret if secret is None or callable(secret) else Secret(text)


def make_credential(
    sdkappid: int, identifier: str, secret_key: object, user_sig: Token | None, *, clock: Clock
) -> Credential:
    """Return the credential of a client.

    Args:
        sdkappid: The app.
        identifier: The administrator whom a UserSig stands for.
        secret_key: The app's secret key, hidden.
        user_sig: A UserSig instead, hidden, or what provides them.
        clock: Time.

    Raises:
        ConfigError: There is not one of the two, or it can be none.
    """
    if (secret_key is None) == (user_sig is None):
        how = "neither a secret key nor a UserSig is given"
        how = how if secret_key is None else "both a secret key and a UserSig are given"
        hint = "the secret key is in the Chat console; set TAGFERRY_TENCENT_SECRET_KEY"
        raise ConfigError(how, service=SERVICE, hint=hint)
    name, hint = "the UserSig", "make one for this SDKAppID and identifier, or give the secret key"
    if user_sig is not None:
        return Credential(user_sig, name=name, hint=hint)
    maker = _SigMaker(sdkappid, identifier, check_secret_key(secret_key), clock)
    return Credential(maker, name=name, hint=hint, fresh=maker.is_fresh)


class _SigMaker:
    """Makes signatures, each for about a day, and a new one in good time."""

    def __init__(self, sdkappid: int, identifier: str, key: Secret, clock: Clock) -> None:
        self._make = functools.partial(make_user_sig, sdkappid, key, identifier)
        self._clock = clock
        self._made = 0.0
        self._count = 0

    async def __call__(self) -> str:
        self._made = self._clock.unix()
        # Two signatures of one second would be the same text, and the service may have voided the first.
        self._count += 1
        return self._make(lifetime=LIFETIME + self._count, now=self._made)

    def is_fresh(self) -> bool:
        # A clock that was set back makes the signature one of the future.
        return 0 <= self._clock.unix() - self._made < _RENEW_AFTER
