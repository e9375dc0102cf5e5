"""The token exchange of old CDPs."""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse
import uuid
from typing import TYPE_CHECKING

from tagferry.emulator.wire import Reply, json_reply

if TYPE_CHECKING:
    from tagferry.emulator.settings import Settings
    from tagferry.emulator.wire import Request

_FORM = {"grant_type": "client_credentials", "client_id": "api", "scope": "system"}


class Tokens:
    """The tokens that were made, and when each ends on the monotonic clock.

    Attributes:
        made: How many there were.

    """

    def __init__(self, settings: Settings) -> None:
        self.made = 0
        self._settings = settings
        self._ends: dict[str, float] = {}

    def answer(self, request: Request) -> Reply:
        """A token for the form with the deployment's key."""
        if request.values("Content-Type")[:1] != ["application/x-www-form-urlencoded"]:
            return json_reply(400, '{"error":"invalid_request","error_description":"a form is required"}')
        form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
        if form != {**_FORM, "client_secret": self._settings.cdp.api_key}:
            return json_reply(401, '{"error":"invalid_client","error_description":"Bad client credentials"}')
        self.made += 1
        key = self._settings.cdp.api_key.encode()
        token = uuid.UUID(hmac.digest(key, b"%d" % self.made, hashlib.sha256).hex()[:32])
        life = self._settings.cdp.token_seconds * self._settings.time_scale
        self._ends[f"Token {token}"] = time.monotonic() + life
        return json_reply(200, f'{{"access_token":"{token}","token_type":"bearer","scope":"system"}}')

    def knows(self, header: str) -> bool:
        """Whether a token was made here and has not ended."""
        return time.monotonic() < self._ends.get(header, 0.0)
