"""How GrowingIO CDP is told who asks, and in which language to answer.

Sources: the page "open-api" with its public request parameters, and "authentication" of the GraphQL API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tagferry.errors import ConfigError
from tagferry.services.growingio_cdp_spec import SERVICE
from tagferry.wire.excerpt import excerpt

__all__ = ["TOKEN_HINT", "authorize", "check_language", "check_scheme"]

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
