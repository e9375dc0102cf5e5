"""What an emulator is told before it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tagferry.emulator.growingio_cdp_settings import CDPSettings
from tagferry.emulator.tencent_settings import TencentSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about an emulator that can be chosen; each default is the documented service.

    Attributes:
        host: A loopback address; others are refused, since the emulator guards nothing.
        port: Port of the API; 0 takes a free one.
        download_port: Port of the download host; 0 takes a free one.
        token: The token that the service accepts.
        other_tokens: Further accepted tokens, each with quotas and jobs of its own.
        time_scale: Real seconds in one second of the service; at 0.01 a five-minute link lives three seconds.
        job_seconds: How long an export is `doing`, in seconds of the service; with 0 it is done as soon as it
            is asked for, so that a client does not wait before it asks again.
        quota_per_second: Polls in any sliding real second, for each exporter and token.
        latency: Real seconds between a request and its answer.
        jitter: Real seconds by which the latency of single answers is longer or shorter, up to.
        rows: Rows of an audience.
        rows_by_export: Rows of single exports, by id.
        parts: Links of an export.
        parts_by_export: Links of single exports, by id.
        repeat_header: Whether every part starts with the header row, or the first one only.
        seed: Another seed gives other audiences.
        known_exports: The ids that exist; `None` means any well-formed one.
        segments: How many segments the list of a project has when any id exists; else it has the known ones.
        documented_lists: Whether lists are the samples of the documents, whose ids cannot be exported.
        seven_days_refused: Whether `expire=10080` is refused as all above it; the documents allow both.
        restart_lapsed: Whether an export whose links lapsed is `doing` again before it has fresh ones.
        md5_header: Whether downloads carry `x-amz-meta-md5-hash`; costs one pass over each file.
        remember: How many requests are kept in the log; counts go on beyond it.
        cdp: What only the GrowingIO CDP has.
        tencent: What only Tencent IM has.

    """

    host: str = "127.0.0.1"
    port: int = 0
    download_port: int = 0
    token: str = field(default="emulator-token", repr=False)
    other_tokens: tuple[str, ...] = field(default=(), repr=False)
    time_scale: float = 1.0
    job_seconds: float = 30.0
    quota_per_second: int = 2
    latency: float = 0.0
    jitter: float = 0.0
    rows: int = 1000
    rows_by_export: Mapping[str, int] = field(default_factory=dict[str, int])
    parts: int = 1
    parts_by_export: Mapping[str, int] = field(default_factory=dict[str, int])
    repeat_header: bool = True
    seed: int = 1
    known_exports: frozenset[str] | None = None
    segments: int = 12
    documented_lists: bool = False
    seven_days_refused: bool = False
    restart_lapsed: bool = False
    md5_header: bool = False
    remember: int = 100_000
    cdp: CDPSettings = field(default_factory=CDPSettings)
    tencent: TencentSettings = field(default_factory=TencentSettings)

    def __post_init__(self) -> None:
        if not ipaddress.ip_address(self.host).is_loopback:
            raise ValueError(f"the emulator listens on loopback only, not on {self.host}")
        for name in ("parts", "quota_per_second", "remember"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("rows", "segments", "job_seconds", "latency", "jitter", "time_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
