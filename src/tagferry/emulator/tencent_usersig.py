"""The verification of a UserSig of version 2, by its own code.

Source: the rules of `tls-sig-api-v2`, whose verifier compares in this order: application, identifier,
lifetime, HMAC. https://cloud.tencent.com/document/product/269/32688
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any, cast

EXPIRED = 70001
EMPTY = 70002
UNREADABLE = 70003
WRONG_HMAC = 70009
OTHER_IDENTIFIER = 70013
OTHER_SDKAPPID = 70014

# Neither the standard alphabet nor the URL-safe one: here `-` is `/`, and `_` is the padding.
_TEXT = re.compile(r"[0-9A-Za-z*-]+_{0,2}")
_TO_STANDARD = bytes.maketrans(b"*-_", b"+/=")
_MEMBERS = {
    "TLS.ver": str,
    "TLS.identifier": str,
    "TLS.sdkappid": int,
    "TLS.expire": int,
    "TLS.time": int,
    "TLS.sig": str,
}
_LONGEST_DOCUMENT = 1 << 14


@dataclass(frozen=True, slots=True)
class Signature:
    """What a UserSig says; `made` is in Unix seconds, `expire` a number of seconds."""

    identifier: str
    sdkappid: int
    made: int
    expire: int
    mac: str = field(repr=False)


def read_usersig(text: str) -> Signature | None:
    """The content of a UserSig, or nothing when it has another form."""
    if not _TEXT.fullmatch(text):
        return None
    try:
        packed = binascii.a2b_base64(text.encode().translate(_TO_STANDARD), strict_mode=True)
        inflater = zlib.decompressobj()
        document = inflater.decompress(packed, _LONGEST_DOCUMENT)
        if not inflater.eof or inflater.unused_data:
            return None
        members: Any = json.loads(document.decode())
    # zlib has an error of its own; those of base64, UTF-8 and JSON are all ValueErrors.
    except (zlib.error, ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    known = cast("dict[str, Any]", members)
    # A user buffer would be a further member; IM has none.
    if {name: type(value) for name, value in known.items()} != _MEMBERS or known["TLS.ver"] != "2.0":
        return None
    facts = (known["TLS.identifier"], known["TLS.sdkappid"], known["TLS.time"], known["TLS.expire"])
    return Signature(*facts, mac=known["TLS.sig"])


def check_signature(
    signature: Signature, *, sdkappid: int, identifier: str, secret_key: str, now: float
) -> int:
    """The error code for a signature, 0 when it is good; `now` is in Unix seconds."""
    if signature.sdkappid != sdkappid:
        return OTHER_SDKAPPID
    if signature.identifier != identifier:
        return OTHER_IDENTIFIER
    if now > signature.made + signature.expire:
        return EXPIRED
    message = (
        f"TLS.identifier:{identifier}\nTLS.sdkappid:{sdkappid}\n"
        f"TLS.time:{signature.made}\nTLS.expire:{signature.expire}\n"
    )
    # The key is used as the text it is, not as the bytes that its digits name.
    right = base64.b64encode(hmac.digest(secret_key.encode(), message.encode(), "sha256"))
    return 0 if hmac.compare_digest(right, signature.mac.encode("utf-8", "replace")) else WRONG_HMAC
