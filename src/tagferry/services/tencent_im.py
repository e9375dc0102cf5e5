"""What Tencent IM says: the look-up of the tags of up to 100 accounts in one call.

A failure comes as a code in a reply with HTTP status 200. The documents of the two commands differ, and the
service may add members to its replies, so a reply that is not quite as documented is read by hand. Sources:
the pages "Getting User Tags" (of ``all_member_push`` and of ``timpush``) and "RESTful API Overview".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

from tagferry.errors import ConfigError
from tagferry.services.tencent_codes import SERVICE
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Request
from tagferry.wire.quota import Rate

__all__ = [
    "BATCH",
    "COMMANDS",
    "KIND",
    "RATE",
    "REGIONS",
    "SERVICE",
    "ask_tags",
    "base_url_of",
    "check_identifier",
    "check_sdkappid",
    "check_service",
    "make_signer",
]

KIND = "tencent-tags"
RATE = Rate(100)
"""A hundred calls a second for each app and command, whoever makes them (page "Getting User Tags")."""
BATCH = 100
"""The most accounts in one call."""
REGIONS: Mapping[str, str] = {
    "china": "https://console.tim.qq.com",
    "singapore": "https://adminapisgp.im.qcloud.com",
    "seoul": "https://adminapikr.im.qcloud.com",
    "tokyo": "https://adminapijpn.im.qcloud.com",
    "frankfurt": "https://adminapiger.im.qcloud.com",
    "silicon-valley": "https://adminapiusa.im.qcloud.com",
    "jakarta": "https://adminapiidn.im.qcloud.com",
    "mumbai": "https://adminapiind.im.qcloud.com",
    "saudi-arabia": "https://adminapiksa.im.qcloud.com",
}
"""The data centres. Mumbai is gone from the newest list; Saudi Arabia was never in a public one."""
COMMANDS: Mapping[str, str] = {
    "all_member_push": "v4/all_member_push/im_get_tag",
    "timpush": "v4/timpush/get_tag",
}
"""The services that know tags, and the path of the look-up in each."""

_NICKNAMES = {
    "cn": "china",
    "sg": "singapore",
    "korea": "seoul",
    "japan": "tokyo",
    "germany": "frankfurt",
    "usa": "silicon-valley",
    "indonesia": "jakarta",
    "india": "mumbai",
    "ksa": "saudi-arabia",
}
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LABELS = 2**32
_JSON = {"Content-Type": "application/json"}


def base_url_of(region: str) -> str:
    """Return the address of the API in a region.

    Raises:
        ConfigError: There is no such region.
    """
    name = f"{region}".strip().lower().replace("_", "-").replace(" ", "-")
    if url := REGIONS.get(name):
        return url
    close = difflib.get_close_matches(name, [*REGIONS, *_NICKNAMES], n=1)
    guess = f"did you mean {_NICKNAMES.get(close[0], close[0])}? " if close else ""
    hint = f"{guess}there are {', '.join(REGIONS)}; for any other place give a base URL"
    raise ConfigError(f"region {excerpt(name, 40)!r} is not known", service=SERVICE, hint=hint)


def check_service(name: object) -> str:
    """Return the name of a service that knows tags.

    Raises:
        ConfigError: There is no such service.
    """
    if isinstance(name, str) and name in COMMANDS:
        return name
    msg = f"service {excerpt(repr(name), 40)} is not known"
    raise ConfigError(msg, service=SERVICE, hint=f"choose {' or '.join(COMMANDS)}")


def check_sdkappid(value: object) -> int:
    """Return the number of an app, which may be given as text.

    Raises:
        ConfigError: It is no positive whole number.
    """
    number = value
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", value, re.ASCII):
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 10**19:
        return number
    # Nothing long is shown: the secret key may stand in the wrong place.
    shown = f" {value!r}" if isinstance(value, str) and len(value) < 16 else ""
    hint = "copy it from the Chat console, like 1400000000"
    raise ConfigError(f"SDKAppID{shown} is no positive whole number", service=SERVICE, hint=hint)


def check_identifier(value: object) -> str:
    """Return the name of the administrator who asks, without blanks around it.

    Raises:
        ConfigError: It is empty, no text, or has characters that no name has.
    """
    text = value.strip() if isinstance(value, str) else ""
    if text and not _UNSENDABLE.search(text):
        return text
    what = "has characters that no name has" if text else "is empty or no text"
    hint = "give the UserID of an app administrator, from the Chat console"
    raise ConfigError(f"identifier {what}", service=SERVICE, hint=hint)


def ask_tags(base_url: str, service: str, accounts: Sequence[str]) -> Request:
    """Ask for the tags of accounts; the signature is not in it yet.

    Args:
        base_url: The API's origin.
        service: One of `COMMANDS`.
        accounts: A list or tuple of 1 to `BATCH` accounts that can be sent, each one once.
    """
    return Request(
        operation=KIND,
        method="POST",
        url=f"{base_url}/{COMMANDS[service]}",
        headers=_JSON,
        body=msgspec.json.encode({"To_Account": accounts}),
    )


def make_signer(
    sdkappid: int, identifier: str, chance: Callable[[], float]
) -> Callable[[Request, str], Request]:
    """Return a function that puts a UserSig into a request, with all that belongs to it.

    Args:
        sdkappid: The app.
        identifier: The administrator whom the UserSig stands for.
        chance: Gives a random number from 0 to 1; every request is labelled with a fresh one.
    """
    head = f"?sdkappid={sdkappid}&identifier={quote(identifier, safe='')}&usersig="

    @lru_cache(maxsize=1)  # one signature serves very many requests
    def quoted(user_sig: str) -> str:
        # One of the documented letters stays as it is; a foreign one may have others.
        return quote(user_sig, safe="*")

    def sign(request: Request, user_sig: str) -> Request:
        label = min(int(chance() * _LABELS), _LABELS - 1)
        tail = f"{quoted(user_sig)}&random={label}&contenttype=json"
        return msgspec.structs.replace(request, url=f"{request.url}{head}{tail}")

    return sign
