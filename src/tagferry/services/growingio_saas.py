"""What GrowingIO SaaS says: the exporters of tag users and of segment users.

One GET is submission and poll at once: the service keys the job on the request itself, so every poll of
one export is the same request, byte for byte. Sources: the pages "get-segmentations" and
"huo-qu-yong-hu-biao-qian-de-xia-zai-lian-jie" of the statistics API V3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import quote

import msgspec

from tagferry.errors import ConfigError, JobFailedError, ProtocolError
from tagferry.exports.job import JobReport, JobState
from tagferry.services.growingio_refusal import Reasons, find_reason, read_refusal
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply, Request
from tagferry.wire.quota import Rate

__all__ = [
    "BASE_URL",
    "RATE",
    "SEGMENT",
    "SERVICE",
    "TAG",
    "TOKEN_HINT",
    "ask_segment_users",
    "ask_tag_users",
    "authorize",
    "check_client_id",
    "read_export",
]

SERVICE = "growingio-saas"
TAG = "growingio-tag"
SEGMENT = "growingio-segment"
BASE_URL = "https://www.growingio.com"
RATE = Rate(2)
"""Two calls a second for each exporter kind (page "overview" of the statistics API V3)."""
TOKEN_HINT = (
    "make an API token in GrowingIO, project settings, API Token management; set TAGFERRY_GROWINGIO_TOKEN"
)

MAX_EXPIRE = 7 * 24 * 60
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_KEY = re.compile(r"[^\s,&#?%+=/\\]{1,128}")
_CLIENT_ID = re.compile(r"[!-~]{1,256}")
_PLAIN = "!$'()*:;@"
"""What may stand in a query as it is, beside letters, digits and - . _ ~ (RFC 3986)."""

_STATES = {
    "doing": JobState.RUNNING,
    "running": JobState.RUNNING,
    "done": JobState.DONE,
    "finished": JobState.DONE,
    "failed": JobState.FAILED,
    "error": JobState.FAILED,
    "not_exists": JobState.FAILED,
}
_LATER = ("稍后重试", "try again later", "retry later")


def authorize(token: str, client_id: str | None = None) -> Mapping[str, str]:
    """Return the headers that carry the credentials: the bare token, without a scheme word."""
    return {"Authorization": token, **({"X-Client-Id": client_id} if client_id else {})}


def check_client_id(value: object) -> str | None:
    """Return a project's public key that can be sent, or None for none.

    Raises:
        ConfigError: It is not made of characters that a header can carry.
    """
    if value is None or (isinstance(value, str) and _CLIENT_ID.fullmatch(value)):
        return value
    hint = "copy the project's public key, or leave it out: new tokens do not need it"
    raise ConfigError("client_id is no public key", service=SERVICE, hint=hint)


def ask_tag_users(base_url: str, project_uid: str, tag_id: str, *, expire_minutes: int) -> Request:
    """Ask for the users of a tag, and for the state of that export.

    Args:
        base_url: The API's origin.
        project_uid: The project's UID, from the console's address bar.
        tag_id: The tag's id, from the console's address bar.
        expire_minutes: How long the links live, in minutes; 1 to 10080.

    Raises:
        ConfigError: A value that the service cannot take.
    """
    project = _check_id("project UID", project_uid, like="nxog09md")
    path = f"{project}/tags/{_check_id('tag id', tag_id, like='5rREn4PL')}"
    return _ask(TAG, base_url, path, f"expire={_check_expire(expire_minutes)}")


def ask_segment_users(
    base_url: str, project_uid: str, segment_id: str, *, expire_minutes: int, parameters: Iterable[str] = ()
) -> Request:
    """Ask for the users of a segment, and for the state of that export.

    Args:
        base_url: The API's origin.
        project_uid: The project's UID, from the console's address bar.
        segment_id: The segment's id.
        expire_minutes: How long the links live, in minutes; 1 to 10080.
        parameters: Keys of user variables. The service documents them as a second filter; most likely
            they select further columns.

    Raises:
        ConfigError: A value that the service cannot take.
    """
    project = _check_id("project UID", project_uid, like="nxog09md")
    path = f"{project}/segmentations/{_check_id('segment id', segment_id, like='nP2lpkX9')}"
    query = f"expire={_check_expire(expire_minutes)}"
    if keys := _check_keys(parameters):
        # The commas stay as they are in the documents.
        query += f"&parameters={','.join(quote(key, safe=_PLAIN) for key in keys)}"
    return _ask(SEGMENT, base_url, path, query)


def read_export(reply: Reply, *, what: str, now: float) -> JobReport:
    """Read the state of an export.

    Args:
        reply: The service's reply.
        what: What was asked for, for messages.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    if not 200 <= reply.head.status < 300:
        raise read_refusal(reply, what, service=SERVICE, now=now, hints=_HINTS)
    answer = reply.decode(_DECODER)
    if answer is None or not isinstance(word := answer.status, str):
        # A portal or a firewall may answer in the service's place for a while.
        msg = f"{SERVICE} answered {what} with something else than a job state: {excerpt(reply.body)}"
        raise ProtocolError(msg, service=SERVICE, code=reply.head.status, retryable=True)
    state = _STATES.get(word.strip().lower())
    if state is None:
        return JobReport(state=JobState.RUNNING, unknown=excerpt(word, 40))
    if state is JobState.FAILED:
        return JobReport(state=state, error=_failure(what, word, find_reason(answer)))
    # The same file twice would be rows twice.
    links = dict.fromkeys(_flatten(answer.links or answer.links_v1)) if state is JobState.DONE else ()
    return JobReport(state=state, links=tuple(links))


_HINTS = {
    401: TOKEN_HINT,
    403: "the token may not read this project, or user tags are not switched on for it",
    404: "check the project UID and the id: both stand in the console's address bar",
}


def _ask(kind: str, base_url: str, path: str, query: str) -> Request:
    url = f"{base_url}/v3/exporter/projects/{path}/users?{query}"
    return Request(operation=kind, method="GET", url=url)


def _check_id(name: str, value: object, *, like: str) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    msg = f"{name} {value!r} is not made of 1 to 64 letters and digits"
    raise ConfigError(msg, service=SERVICE, hint=f"copy it from the console's address bar, like {like}")


def _check_expire(minutes: object) -> int:
    if isinstance(minutes, int) and not isinstance(minutes, bool) and 1 <= minutes <= MAX_EXPIRE:
        return minutes
    msg = f"expire of {minutes!r} minutes is outside of 1 to {MAX_EXPIRE} (7 days)"
    raise ConfigError(msg, service=SERVICE, hint="60 suits most exports")


def _check_keys(parameters: Iterable[str]) -> tuple[str, ...]:
    if isinstance(parameters, str):
        msg = f"parameters must be a list of keys, not the text {parameters!r}"
        raise ConfigError(msg, service=SERVICE, hint='write parameters=["open_id", "role"]')
    keys: list[str] = []
    for key in cast("Iterable[object]", parameters):
        if not (isinstance(key, str) and _KEY.fullmatch(key) and key.isprintable()):
            msg = f"parameter {key!r} is no variable key: blanks and , & # ? % + = / \\ cannot be in one"
            raise ConfigError(msg, service=SERVICE, hint="give keys like open_id or role")
        if key in keys:
            raise ConfigError(f"parameter {key!r} is given twice", service=SERVICE, hint="give each key once")
        keys.append(key)
    return tuple(keys)


class _Answer(Reasons):
    """The reply of an exporter, and the error replies of the same host; every field may be anything."""

    status: object = None
    links: object = msgspec.field(default=None, name="downloadLinks")
    links_v1: object = msgspec.field(default=None, name="downlinks")


_DECODER = msgspec.json.Decoder(_Answer)


def _failure(what: str, word: str, message: str) -> JobFailedError:
    text = excerpt(message) or "no reason given"
    later = word.lower() != "not_exists" and any(mark in message.lower() for mark in _LATER)
    hint = (
        "the service asks to try again later" if later else "check the id and the parameters in the console"
    )
    msg = f"{SERVICE} could not export {what}: {text}"
    return JobFailedError(msg, service=SERVICE, code=excerpt(word, 40), hint=hint, retryable=later)


def _flatten(found: object) -> Iterable[str]:
    # Without recursion: the answer may be nested as deeply as the decoder could follow.
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if one:
                yield one
        elif isinstance(one, dict):
            left += reversed(cast("dict[str, object]", one).values())
        elif isinstance(one, list):
            left += reversed(cast("list[object]", one))
        elif one is not None:
            msg = f"{SERVICE} gave download links of a form that is not documented: {type(one).__name__}"
            raise ProtocolError(msg, service=SERVICE)
