"""One application of the emulated Tencent IM: whom it lets in, and what it was asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tagferry.emulator.asked import Asked
from tagferry.emulator.quota import SECOND, Window
from tagferry.emulator.tencent_codes import BLOCKED
from tagferry.emulator.tencent_usersig import EXPIRED, UNREADABLE, check_signature, read_usersig

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tagferry.emulator.tencent_settings import TencentSettings

BLOCK_SECONDS = 60


@dataclass(slots=True)
class Usage:
    """What one application did with one command."""

    sdkappid: int
    command: str
    window: Window
    asked: Asked = field(default_factory=Asked)
    usersigs: set[int] = field(default_factory=set[int])

    def facts(self) -> dict[str, Any]:
        """The counts, as the admin API tells them; of a UserSig that it was seen, never itself."""
        return {
            "sdkappid": self.sdkappid,
            "command": self.command,
            "calls": self.window.arrivals,
            "refused": self.window.refused,
            "max_in_any_second": self.window.max_in_any_second,
            "usersigs": len(self.usersigs),
            "asked": self.asked.times,
            "accounts": self.asked.accounts,
            "asked_again": self.asked.repeated,
            "examples_asked_again": list(self.asked.examples),
        }


class Application:
    """One SDKAppID: its key, its administrators, and its bad signatures."""

    def __init__(self, sdkappid: int, settings: TencentSettings, time_scale: float) -> None:
        self.sdkappid = sdkappid
        self._settings = settings
        self._secret_key, admins = settings.applications[sdkappid]
        self._admins = frozenset(admins)
        self._bad = Window(settings.bad_signatures)
        self._block = int(BLOCK_SECONDS * time_scale * SECOND)
        self._blocked_until = 0
        self._kicked = 0
        self._void: AbstractSet[int] = frozenset[int]()

    def kick(self, seen: AbstractSet[int]) -> None:
        """Make void what was signed in an earlier second than this, and what was seen: hashes of UserSigs.

        A UserSig says the second only, so that one made anew in the same second is the same text.
        """
        self._kicked = int(time.time())
        self._void = seen

    def check_caller(self, identifier: str, usersig: str, nanoseconds: int) -> int:
        """The error code for a caller, 0 for an administrator; the time is on the monotonic clock."""
        if nanoseconds < self._blocked_until:
            return BLOCKED
        code, made = self._check_signature(identifier, usersig)
        # Time makes a signature lapse without anybody's fault.
        if code not in {0, EXPIRED} and not self._bad.admit(nanoseconds):
            self._blocked_until = nanoseconds + self._block
            return BLOCKED
        if code:
            return code
        if made < self._kicked or hash(usersig) in self._void:
            return self._settings.kicked_code
        return 0 if identifier in self._admins else self._settings.not_admin_code

    def _check_signature(self, identifier: str, usersig: str) -> tuple[int, int]:
        signature = read_usersig(usersig)
        if signature is None:
            return UNREADABLE, 0
        code = check_signature(
            signature,
            sdkappid=self.sdkappid,
            identifier=identifier,
            secret_key=self._secret_key,
            now=int(time.time()),
        )
        return code, signature.made
