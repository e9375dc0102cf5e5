"""What Tencent IM answers to a look-up: tags by account, faults by account, or the failure of the whole call.

A failure comes as a code in a reply with HTTP status 200. The documents of the two commands differ, and the
service may add members to its replies, so a reply that is not quite as documented is read by hand. Sources:
the pages "Getting User Tags" (of ``all_member_push`` and of ``timpush``) and "RESTful API Overview".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from tagferry.errors import ProtocolError, TagferryError, UnavailableError
from tagferry.services.tencent_codes import SERVICE, Treatment
from tagferry.services.tencent_treatment import NO_CODE, NO_ENVELOPE, error_of, explain
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply
from tagferry.wire.status import refusal

__all__ = ["AccountFault", "TagsAnswer", "UserTags", "read_tags"]


class UserTags(msgspec.Struct, gc=False, rename={"account": "To_Account", "tags": "Tags"}):
    """An account and its tags."""

    account: str
    tags: tuple[str, ...]


class AccountFault(msgspec.Struct):
    """An account that the service would not answer for, and why; `judge_account` says what it means."""

    account: str
    code: int
    """The service's code, 0 for none."""
    message: str


class TagsAnswer(msgspec.Struct):
    """A reply: not in the order of the request, and not always with every account of it."""

    users: list[UserTags]
    faults: list[AccountFault]
    warnings: tuple[str, ...] = ()
    """What was not as documented and could be read nevertheless, in a few words each."""


def read_tags(reply: Reply, *, now: float, overrides: Mapping[int, Treatment] = {}) -> TagsAnswer:
    """Read the tags of a call's accounts.

    Args:
        reply: The service's reply.
        now: Unix time in seconds.
        overrides: The user's own choice of what is done about some codes.

    Raises:
        TagferryError: The whole call failed, or the reply is not what the service promises.
    """
    if reply.head.status != 200:
        raise _refused(reply, now)
    try:
        answer = _DOCUMENTED.decode(reply.body)
    except _UNREADABLE:
        pass
    else:
        faults = [_fault(one.account, one.code, one.info) for one in answer.faults]
        return TagsAnswer(answer.users, faults)
    outcome = _read_loosely(reply, overrides)
    # Raised here and not where it is made: tracebacks with local variables would show the reply.
    if isinstance(outcome, TagferryError):
        raise outcome
    return outcome


_HINTS = {
    401: "the service itself does not answer so: look at what stands between, such as a proxy",
    403: "the service itself does not answer so: look at what stands between, such as a proxy",
    404: "check the base URL and the service name",
    405: "check the base URL and the service name",
    413: "ask for fewer accounts in one call",
}
_BETWEEN = "a proxy or a gateway may have answered in the service's place"
_BOM = b"\xef\xbb\xbf"
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# With its name, or bare: longer than a UUID, and no word of any language.
_USER_SIG = re.compile(r"(usersig[\"']?\s*(?:[=:]|%3d)\s*[\"']?)[^\s\"'<>]+|[a-z0-9*_%-]{37,}", re.IGNORECASE)
_ENVELOPE = {"status": "ActionStatus", "code": "ErrorCode", "info": "ErrorInfo"}
_MEMBERS = {"users": "UserTags", "faults": "ErrorList"}
_FAULT = {"account": "To_Account", "code": "ErrorCode", "info": "ErrorInfo"}
_Code = Annotated[int, msgspec.Meta(gt=-(2**31), lt=2**31)]


class _Fault(msgspec.Struct, rename=_FAULT):
    account: str
    code: _Code
    info: str = ""


class _Documented(msgspec.Struct, rename=_ENVELOPE | _MEMBERS):
    """A success of the documented shape, and nothing else."""

    status: Literal["OK"]
    code: Literal[0]
    users: list[UserTags]
    faults: list[_Fault] = []


class _Envelope(msgspec.Struct, rename=_ENVELOPE):
    """Whether it worked; every field may be anything."""

    status: object = None
    code: object = None
    info: object = None


class _LooseUser(msgspec.Struct, rename={"account": "To_Account", "tags": "Tags"}):
    account: str
    tags: list[str | int | float | bool] | dict[str, str] | str | None = None


class _LooseFault(msgspec.Struct, rename=_FAULT):
    account: str
    code: _Code | None = None
    info: object = None


class _Loose(msgspec.Struct, rename=_MEMBERS):
    """The accounts of a success, in any shape that leaves no doubt."""

    users: list[_LooseUser] | None = None
    faults: list[_LooseFault] | None = None


_DOCUMENTED = msgspec.json.Decoder(_Documented)


def _refused(reply: Reply, now: float) -> TagferryError:
    status, text = reply.head.status, _shown(reply.body)
    message = f"{SERVICE} answered HTTP {status} to a look-up of tags" + (f": {text}" if text else "")
    error = refusal(reply.head, message, service=SERVICE, now=now)
    error.hint = _HINTS.get(status, error.hint)
    return error


def _shown(text: object) -> str:
    """Return the beginning of a foreign text without the UserSig, which it may repeat from the request."""
    if isinstance(text, bytes):
        text = text[:4096].decode("utf-8", "replace")
    return excerpt(_USER_SIG.sub(r"\1…", text[:4096])) if isinstance(text, str) else ""


def _fault(account: str, code: int, info: object) -> AccountFault:
    return AccountFault(account, code, _shown(info) or (explain(code) if code else "no reason given"))


def _read_loosely(reply: Reply, overrides: Mapping[int, Treatment]) -> TagsAnswer | TagferryError:
    body = reply.body.removeprefix(_BOM)
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        return _read_failure(envelope, overrides) or _read_success(body)
    except msgspec.ValidationError:
        return _no_envelope(_shown(body))
    except _UNREADABLE:
        status = reply.head.status
        message = f"{SERVICE} answered {status} with no JSON: {_shown(body) or 'no body'}"
        return UnavailableError(message, service=SERVICE, code=status, hint=_BETWEEN)


def _read_failure(envelope: _Envelope, overrides: Mapping[int, Treatment]) -> TagferryError | None:
    # A number may come as text.
    code = msgspec.convert(envelope.code, _Code | None, strict=False)
    status = (msgspec.convert(envelope.status, str | None) or "").strip().upper()
    info = _shown(envelope.info)
    if code:
        return error_of(code, info, overrides)
    if code is None and not status:
        return _no_envelope(info or "neither ActionStatus nor ErrorCode")
    if status in {"", "OK"}:
        return None
    message = f"{SERVICE} answered {excerpt(status, 40)} without a code" + (f": {info}" if info else "")
    return UnavailableError(message, service=SERVICE, code=NO_CODE)


def _no_envelope(what: str) -> ProtocolError:
    message = f"{SERVICE} answered with something else than a result: {what}"
    return ProtocolError(message, service=SERVICE, code=NO_ENVELOPE, hint=_BETWEEN, retryable=True)


def _read_success(body: bytes) -> TagsAnswer | ProtocolError:
    try:
        found = msgspec.json.decode(body, type=_Loose, strict=False)
    except msgspec.ValidationError as error:
        # It says where and which type, and nothing of the data.
        message = f"{SERVICE} answered in a form that is not documented: {error}"
        return ProtocolError(message, service=SERVICE)
    odd: set[str] = set()
    users = [UserTags(one.account, _tags(one.tags, odd)) for one in found.users or ()]
    faults = [_fault(one.account, one.code or 0, one.info) for one in found.faults or ()]
    return TagsAnswer(users, faults, tuple(sorted(odd)))


def _tags(value: Sequence[str | float] | Mapping[str, str] | None, odd: set[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        odd.add("tags were one text")
        return (value,) if value else ()
    if isinstance(value, Mapping):
        odd.add("tags were an object")
        return tuple(value.values())
    if not all(isinstance(one, str) for one in value or ()):
        odd.add("tags were numbers")
    return tuple(str(one) for one in value or ())
