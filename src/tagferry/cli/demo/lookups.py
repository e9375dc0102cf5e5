"""The part of the demo that looks up the tags of accounts in Tencent IM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tagferry.cli.demo.comparison import Comparison
from tagferry.cli.demo.part import Row, Stage
from tagferry.cli.fetch_end import FetchEnd
from tagferry.cli.fetch_view import FetchView, open_fetch_view
from tagferry.cli.text import show_count
from tagferry.clients.tencent_im import TencentIM
from tagferry.errors import TagferryError
from tagferry.files.thread import in_thread
from tagferry.lookups.target import Target

__all__ = ["LookupsPart"]

ACCOUNTS = 200_000
REPEATS = 500
RATE = 1000
"""Calls a second; the real service allows a tenth of it."""
ODD = {
    # What the emulator does about a name stands in `tagferry.emulator.tencent_people`.
    20_000: "poison-account",
    60_000: "code70402-wrong",
    90_000: "code91000x2-busy",
    140_000: "poison-too",
}
"""Accounts that make trouble, and their places in the input."""
FAULTS = (
    "pass x300",
    "code=60007 x3",
    "pass x300",
    "status=502",
    "pass x200",
    # So near the beginning that it hits the shortest answer, too.
    "cut@20 x2",
    "pass x200",
    "close",
)
"""What happens to the calls, one after the other."""
_OPERATION = "tencent-im.get-tag"
_DEADLINE = 60.0


class LookupsPart:
    """The tags of many accounts, in one file."""

    def __init__(self) -> None:
        self._view = FetchView()
        self._end = FetchEnd((), self._view, to_stream=False, from_stream=False)
        self._comparison: Comparison | None = None
        self._seen: Mapping[str, Any] = {}

    @property
    def words(self) -> Sequence[str]:
        """The quota and the faults of the calls."""
        return [f"--tencent-quota={RATE}", *(f"--fault={_OPERATION}={fault}" for fault in FAULTS)]

    @property
    def introduction(self) -> str:
        """How many accounts there are."""
        return f"The tags of {ACCOUNTS:,} accounts from Tencent IM, at {RATE:,} calls a second:"

    async def play(self, stage: Stage) -> None:
        """Look all accounts up, and lay the answers beside the truth."""
        shown = stage.options
        self._view = open_fetch_view(shown.progress, quiet=shown.quiet, console=stage.screen.console)
        self._end = FetchEnd((), self._view, to_stream=False, from_stream=False)
        target = Target.of(stage.directory / "tencent-tags.jsonl")
        try:
            await self._fetch(stage.service.environment, target.output)
        except TagferryError as error:
            self._end.error = error
            return
        (self._seen,) = await stage.service.ask("tencent")
        self._comparison = await in_thread(Comparison, target, make_accounts)

    async def _fetch(self, environment: Mapping[str, str], output: Path) -> None:
        client = TencentIM(
            sdkappid=int(environment["TAGFERRY_TENCENT_SDKAPPID"]),
            identifier=environment["TAGFERRY_TENCENT_IDENTIFIER"],
            secret_key=environment["TAGFERRY_TENCENT_SECRET_KEY"],
            base_url=environment["TAGFERRY_TENCENT_BASE_URL"],
            rate=f"{RATE}/s",
            on_event=self._view.take,
        )
        with self._view:
            async with client:
                self._end.report = await client.fetch_tags(
                    make_accounts(), output, if_exists="replace", deadline=_DEADLINE
                )

    @property
    def is_over(self) -> bool:
        """Whether all accounts were compared, or the fetch failed."""
        return self._comparison is not None or self._end.error is not None

    @property
    def exit_code(self) -> int:
        """That of a fetch; the accounts that nobody could answer for are meant to fail here."""
        if self._comparison is None:
            return self._end.exit_code
        return 0 if self._comparison.is_same else 8

    @property
    def rows(self) -> Sequence[Row]:
        """Answers and dead letters."""
        return self._comparison.rows if self._comparison else ()

    def document(self, stop: dict[str, Any] | None) -> Mapping[str, Sequence[Any]]:
        """Return the fetch, as a fetch command does, and whether it is the same as at the service."""
        facts = self._end.document() | ({} if self.is_over else {"error": stop})
        same = self._comparison is not None and self._comparison.is_same
        del facts["v"]
        return {"fetches": [{"kind": "tencent-tags", "same": same, **facts}]}

    def failures(self) -> Iterator[tuple[str, str | None]]:
        """Yield why the fetch failed."""
        if (error := self._end.error) is not None:
            yield f"tencent-tags: {error.message}", error.hint

    def troubles(self) -> Iterator[tuple[str, int]]:
        """Yield what the fetch survived."""
        tally, report = self._view.tally, self._end.report
        yield "a call was said to be too fast, and all went slower for a while", tally.throttled
        yield "a call failed or broke off, and was made again", tally.retried
        if report is not None:
            repeats = report.accounts - report.distinct
            yield "an account was in the list again, and was asked for once", repeats
            yield "an account could not be answered; the others of its call were", report.failed

    def conclusion(self) -> Iterator[str]:
        """Say whether every account is there once, and how fast it was."""
        if self._comparison is None:
            return
        if not self._comparison.is_same:
            yield "An account is missing, there twice, or not as it is at the service!"
            return
        yield (
            f"Every one of {show_count(self._comparison.accounts, 'account')} is there once, and as it is"
            " at the service."
        )
        most, refused = self._seen["max_in_any_second"], self._seen["refused"] or "none"
        yield f"Most calls in any second: {most:,} of {RATE:,} allowed; {refused} refused as too many."


def make_accounts() -> Iterator[str]:
    """Yield the accounts of the input; some make trouble, and some come again."""
    for number in range(ACCOUNTS):
        yield ODD.get(number) or f"user{number:07}"
    for number in range(REPEATS):
        yield f"user{number:07}"
