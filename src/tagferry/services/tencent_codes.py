"""The error codes of Tencent IM: what each one means, and which treatment it has.

The tables of the service changed several times, so that codes of all their editions are here.
Source: the page "Error Codes" of Tencent Cloud Chat, and the pages of the tag
commands for their own codes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

__all__ = ["CODES", "SERVICE", "Code", "Treatment"]

SERVICE = "tencent-im"


class Treatment(enum.Enum):
    """What is done about a code."""

    RETRY = "retry"
    """Try again later."""
    THROTTLE = "throttle"
    """Slow everyone down, then try again."""
    RENEW = "renew"
    """Make a new UserSig and try once more."""
    LOCKOUT = "lockout"
    """Send nothing for a minute."""
    CONFIG = "config"
    """The app, its plan or its credentials are not as they have to be: stop the run."""
    INPUT = "input"
    """The request is wrong, which is our fault: stop the run."""
    ACCOUNT = "account"
    """One account may have spoiled the call: its neighbours pass without it."""


class Code(msgspec.Struct, frozen=True):
    """One code of the service."""

    treatment: Treatment
    meaning: str
    hint: str | None = None
    credential: bool = False
    """Whether it is about the credentials or the rights of their owner."""


_KEY = "check that secret key, SDKAppID and identifier are of one app: all stand in the Chat console"
_SIGNED = "check secret key or UserSig, SDKAppID and identifier, and the clock of this machine"
_ADMIN = "make the identifier an app administrator in the Chat console, or use one that is"
_REGION = "check the region or the base URL: an app answers in the data centre where it was made only"
_PLAN = "look at the plan and the bill of the app in the Chat console"
_APP = "check the SDKAppID in the Chat console"
_SLOWER = "lower the rate: other programs use the quota of this app too"
_OURS = "the request was not as the service wants it: please report it"
_ALLOWED = "ask Tencent Cloud which of the app's limits forbids it"
_IMPORT = "import the account or let it log in once"
_OTHER = "this code belongs to another command: check the base URL"


def _retry(meaning: str) -> Code:
    return Code(Treatment.RETRY, meaning)


def _throttle(meaning: str) -> Code:
    return Code(Treatment.THROTTLE, meaning, _SLOWER)


def _renew(meaning: str, hint: str = _SIGNED) -> Code:
    return Code(Treatment.RENEW, meaning, hint)


def _config(meaning: str, hint: str) -> Code:
    return Code(Treatment.CONFIG, meaning, hint)


def _credential(meaning: str, hint: str) -> Code:
    return Code(Treatment.CONFIG, meaning, hint, credential=True)


def _input(meaning: str, hint: str = _OURS) -> Code:
    return Code(Treatment.INPUT, meaning, hint)


def _other(meaning: str) -> Code:
    return Code(Treatment.INPUT, meaning, _OTHER)


def _account(meaning: str, hint: str = _IMPORT) -> Code:
    return Code(Treatment.ACCOUNT, meaning, hint)


_GATEWAY = {
    60002: _input("the gateway could not parse the HTTP request"),
    60003: _input("the gateway could not parse the JSON of the request"),
    60004: _renew("account or signature wrong, or the check of them broke down"),
    60005: _renew("account or signature wrong, or the check of them broke down"),
    60006: _config("the SDKAppID is not valid", _APP),
    60007: _throttle("this command is called too often"),
    60008: _retry("the service ran out of time, or could not read the request"),
    60009: _config("there is no such command at this address", "check the service name and the base URL"),
    60010: _credential("the identifier is no administrator of the app", _ADMIN),
    60011: _throttle("the app calls too often"),
    60012: _config("the SDKAppID is missing", _APP),
    60013: _retry("the gateway could not read what the service behind it said"),
    60014: _retry("the check of the account ran out of time"),
    60015: _account("an account is no text", "give accounts as text"),
    60016: _config("the app is disabled", _PLAN),
    60017: _config("the request is disabled", _ALLOWED),
    60018: _throttle("called too often"),
    60019: _throttle("called too often"),
    60020: _config("the service is not available to the app: no plan, an expired one, or arrears", _PLAN),
    60021: _config(
        "this machine's IP address is not allowed", "add it to the app's list of allowed addresses"
    ),
    60025: _renew("SDKAppID, identifier, UserSig or content type is wrong"),
    60026: _config("wrong region: this host does not serve the app", _REGION),
    60027: _config("the product of the app may not use this command", _PLAN),
    60028: _config("the calls that a trial app has in 24 hours are used up", "wait a day, or buy a plan"),
    **dict.fromkeys(range(80001, 80005), _other("a message was refused: its content, length, or a callback")),
    80005: _config("the service is switched off for the app: its plan expired, or arrears", _PLAN),
}
_SIGNATURE = {
    70001: _renew("the UserSig expired"),
    70002: _credential("the UserSig is empty", "set a secret key or a UserSig"),
    70003: _renew("the UserSig cannot be read"),
    70005: _renew("the UserSig cannot be read"),
    70009: _credential("the UserSig was made with a key of another app", _KEY),
    70013: _credential("the UserSig was made for another identifier", _KEY),
    70014: _credential("the UserSig was made for another SDKAppID", _KEY),
    70016: _credential("no key of the app is known here", f"{_REGION}; an app on the old scheme has no key"),
    70020: _config("the SDKAppID is not known here", f"{_APP}; {_REGION}"),
    70032: _renew("the UserSig is not accepted"),
    70050: Code(
        Treatment.LOCKOUT,
        "wrong signatures came too often, and the app is blocked for about a minute",
        _KEY,
        credential=True,
    ),
    70051: _credential("the identifier is on the block list of the app", "take it off, or use another one"),
    70052: _renew("the UserSig is no longer valid"),
    70114: _config("restricted for reasons of security", _ALLOWED),
    70346: _renew("the UserSig was not made as it has to be"),
    70403: _credential("the identifier is no administrator of the app", _ADMIN),
}
_BACKEND = {
    70107: _account("the account is not imported"),
    70169: _retry("the service ran out of time inside"),
    70202: _retry("the service ran out of time inside"),
    70206: _input("the number of accounts in the request is not allowed"),
    70398: _other("the app has as many accounts as it may have"),
    70399: _other("a deleted account cannot be imported again yet"),
    70402: _input("a parameter is missing or wrong", _KEY),
    70500: _retry("the service failed inside"),
    71000: _other("accounts of this app cannot be deleted"),
    72000: _config("the users that a trial app may have in a day are used up", "wait a day, or buy a plan"),
    72002: _config("the users that a trial app may have in a month are used up", _PLAN),
    72010: _throttle("an account logs in too often"),
}
_COMMAND = {
    90001: _input("the body is no valid JSON"),
    90003: _account("accounts are missing in the request, or one does not exist"),
    90009: _credential("the identifier is no administrator of the app", _ADMIN),
    90010: _input("the request has not the form that the command wants"),
    90012: _account("an account is not registered"),
    90018: _input("too many accounts in one request", "ask for fewer accounts in one call"),
    90020: _other("a tag is longer than 50 bytes"),
    90022: _other("the condition of a push is wrong"),
    90024: Code(Treatment.THROTTLE, "pushes follow each other too fast", _OTHER),
    90026: _other("a setting of a push is wrong"),
    90028: _input("the accounts are no list"),
    90029: _input("the list of accounts is empty"),
    90032: _other("too many tags for one account or condition"),
    90033: _other("an attribute has no name in the app"),
    90034: _other("a tag is longer than 50 bytes"),
    90035: _account("a tag is in use for the other kind of account", "use a tag for one kind only"),
    90039: _other("the condition of a push is wrong"),
    90040: _other("a tag in the condition of a push is empty"),
    90045: _config(
        "user tags are not switched on for the app", 'switch on "Push to all users" in the Chat console'
    ),
    90047: _other("the pushes of the day are used up"),
    90048: _account("an account does not exist"),
    **dict.fromkeys(range(90049, 90054), _other("a push cannot be recalled")),
    90056: _other("a push is too long"),
    90057: Code(Treatment.THROTTLE, "messages to many accounts are sent too often", _OTHER),
    90992: _retry("the service failed inside; a failing callback of the app can be the reason"),
    90994: _retry("the service failed inside"),
    90995: _retry("the service failed inside; content that is too long can be the reason"),
    91000: _retry("the service failed inside"),
    93000: _input("the body of the request is too long", "ask for fewer accounts in one call"),
}
CODES: Mapping[int, Code] = {**_GATEWAY, **_SIGNATURE, **_BACKEND, **_COMMAND}
"""Every code of the service's tables, whatever their edition, and the ones that were seen beside them."""
