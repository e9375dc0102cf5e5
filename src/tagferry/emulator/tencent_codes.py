"""The error codes of the emulated Tencent IM, and how a failed call looks.

Sources: the tables of codes, https://trtc.io/document/34348 and earlier editions; the texts of 60002, 60008,
60015, 70032, 90001 and 90012 are such as the service sends, the others are made up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BAD_URL = 60002
EMPTY_BODY = 60003
NO_COMMAND = 60009
NO_SDKAPPID = 60012
NOT_A_STRING = 60015
BAD_PARAMETER = 60025
NO_APPLICATION = 70020
BLOCKED = 70050
NOT_IMPORTED = 70107
BAD_JSON = 90001
NO_ACCOUNTS = 90003
BAD_FORMAT = 90010
BAD_ACCOUNT = 90012
TOO_MANY = 90018
NO_ARRAY = 90028
EMPTY_ARRAY = 90029

TEXTS: Mapping[int, str] = {
    60002: "HTTP parse Error",
    60003: "request body is empty or no json",
    60004: "account check failed, try again later",
    60005: "account check failed, try again later",
    60006: "invalid sdkappid",
    60007: "freq limit",
    60008: "service timeout or request format error,please check and try again",
    60009: "request resource error",
    60010: "need app administrator",
    60011: "sdkappid freq limit",
    60012: "sdkappid is needed",
    60013: "response json parse error",
    60014: "account exchange timeout",
    60015: "body account invalid",
    60016: "sdkappid is disabled",
    60017: "request is disabled",
    60018: "too frequent, try again later",
    60019: "too frequent, try again later",
    60020: "service is not available or has expired",
    60021: "source ip is not allowed",
    60025: "invalid sdkappid, identifier, usersig or contenttype",
    60026: "sdkappid belongs to another data center",
    60027: "product may not use this api",
    60028: "daily requests of the trial are used up",
    70001: "usersig is expired",
    70002: "usersig is empty",
    70003: "usersig is illegal",
    70005: "usersig is illegal",
    70009: "usersig check failed",
    70013: "identifier does not match usersig",
    70014: "sdkappid does not match usersig",
    70016: "key is not found, check the data center",
    70020: "sdkappid is not found, check the data center",
    70032: "",
    70050: "usersig check failed too often, try again in a minute",
    70051: "account is on the block list",
    70052: "usersig is no longer valid",
    70107: "account is not imported",
    70114: "restricted for security reasons",
    70169: "internal timeout",
    70202: "internal timeout",
    70206: "illegal batch size",
    70402: "illegal parameter",
    70403: "need app administrator",
    70500: "internal error",
    72000: "daily active users of the trial are used up",
    72002: "monthly active users of the trial are used up",
    80005: "service is deactivated",
    90001: "Fail to Parse json data of body, Please check it",
    90003: "To_Account is missing or does not exist",
    90009: "need app administrator",
    90010: "request format error",
    90012: "invalid To_Account",
    90018: "too many accounts",
    90028: "To_Account is not an array",
    90029: "To_Account is an empty array",
    90045: "push to all members is not enabled",
    90048: "account does not exist",
    90992: "internal error, try again",
    90994: "internal error, try again",
    90995: "internal error, try again",
    91000: "internal error, try again",
    93000: "json is too long",
}


def write_failure(code: int) -> bytes:
    """The body of a call that failed; the gateway and what is behind it order the members differently."""
    info = json.dumps(TEXTS.get(code, ""))
    if code >= 90000:
        return f'{{"ActionStatus":"FAIL","ErrorInfo":{info},"ErrorCode":{code}}}'.encode()
    return f'{{"ActionStatus":"FAIL","ErrorCode":{code},"ErrorInfo":{info}}}'.encode()
