"""What the emulated Tencent IM service is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEMO_SDKAPPID = 1400000000
DEMO_IDENTIFIER = "administrator"
# It opens nothing but an emulator, so it may be shown and stand in code.
DEMO_SECRET_KEY = "demo-key-of-the-emulator-it-opens-nothing-else-0123456789abcdef"  # noqa: S105

Unknown = Literal["absent", "empty", "null", "errorlist", "fail"]


@dataclass(frozen=True, kw_only=True)
class TencentSettings:
    """Everything about the emulated Tencent IM that can be chosen.

    Attributes:
        applications: For each SDKAppID its secret key and its administrators.
        quota_per_second: Calls in any sliding real second, for each application and command.
        throttle_code: The ErrorCode of a call over the quota.
        throttle_status: Its HTTP status.
        bad_signatures: UserSigs that fail verification, in any second of an application, before it is blocked
            with 70050 for a minute of the service.
        kicked_code: The ErrorCode of a UserSig that a kick made void.
        not_admin_code: The ErrorCode of a caller who is no administrator: 60010 or 90009.
        unknown: How `all_member_push` shows an account that it does not know: not at all, with an empty list,
            with null, in an ErrorList, or by failing the whole call with 90012. `timpush` has an ErrorList.
        poison_code: The ErrorCode of a call with a `poison…` account in it.
        people: The tags of single accounts, instead of made-up ones.
        reorder: Whether the accounts of an answer come in another order than that of the request.
        content_type: The Content-Type of answers; the vendor's sample has none.
        track: Whether it is noted which accounts were asked; 11 to 43 bytes for each.

    """

    applications: Mapping[int, tuple[str, Sequence[str]]] = field(
        default_factory=lambda: {DEMO_SDKAPPID: (DEMO_SECRET_KEY, (DEMO_IDENTIFIER,))}, repr=False
    )
    quota_per_second: int = 100
    throttle_code: int = 60007
    throttle_status: int = 200
    bad_signatures: int = 20
    kicked_code: int = 70052
    not_admin_code: int = 60010
    unknown: Unknown = "absent"
    poison_code: int = 90012
    people: Mapping[str, Sequence[str]] = field(default_factory=dict[str, "Sequence[str]"])
    reorder: bool = True
    content_type: str | None = None
    track: bool = True

    def __post_init__(self) -> None:
        for name in ("quota_per_second", "bad_signatures"):
            if getattr(self, name) < 1:
                raise ValueError(f"tencent {name} must be at least 1")
        if self.unknown not in {"absent", "empty", "null", "errorlist", "fail"}:
            raise ValueError(f"tencent unknown is absent, empty, null, errorlist or fail, not {self.unknown}")
