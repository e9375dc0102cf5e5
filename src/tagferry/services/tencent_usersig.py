"""The UserSig of Tencent IM: the signature that stands for an account of an app, version 2 (HMAC-SHA256).

Source: the page "Generating UserSig" of Tencent Cloud Chat.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import zlib

from tagferry.errors import ConfigError
from tagferry.services.tencent_codes import SERVICE
from tagferry.wire.secret import Secret

__all__ = ["LIFETIME", "MAX_LIFETIME", "check_secret_key", "make_user_sig"]

MAX_LIFETIME = 10 * 365 * 86400
"""The longest life of a signature, in seconds; the documents say 10 years, or in other places 50."""
LIFETIME = 86400
"""A life of a signature, in seconds, that suits a program that makes new ones by itself."""

# Not the URL-safe Base64 of RFC 4648, where other characters stand for these.
_ALPHABET = bytes.maketrans(b"+/=", b"*-_")
_HINT = "copy the secret key of the app from the Chat console; set TAGFERRY_TENCENT_SECRET_KEY"


def check_secret_key(key: object) -> Secret:
    """Return the secret key of an app, without blanks around it.

    Raises:
        ConfigError: It is empty, no text, or a private key of the scheme before this one.
    """
    if not isinstance(key, str) or not key.strip():
        raise ConfigError("secret key is empty or no text", service=SERVICE, hint=_HINT)
    # A traceback with local variables shows the key by its repr.
    key = Secret(key.strip())
    if "-----BEGIN" in key or "PRIVATE KEY" in key:
        msg = "secret key is a private key (PEM) of the old signature scheme, which is not supported"
        hint = "upgrade the app to HMAC-SHA256 in the Chat console, which stops nothing, and take its new key"
        raise ConfigError(msg, service=SERVICE, hint=hint)
    if not key.isascii() or not key.isprintable():
        msg = "secret key has characters that no key has (blanks around it are removed)"
        raise ConfigError(msg, service=SERVICE, hint=_HINT)
    return key


def make_user_sig(sdkappid: int, key: str, identifier: str, *, lifetime: int, now: float) -> Secret:
    """Make a signature.

    Args:
        sdkappid: The app.
        key: Its secret key, which counts as text although it looks like hexadecimal digits.
        identifier: The account that the signature stands for.
        lifetime: How long it is valid, in seconds.
        now: Unix time in seconds.

    Raises:
        ConfigError: The lifetime is no whole number from 1 to `MAX_LIFETIME`.
    """
    _check_lifetime(lifetime)
    since = math.floor(now)
    lines = f"TLS.identifier:{identifier}\nTLS.sdkappid:{sdkappid}\nTLS.time:{since}\nTLS.expire:{lifetime}\n"
    digest = hmac.digest(key.encode(), lines.encode(), "sha256")
    document = {
        "TLS.ver": "2.0",
        "TLS.identifier": identifier,
        "TLS.sdkappid": sdkappid,
        "TLS.expire": lifetime,
        "TLS.time": since,
        "TLS.sig": base64.b64encode(digest).decode(),
    }
    packed = zlib.compress(json.dumps(document).encode())
    return Secret(base64.b64encode(packed).translate(_ALPHABET).decode())


def _check_lifetime(lifetime: object) -> None:
    if isinstance(lifetime, int) and not isinstance(lifetime, bool) and 1 <= lifetime <= MAX_LIFETIME:
        return
    msg = f"lifetime of {lifetime!r} seconds is no whole number from 1 to {MAX_LIFETIME} (10 years)"
    raise ConfigError(msg, service=SERVICE, hint="86400, a day, suits most programs")
