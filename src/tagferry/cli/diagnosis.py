"""What a check-up found, and what it means; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from tagferry.cli.report import exit_code, first_code
from tagferry.cli.text import show_bytes, show_count, show_seconds
from tagferry.errors import TagferryError
from tagferry.settings import Settings, Value
from tagferry.wire.excerpt import excerpt
from tagferry.wire.message import Head

__all__ = [
    "Diagnosis",
    "Finding",
    "Verdict",
    "is_configured",
    "is_loopback",
    "judge_certificate",
    "judge_clock",
    "judge_disk",
    "judge_error",
    "judge_files",
    "judge_settings",
    "read_skew",
]

Verdict = Literal["ok", "warn", "fail", "skip"]

SKEW = 30.0
"""Seconds by which a clock may be wrong without a warning."""
CERTIFICATE_DAYS = 14
"""A certificate that ends within so many days is worth a warning."""
_LEAST_DISK, _LOW_DISK = 100 * 2**20, 2**30
_LOW_FILES = 512
"""An open file for each transfer and connection, with room to spare; macOS allows 256 by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    check: str
    verdict: Verdict
    text: str
    hint: str | None = None
    code: int = 0
    """The exit code that a failure stands for."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, by what they are about."""

    sections: Sequence[tuple[str, Sequence[Finding]]]

    @property
    def findings(self) -> list[Finding]:
        """The findings of all sections."""
        return [one for _, findings in self.sections for one in findings]

    @property
    def exit_code(self) -> int:
        """The exit code: 0 unless something failed; a warning is no failure."""
        codes = [one.code for one in self.findings if one.verdict == "fail"]
        return first_code(codes) if codes else 0

    @property
    def summary(self) -> str:
        """The result in one line."""
        verdicts = [one.verdict for one in self.findings]
        words = (("fail", "failure"), ("warn", "warning"))
        counts = [show_count(verdicts.count(one), word) for one, word in words if one in verdicts]
        skipped = verdicts.count("skip")
        left_out = [f"{show_count(skipped, 'check')} left out"] if skipped else []
        return ", ".join([*(counts or ["all fine"]), *left_out])

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        checks = [
            {
                "subject": subject,
                "check": one.check,
                "verdict": one.verdict,
                "text": one.text,
                "hint": one.hint,
            }
            for subject, findings in self.sections
            for one in findings
        ]
        outcome = "failed" if self.exit_code else "complete"
        return {"v": 1, "outcome": outcome, "checks": checks, "error": None}


def is_configured(settings: Settings, section: str) -> bool:
    """Tell whether anybody has set anything of a service."""
    return any(
        value.text is not None and value.origin != "default"
        for value in settings.values.values()
        if value.setting.section == section
    )


def judge_settings(settings: Settings, section: str) -> list[Finding]:
    """Return what is set of a service, and where; secrets are masked."""
    return [
        Finding(check=value.setting.key, verdict="ok", text=_where(value))
        for value in settings.values.values()
        if value.setting.section == section and (value.text is not None or value.is_left_out)
    ]


def _where(value: Value) -> str:
    origin = value.origin.replace("environment variable ", "")
    # An address may have a login in it, by mistake.
    return origin if value.is_left_out else f"{excerpt(value.shown)}, from {origin}"


def judge_error(check: str, error: TagferryError) -> Finding:
    """Return the finding that an error is."""
    return Finding(check=check, verdict="fail", text=error.message, hint=error.hint, code=exit_code(error))


def read_skew(head: Head, sent: float, received: float) -> float | None:
    """Return by how many seconds the service is ahead of this machine; None when it does not tell.

    Args:
        head: The head of a reply.
        sent: When the request was sent, Unix time in seconds.
        received: When the reply was there.
    """
    try:
        date = parsedate_to_datetime(head.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    age = head.headers.get("age", "")
    # A cache says how old its answer is.
    when += int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0
    # The date is cut to whole seconds, and was written at some time between the two.
    least, most = when - received, when + 1 - sent
    return 0.0 if least <= 0 <= most else min(least, most, key=abs)


def judge_clock(skew: float | None, *, signs: bool) -> Finding:
    """Judge the clock of this machine.

    Args:
        skew: By how many seconds the service is ahead.
        signs: Whether the service is sent signatures that have the time in them.
    """
    if skew is None:
        return Finding(check="clock", verdict="skip", text="not checked: the answer has no date")
    if abs(skew) < SKEW:
        return Finding(
            check="clock", verdict="ok", text=f"within {max(1, round(abs(skew)))} s of the service"
        )
    text = f"this machine is {show_seconds(abs(skew))} {'behind' if skew > 0 else 'ahead of'} the service"
    why = "; signatures that are made here are refused otherwise" if signs else ""
    return Finding(check="clock", verdict="warn", text=text, hint=f"set the clock, best by NTP{why}")


def judge_certificate(days: float) -> tuple[Verdict, str, str | None]:
    """Judge how long a certificate is still good: a verdict, a text and a hint."""
    text = f"certificate good for {show_count(int(days), 'day')}"
    if days >= CERTIFICATE_DAYS:
        return "ok", text, None
    return "warn", text, "whoever runs the server has to renew its certificate"


def judge_disk(free: int, *, writable: bool) -> Finding:
    """Judge the current directory, where files go by default."""
    text = f"{show_bytes(free)} free in the current directory"
    if free < _LEAST_DISK:
        hint = "make room, or write to another disk by --output"
        return Finding(check="disk", verdict="fail", text=text, hint=hint, code=9)
    if not writable:
        text, hint = "the current directory cannot be written", "write to another one by --output"
        return Finding(check="disk", verdict="warn", text=text, hint=hint)
    if free < _LOW_DISK:
        return Finding(check="disk", verdict="warn", text=text, hint="exports may be larger than that")
    return Finding(check="disk", verdict="ok", text=text)


def judge_files(limit: int | None) -> Finding:
    """Judge how many files may be open; None is no limit."""
    if limit is None:
        return Finding(check="open files", verdict="ok", text="no limit")
    text = f"at most {limit:,} in a process"
    if limit >= _LOW_FILES:
        return Finding(check="open files", verdict="ok", text=text)
    hint = "run ulimit -n 4096 before, or keep --concurrency low"
    return Finding(check="open files", verdict="warn", text=text, hint=hint)


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is of this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
