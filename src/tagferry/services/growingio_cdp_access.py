"""How GrowingIO CDP is told who asks: the headers, and the token exchange of old ones (13.x).

Sources: the page "open-api" with its public request parameters, and "authentication" of the GraphQL API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlencode

import msgspec

from tagferry.errors import AuthError, ConfigError, ProtocolError
from tagferry.services.growingio_cdp_spec import SERVICE
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply, Request
from tagferry.wire.status import refusal

__all__ = ["TOKEN_HINT", "ask_token", "authorize", "check_language", "check_scheme", "read_token"]

TOKEN_HINT = "make a token in the CDP console, personal settings, Token management; set TAGFERRY_CDP_TOKEN"  # noqa: S105  # no token

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}|")


def authorize(token: str, scheme: str = "Bearer", language: str | None = None) -> Mapping[str, str]:
    """Return the headers that carry the credentials, and the language of names and messages.

    Args:
        token: The token.
        scheme: The word before it; empty for a bare token, ``"Token"`` for one of the old exchange.
        language: ``"CH"`` or ``"US"``; None leaves it to the service, which takes Chinese.
    """
    headers = {"Authorization": f"{scheme} {token}" if scheme else token}
    return headers | ({"language": language} if language else {})


def check_scheme(value: object) -> str:
    """Return a scheme word that a header can carry, or an empty one.

    Raises:
        ConfigError: It is no such word.
    """
    if isinstance(value, str) and _SCHEME.fullmatch(value):
        return value
    # Someone may have put the token here.
    hint = "give Bearer, Token, or an empty text for the bare token"
    raise ConfigError("the token scheme is no single word", service=SERVICE, hint=hint)


def check_language(value: object) -> str | None:
    """Return a language that the service knows, or None for its own choice.

    Raises:
        ConfigError: It is another one.
    """
    if value is None or (isinstance(value, str) and value in {"CH", "US"}):
        return value
    msg = f"language {excerpt(repr(value), 60)} is not one of CH and US"
    raise ConfigError(msg, service=SERVICE, hint="leave it out for Chinese")


def ask_token(base_url: str, client_secret: str, *, client_id: str = "api", scope: str = "system") -> Request:
    """Ask an old CDP for a token, by the key that was made at its installation.

    The token goes with the scheme ``"Token"``. Its life is not documented: when it is refused, ask again.

    Raises:
        ConfigError: The key is empty or no text.
    """
    # Whatever it is instead, it may be a secret.
    if not isinstance(cast("object", client_secret), str) or not client_secret.strip():
        hint = "ask the administrator of the CDP for the API key of the deployment"
        raise ConfigError("the client secret is empty or no text", service=SERVICE, hint=hint)
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
    return Request(
        operation=f"{SERVICE} token",
        method="POST",
        url=f"{base_url}/accounts/oauth/access_token",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode({**form, "client_secret": client_secret.strip()}).encode(),
    )


def read_token(reply: Reply, *, now: float) -> str:
    """Read the token of the old exchange.

    Args:
        reply: The service's reply.
        now: Unix time in seconds.

    Raises:
        AuthError: The service does not know the key.
        TagferryError: Another refusal, or not what the service promises.
    """
    answer, status = _decode(reply.body), reply.head.status
    if status in {400, 401, 403}:
        texts = (answer.error_description, answer.message, answer.error)
        reason = next((text for text in texts if isinstance(text, str) and text), f"{status}")
        msg = f"{SERVICE} gave no token: {excerpt(reason)}"
        hint = "check client id and client secret: the API key was made when the CDP was installed"
        raise AuthError(msg, service=SERVICE, code=status, hint=hint)
    if not 200 <= status < 300:
        msg = f"{SERVICE} answered {status} to the request for a token"
        raise refusal(reply.head, msg, service=SERVICE, now=now)
    if not isinstance(answer.access_token, str) or not answer.access_token:
        # The body may hold a token after all, so it is not shown.
        msg = f"{SERVICE} answered the request for a token without one"
        raise ProtocolError(msg, service=SERVICE, code=status, hint="check the base URL")
    return answer.access_token


class _Answer(msgspec.Struct):
    """A token or an error; every field may be anything."""

    access_token: object = None
    error: object = None
    error_description: object = None
    message: object = None


_DECODER = msgspec.json.Decoder(_Answer)


def _decode(body: bytes) -> _Answer:
    try:
        return _DECODER.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Answer()
