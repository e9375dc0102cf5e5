"""The Tencent IM service that tells the tags of accounts: `im_get_tag`, and its successor in `timpush`.

Strict where the documents are silent: a call counts against the quota once it is read and names an
application, whatever becomes of it; unknown or repeated parameters are refused. How made-up accounts are
named, and which names ask for which answer, stands in `tencent_people`.
"""

from __future__ import annotations

import functools
import re
import time
import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tagferry.emulator import tencent_codes as codes
from tagferry.emulator.audience import Text
from tagferry.emulator.damage import replace_reply
from tagferry.emulator.quota import SECOND, Window
from tagferry.emulator.tencent_answer import Answerer, FailureError, read_accounts
from tagferry.emulator.tencent_application import Application, Usage
from tagferry.emulator.tencent_usersig import EMPTY
from tagferry.emulator.wire import Reply, name_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tagferry.emulator.audience import Source
    from tagferry.emulator.faults import Plan
    from tagferry.emulator.service import Export
    from tagferry.emulator.settings import Settings
    from tagferry.emulator.tencent_settings import Unknown
    from tagferry.emulator.wire import Request

GET_TAG = "tencent-im.get-tag"
OTHER = "tencent-im.other"
COMMANDS = {
    "/v4/all_member_push/im_get_tag": "all_member_push/im_get_tag",
    "/v4/timpush/get_tag": "timpush/get_tag",
}
PARAMETERS = frozenset({"sdkappid", "identifier", "usersig", "random", "contenttype"})

_HEADERS = (("Server", "nginx"), ("Access-Control-Allow-Origin", "*"))
_SDKAPPID = re.compile(r"(?:^|&)sdkappid=([0-9]{1,20})(?:&|$)")
_RANDOM = re.compile(r"[0-9]{1,10}")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class TencentIM:
    """Applications, their quotas and what they asked for.

    Attributes:
        usages: What was seen, by application and command.

    """

    operations = frozenset({GET_TAG})
    kinds = frozenset[str]()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.tencent
        self.usages: dict[tuple[int, str], Usage] = {}
        self._applications = {
            sdkappid: Application(sdkappid, self.settings, settings.time_scale)
            for sdkappid in self.settings.applications
        }
        self._answerer = Answerer(self.settings, settings.seed)
        self._held_until = 0

    @property
    def windows(self) -> Mapping[tuple[str, str], Window]:
        """The quotas, by command and application."""
        return {(usage.command, str(usage.sdkappid)): usage.window for usage in list(self.usages.values())}

    def statistics(self) -> list[dict[str, Any]]:
        """The counts of each application and command."""
        return [usage.facts() for usage in list(self.usages.values())]

    def kick(self, sdkappid: int | None = None) -> None:
        """Make void every UserSig made in an earlier second than now, and every one seen so far.

        Raises:
            ValueError: There is no such application.

        """
        if sdkappid is not None and sdkappid not in self._applications:
            raise ValueError(f"there is no application {sdkappid}")
        # Copied first: the server may be on another thread, and see more meanwhile.
        seen = frozenset[int]().union(*(usage.usersigs.copy() for usage in list(self.usages.values())))
        for one in self._applications if sdkappid is None else (sdkappid,):
            self._applications[one].kick(seen)

    def exports(self) -> list[Export]:
        """None: this service only answers."""
        return []

    def sources(
        self,
        export: Export,
        *,
        parts: int | None = None,  # noqa: ARG002 - the protocol's
        version: int = 0,  # noqa: ARG002 - the protocol's
    ) -> tuple[Source, ...]:
        """Never asked for, since it makes no kind of export."""
        raise ValueError(f"no files are made here, neither for {export.kind} nor others")

    def route(self, request: Request) -> tuple[str, str] | None:
        """The operation and, as the key, the SDKAppID."""
        if not request.path.startswith("/v4/"):
            return None
        match = _SDKAPPID.search(request.query)
        return GET_TAG if request.path in COMMANDS else OTHER, match[1] if match else ""

    def refuse(self, request: Request) -> Reply | None:
        """The answer to a caller without good credentials, or over the quota."""
        command = COMMANDS.get(request.path)
        given = read_query(request.query)
        if command is None or given is None:
            return self._fail(codes.BAD_URL if command else codes.NO_COMMAND)
        if not given.get("sdkappid"):
            return self._fail(codes.NO_SDKAPPID)
        sdkappid = _read_number(given["sdkappid"])
        application = self._applications.get(sdkappid)
        if application is None:
            return self._fail(codes.BAD_PARAMETER if sdkappid < 0 else codes.NO_APPLICATION)
        usage = self._find_usage(sdkappid, command)
        if given.get("usersig"):
            usage.usersigs.add(hash(given["usersig"]))
        # Not when its head came: bodies may come in another order, and a window wants one.
        now = time.monotonic_ns()
        if not usage.window.admit(now):
            return self._fail(self.settings.throttle_code, self.settings.throttle_status)
        code = _check_parameters(request.method, given)
        if not code:
            code = application.check_caller(given["identifier"], given["usersig"], now)
        return self._fail(code) if code else None

    def answer(self, request: Request, plan: Plan) -> Reply:
        """The answer to a caller who may ask."""
        hold = plan.get("hold")
        if hold is not None:
            self._held_until = time.monotonic_ns() + int(float(hold.value) * SECOND)
        between = _replace(plan, request)
        if between is not None:
            return replace(between, delay=self._find_delay())
        return self._answer(request, plan)

    def _answer(self, request: Request, plan: Plan) -> Reply:
        code, short = plan.get("code"), plan.get("short")
        if code is not None:
            return self._fail(int(code.value))
        command = COMMANDS[request.path]
        # Only `timpush` is documented to have an ErrorList.
        unknown: Unknown = "errorlist" if command.startswith("timpush/") else self.settings.unknown
        try:
            accounts = read_accounts(request.body)
            body, failed = self._answerer.answer(accounts, plan, unknown=unknown)
        except FailureError as failure:
            return self._fail(failure.code)
        if self.settings.track:
            given = read_query(request.query) or {}
            usage = self._find_usage(_read_number(given["sdkappid"]), command)
            usage.asked.add(
                [account for account in accounts if account not in failed] if failed else accounts
            )
        return self._reply(200, body if short is None else body[: short.at])

    def _find_usage(self, sdkappid: int, command: str) -> Usage:
        usage = self.usages.get((sdkappid, command))
        if usage is None:
            usage = Usage(sdkappid, command, Window(self.settings.quota_per_second))
            self.usages[sdkappid, command] = usage
        return usage

    def _find_delay(self) -> float:
        return max(0, self._held_until - time.monotonic_ns()) / SECOND if self._held_until else 0.0

    def _fail(self, code: int, status: int = 200) -> Reply:
        return self._reply(status, codes.write_failure(code))

    def _reply(self, status: int, body: bytes) -> Reply:
        kind = self.settings.content_type
        headers = _HEADERS if kind is None else (*_HEADERS, ("Content-Type", kind))
        return Reply(status=status, headers=headers, body=Text(body), delay=self._find_delay())


@functools.lru_cache(maxsize=64)
def read_query(query: str) -> dict[str, str] | None:
    """The parameters by name, or nothing when the gateway cannot read them.

    A request is read in several steps, each of which asks for this.
    """
    given: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, sign, value = pair.partition("=")
        if name not in PARAMETERS or name in given or not sign or _ESCAPE.search(value):
            return None
        try:
            given[name] = urllib.parse.unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            return None
    return given


def _read_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1


def _check_parameters(method: str, given: Mapping[str, str]) -> int:
    number = given.get("random", "")
    if method != "POST" or not _RANDOM.fullmatch(number) or int(number) >= 1 << 32:
        return codes.BAD_URL
    if given.get("contenttype") != "json" or not given.get("identifier"):
        return codes.BAD_PARAMETER
    return 0 if given.get("usersig") else EMPTY


def _replace(plan: Plan, request: Request) -> Reply | None:
    status = plan.get("status")
    between = replace_reply(plan, request)
    if between is None or status is None or between.body.size == 0:
        return between
    # What stands before the service answers with pages, not with an envelope.
    title = f"{status.value} {name_status(int(status.value))}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return replace(
        between, headers=between.with_header("Content-Type", "text/html"), body=Text(page.encode())
    )
