"""What GrowingIO CDP (on-premise, 2.9 to 2.11 and 4.x) says: export jobs of tag and of segment users.

A POST makes a job, and every POST makes another one; a GET by the job's id says how far it is; its files lie
below ``/download``. Sources: the pages "dc-download-user-tag-users", "project-download-user-tag-users" and
"project-download-segment-profile-users" of the Open API, their space forms of 4.1, and for the stages the
GraphQL pages of 13.x.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

import msgspec

from tagferry.errors import (
    ConfigError,
    JobFailedError,
    ProtocolError,
    RefusedError,
    SubmitUnknownError,
    TagferryError,
    ThrottledError,
)
from tagferry.exports.job import JobReport, JobState
from tagferry.services.growingio_cdp_access import (
    TOKEN_HINT,
    ask_token,
    authorize,
    check_language,
    check_scheme,
    read_token,
)
from tagferry.services.growingio_cdp_answer import DECODER, is_denial
from tagferry.services.growingio_cdp_link import make_link
from tagferry.services.growingio_cdp_spec import (
    MAX_PROPERTIES,
    SEGMENT,
    SERVICE,
    TAG,
    CsvHeader,
    ExportSpec,
    FileFormat,
    scope_url,
    segment_spec,
    tag_spec,
)
from tagferry.services.growingio_refusal import find_reason, read_refusal
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Reply, Request
from tagferry.wire.quota import Rate

__all__ = [
    "MAX_PROPERTIES",
    "RATE",
    "SEGMENT",
    "SERVICE",
    "TAG",
    "TOKEN_HINT",
    "CsvHeader",
    "ExportSpec",
    "FileFormat",
    "ask_result",
    "ask_submit",
    "ask_token",
    "authorize",
    "check_job_id",
    "check_language",
    "check_scheme",
    "is_denial",
    "make_link",
    "read_result",
    "read_submit",
    "read_token",
    "scope_url",
    "segment_spec",
    "submit_unknown",
    "tag_spec",
]

RATE = Rate(5)
"""No limit is documented; this is modest for a server that a whole company shares."""

_JOB_ID = re.compile(r"(?!\.{1,2}$)[!-~]{1,200}")
_PLAIN = "!$()*:@~"
"""What may stand in a path segment as it is, beside letters, digits and - . _ (RFC 3986)."""

_STATES = {
    "none": JobState.RUNNING,
    "ready": JobState.RUNNING,
    "running": JobState.RUNNING,
    # Whether files can be fetched at this stage is not documented.
    "data_ready": JobState.RUNNING,
    "finish": JobState.DONE,
    "finished": JobState.DONE,
    "success": JobState.DONE,
    "error": JobState.FAILED,
    "failed": JobState.FAILED,
}


def check_job_id(value: object) -> str:
    """Return a job's id that can stand in a URL.

    Raises:
        ConfigError: It is no such text.
    """
    if isinstance(value, str) and _JOB_ID.fullmatch(value):
        return value
    msg = f"job id {excerpt(repr(value), 60)} is not made of 1 to 200 printable ASCII characters"
    raise ConfigError(msg, service=SERVICE, hint="give the id that the submission returned, like kqQeWeGr")


def ask_submit(base_url: str, spec: ExportSpec, *, language: str | None = None) -> Request:
    """Ask for a job. Each request that arrives makes one, so it must not be sent twice.

    Args:
        base_url: The API's origin.
        spec: What the job exports.
        language: The language that every request of the client asks for. It is a part of this one where it
            changes the file: a header row of names is in it.
    """
    kind = "user_tags" if spec.kind == TAG else "segment_profiles"
    url = f"{scope_url(base_url, spec.project, spec.space)}/{kind}/{quote(spec.key, safe=_PLAIN)}/export_jobs"
    wish: dict[str, object] = {"properties": spec.properties, "fileFormat": spec.file_format}
    if spec.file_format == "csv":
        wish["csvHeaderType"] = spec.csv_header
    headers = {"Content-Type": "application/json"}
    if language is not None and spec.csv_header == "name":
        headers["language"] = language
    return Request(
        operation=f"{spec.kind} submit",
        method="POST",
        url=url,
        headers=headers,
        body=msgspec.json.encode(wish),
        once=True,
    )


def read_submit(reply: Reply, *, what: str, now: float) -> str:
    """Read the id of a new job.

    Args:
        reply: The service's reply.
        what: What was asked for, for messages.
        now: Unix time in seconds.

    Raises:
        SubmitUnknownError: The reply does not tell whether there is a job now.
        TagferryError: There is none: the reply is a refusal. Only a retryable one allows another try.
    """
    status = reply.head.status
    if not 200 <= status < 300:
        raise _submit_refusal(reply, what, now)
    answer = reply.decode(DECODER)
    if answer is not None and (job_id := _read_id(answer.id)):
        return job_id
    if answer is not None and (reason := find_reason(answer)):
        msg = f"{SERVICE} refused to export {what}: {excerpt(reason)}"
        raise RefusedError(msg, service=SERVICE, code=status, hint=_SUBMIT_HINTS[500])
    raise submit_unknown(
        what, f"it answered without a job id: {excerpt(reply.body) or 'nothing'}", code=status
    )


def submit_unknown(what: str, reason: str, *, code: int | str | None = None) -> SubmitUnknownError:
    """Return the error that says that nobody knows whether a job was made.

    Args:
        what: What was to be exported.
        reason: Why it is not known.
        code: The HTTP status, if there was one.
    """
    msg = f"whether {SERVICE} has begun to export {what} is not known: {reason}"
    hint = (
        "a second job is not made by itself; look whether this one is there and attach to it, or submit anew"
    )
    return SubmitUnknownError(msg, service=SERVICE, code=code, hint=hint)


def ask_result(base_url: str, job_id: str, spec: ExportSpec, *, other: bool = False) -> Request:
    """Ask for the state of a job.

    The pages of 2.9 to 2.11 ask below ``/v1/api/job`` for every job. Those of 4.x, the only ones that know
    spaces, do so below the project, too, so that is where jobs of a space are asked for.

    Args:
        base_url: The API's origin.
        job_id: What `read_submit` returned.
        spec: What the job exports.
        other: Use the other one of the two forms, for a service that answers 404 to the first; the same for
            a job without a project, which has one form only.

    Raises:
        ConfigError: The job id cannot be one.
    """
    below = spec.project if (spec.space is not None) != other else None
    url = f"{scope_url(base_url, below, None)}/job/result/{quote(check_job_id(job_id), safe=_PLAIN)}"
    return Request(operation=spec.kind, method="GET", url=url)


def read_result(reply: Reply, *, what: str, now: float) -> JobReport:
    """Read the state of a job; its links are the uris as the service wrote them, for `make_link`.

    Args:
        reply: The service's reply.
        what: What was asked for, for messages.
        now: Unix time in seconds.

    Raises:
        TagferryError: The reply is a refusal, or not what the service promises.
    """
    if not 200 <= reply.head.status < 300:
        raise _refusal(reply, what, now, _RESULT_HINTS)
    answer = reply.decode(DECODER)
    if answer is None and reply.body.strip() == b"null":
        # A job that was made a moment ago, or one that the service has forgotten.
        return JobReport(state=JobState.RUNNING, absent=True, error=_forgotten(what))
    if answer is None or not isinstance(word := answer.stage, str):
        msg = f"{SERVICE} answered {what} with something else than a job stage: {excerpt(reply.body)}"
        raise ProtocolError(msg, service=SERVICE, code=reply.head.status, retryable=True)
    state = _STATES.get(word.strip().lower())
    if state is None:
        return JobReport(state=JobState.RUNNING, unknown=excerpt(word, 40))
    if state is JobState.FAILED:
        return JobReport(state=state, error=_failure(what, word, find_reason(answer)))
    return JobReport(state=state, links=_read_uris(answer.uris) if state is JobState.DONE else ())


def _read_id(value: object) -> str:
    # Numbers come as floats elsewhere in this API.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return f"{value}"
    return value if isinstance(value, str) and _JOB_ID.fullmatch(value) else ""


def _read_uris(found: object) -> tuple[str, ...]:
    uris = cast("list[object]", found) if isinstance(found, list) else [found]
    if odd := [one for one in uris if one is not None and not isinstance(one, str)]:
        msg = f"{SERVICE} gave uris of a form that is not documented: {type(odd[0]).__name__}"
        raise ProtocolError(msg, service=SERVICE)
    # The same file twice would be rows twice.
    return tuple(dict.fromkeys(one for one in uris if isinstance(one, str) and one))


def _forgotten(what: str) -> JobFailedError:
    msg = f"{SERVICE} knows nothing of the job that exports {what}"
    return JobFailedError(msg, service=SERVICE, code="null", hint="submit the export again")


def _failure(what: str, word: str, reason: str) -> JobFailedError:
    msg = f"{SERVICE} could not export {what}: {excerpt(reason) or 'no reason given'}"
    hint = "check in the console that it was computed, and that the properties exist; then submit it again"
    return JobFailedError(msg, service=SERVICE, code=excerpt(word, 40), hint=hint)


def _submit_refusal(reply: Reply, what: str, now: float) -> TagferryError:
    status = reply.head.status
    if is_denial(reply):
        msg = f"{SERVICE} refused to export {what}: unknown or unauthorised key"
        return RefusedError(msg, service=SERVICE, code=status, hint=_SUBMIT_HINTS[status])
    error = _refusal(reply, what, now, _SUBMIT_HINTS)
    # A gateway answers so when the service itself was too slow: it may have done what it was told. With a
    # Retry-After a 503 was sent on purpose, by someone who did not even begin.
    refused = isinstance(error, ThrottledError) and (status != 503 or error.retry_after is not None)
    if error.retryable and not refused:
        return submit_unknown(what, f"it answered {status}", code=status)
    return error


def _refusal(reply: Reply, what: str, now: float, hints: Mapping[int, str]) -> TagferryError:
    error = read_refusal(reply, what, service=SERVICE, now=now, hints=hints)
    if isinstance(error, RefusedError) and error.hint is None:
        error.hint = _OTHER_HINT
    return error


_OTHER_HINT = (
    "check the base URL, and what a proxy before the CDP lets pass; 2.9 to 2.11 and 4.x are supported"
)
_SUBMIT_HINTS = {
    400: "check the properties: each is the key of an identity, attribute or tag that exists",
    401: TOKEN_HINT,
    403: "the token's user may not export this; ask the administrator of the CDP",
    404: "check the base URL, project and space; 2.9 to 2.11 have no spaces",
    500: "check key and properties with tagferry list, and that project and token's user may see them",
    413: "the service, or a proxy before it, finds the request too long: export fewer properties",
}
_RESULT_HINTS = {
    400: "check the job id, and that it is of this CDP and project",
    401: TOKEN_HINT,
    403: "the token's user may not see this job; use the token that submitted it",
    404: "the service knows no such job, or not any more; submit the export again",
}
