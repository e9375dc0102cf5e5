"""Everything that tagferry raises on purpose, under one root.

TagferryError                        never raised itself
├── ConfigError (ValueError)         an argument or a setting is wrong; raised before any I/O
├── AuthError                        the service refuses the credentials
├── ThrottledError                   the service says "too fast"; retryable
├── UnavailableError                 no usable answer came: network, time-out, 5xx; retryable
├── RefusedError                     an answer came, and it is no
├── ProtocolError                    the answer is not what the service promises
├── JobFailedError                   the service gave up on an export job
├── DeadlineError (TimeoutError)     the time that the caller allowed is over
├── SubmitUnknownError               it is not known whether a job was created
├── LinkExpiredError                 a download link lapsed and no living one could be had; retryable
├── IntegrityError                   bytes are missing, too many or different
├── DiskError (OSError)              a local file cannot be read, written or kept
└── RecordError (ValueError)         a record in a file cannot be decoded
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AuthError",
    "ConfigError",
    "DeadlineError",
    "DiskError",
    "IntegrityError",
    "JobFailedError",
    "LinkExpiredError",
    "ProtocolError",
    "RecordError",
    "RefusedError",
    "SubmitUnknownError",
    "TagferryError",
    "ThrottledError",
    "UnavailableError",
]


class TagferryError(Exception):
    """The root of all errors of this package. What it is made with are its attributes, under the same names.

    Args:
        message: What is true, in one sentence without a full stop; never holds a secret.
        service: The service that was spoken to, such as ``"growingio-saas"``.
        code: The service's own code or the HTTP status, if there is one.
        hint: What the user can do next.
        retryable: Whether the same call may succeed later; each class has its default.
        retry_after: The wait that the service asked for, in seconds.
    """

    retryable: bool = False
    """Whether the same call may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        service: str | None = None,
        code: int | str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.service = service
        self.code = code
        self.hint = hint
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class without its keywords.
        return _rebuild, (type(self), self.message, self.__dict__.copy())


def _rebuild(cls: type[TagferryError], message: str, facts: dict[str, Any]) -> TagferryError:
    error = cls(message)
    error.__dict__.update(facts)
    return error


class ConfigError(TagferryError, ValueError):
    """An argument or a setting is wrong; nothing was sent, opened or written."""


class AuthError(TagferryError):
    """The service refuses the credentials."""


class ThrottledError(TagferryError):
    """The service says that it is asked too often."""

    retryable = True


class UnavailableError(TagferryError):
    """No usable answer came: connection failed, time ran out, or the service is broken."""

    retryable = True


class RefusedError(TagferryError):
    """The service answered, and its answer is no."""


class ProtocolError(TagferryError):
    """The answer is not what the service promises."""


class JobFailedError(TagferryError):
    """The service gave up on an export job."""


class DeadlineError(TagferryError, TimeoutError):
    """The time that the caller allowed is over; the job may still go on at the service."""


class SubmitUnknownError(TagferryError):
    """The answer to a job submission was lost: the job may or may not exist.

    It passes, but not by itself, so it is not retryable: the same call says it again, or makes a second job.
    Look whether the job is there, and attach to it, or ask for another one with ``resume=False``.
    """


class LinkExpiredError(TagferryError):
    """A download link lapsed and no living one could be had; the next run asks for others."""

    retryable = True


class IntegrityError(TagferryError):
    """Bytes are missing, too many or different from what the service declared."""


class DiskError(TagferryError, OSError):
    """A local file cannot be read, written or kept."""


class RecordError(TagferryError, ValueError):
    """A record in a file cannot be decoded.

    Args:
        message: As for `TagferryError`.
        file: The file.
        line: The number of the record's first line, from 1.
        column: The column of a CSV file, or the path in a JSON value.
        value: The beginning of what stands there.
        facts: As for `TagferryError`.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.file = file
        self.line = line
        self.column = column
        self.value = value
