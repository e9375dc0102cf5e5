"""The client of Tencent IM."""

from __future__ import annotations

import functools
import os
import ssl as tls
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import aiohttp

from tagferry.clients.arguments import check_count, check_seconds
from tagferry.clients.connection import Connection
from tagferry.clients.tencent_credential import hide, make_credential
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.lookups.accounts import check_accounts, check_accounts_argument
from tagferry.lookups.fetch import DEADLINE, Accounts, FetchSpec, fetch, pipe, retry
from tagferry.lookups.outcome import (
    AccountError,
    FetchReport,
    Missing,
    Outcome,
    Tagged,
    TagResult,
)
from tagferry.lookups.service import LookupService
from tagferry.lookups.stream import stream
from tagferry.lookups.target import IfExists, Target
from tagferry.services import tencent_im as im
from tagferry.services.tencent_answer import TagsAnswer, read_tags
from tagferry.services.tencent_treatment import (
    RETRY_LIMITS,
    is_renewable,
    is_spoilt,
    is_too_large,
    judge_account,
    read_treatments,
)
from tagferry.wire.call import Caller, Tally
from tagferry.wire.credential import Token
from tagferry.wire.message import Reply
from tagferry.wire.origin import check_base_url
from tagferry.wire.quota import SECOND, Rate

__all__ = ["TencentIM"]


class TencentIM:
    """Looks up the tags of accounts in Tencent IM.

    Use it as an async context manager. Making one sends, opens and starts nothing.

    Args:
        sdkappid: The app's number, from the Chat console.
        identifier: The UserID of an app administrator.
        secret_key: The app's secret key; signatures (UserSig) are made of it here.
        user_sig: A signature of your own instead, or an async function that provides one; it is asked again
            when the service refuses what it gave.
        region: The app's data centre, such as ``"china"`` or ``"singapore"``.
        base_url: The API's origin instead of a region.
        service: ``"all_member_push"``, or its successor ``"timpush"``.
        rate: Calls that the service allows for this app; all clients of the process share them. Tencent
            alarms its customer at 80 % of the limit, so ``"79/s"`` is the quiet choice.
        timeout: Seconds for one request.
        stall_timeout: Seconds in which a reply must bring some bytes.
        concurrency: How many calls are under way at once.
        retries: How often a failed request is tried again in a row.
        codes: What to do about some of the service's error codes, where you know better than the table of
            this package: ``"retry"``, ``"throttle"`` (slow down as well), ``"renew"`` (the UserSig),
            ``"lockout"`` (send nothing for a minute), ``"config"`` or ``"input"`` (stop), or ``"account"``
            (one account of the call is to blame).
        session: Your own aiohttp session; you close it.
        ssl: Your own TLS settings.
        proxy: The URL of a proxy. Proxies of the environment are not used.
        on_event: Called with every `tagferry.events.Event`; must not block.

    Raises:
        ConfigError: A value that cannot work.

    Example:
        >>> async with TencentIM(sdkappid=1400000000, identifier="admin", secret_key=key) as im:
        ...     report = await im.fetch_tags(accounts, "tags.jsonl")
    """

    def __init__(
        self,
        *,
        sdkappid: int,
        identifier: str,
        secret_key: str | None = None,
        user_sig: Token | None = None,
        region: str | None = None,
        base_url: str | None = None,
        service: str = "all_member_push",
        rate: str = str(im.RATE),
        timeout: float = 10.0,
        stall_timeout: float = 30.0,
        concurrency: int = 100,
        retries: int = 8,
        codes: Mapping[int, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        on_event: Emit | None = None,
    ) -> None:
        app, admin = im.check_sdkappid(sdkappid), im.check_identifier(identifier)
        self._command = im.check_service(service)
        self._base_url = _choose_origin(region, base_url)
        check_seconds("stall_timeout", stall_timeout, service=im.SERVICE)
        check_count("concurrency", concurrency, least=1, service=im.SERVICE)
        self._treatments = read_treatments(codes or {})
        quota_rate = Rate.parse(rate)
        self._connection = connection = Connection(
            im.SERVICE,
            (self._base_url,),
            "tagferry.TencentIM(...) as im",
            timeout=timeout,
            stall_timeout=stall_timeout,
            retries=retries,
            session=session,
            ssl=ssl,
            proxy=proxy,
            on_event=on_event,
        )
        credential = make_credential(app, admin, hide(secret_key), hide(user_sig), clock=connection.clock)
        limiter = connection.limiter((self._base_url, app, im.COMMANDS[service]), quota_rate)
        backoff = connection.backoff(RETRY_LIMITS)
        self._caller = Caller(
            transport=connection.transport,
            limiter=limiter,
            credential=credential,
            sign=im.make_signer(app, admin, backoff.chance),
            renewable=functools.partial(is_renewable, overrides=self._treatments),
            backoff=backoff,
            emit=connection.emit,
        )
        self._service = LookupService(
            name=im.SERVICE,
            kind=im.KIND,
            ask=self._ask,
            batch=im.BATCH,
            workers=min(quota_rate.calls, concurrency),
            rate=quota_rate.calls * SECOND / quota_rate.period,
            is_spoilt=functools.partial(is_spoilt, overrides=self._treatments),
            is_too_large=is_too_large,
            judge=functools.partial(judge_account, overrides=self._treatments),
            hold=limiter.hold,
            settings={"SDKAppID": str(app), "service": service, "address": self._base_url},
            backoff=backoff,
            emit=connection.emit,
        )

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.aclose()

    async def get_tags(self, accounts: Iterable[str]) -> TagResult:
        """Look up the tags of some accounts and hold them all in memory.

        Args:
            accounts: Accounts, compared exactly; for millions of them use `stream_tags` or `fetch_tags`.

        Raises:
            TypeError: It is a single `str`.
            ConfigError: An account is no `str`; before any request.
            RecordError: An account is empty or cannot be sent; before any request.
            TagferryError: A failure that is not for single accounts.
        """
        check_accounts_argument(accounts)
        given = list(accounts)
        check_accounts(given, 1)
        tags: dict[str, tuple[str, ...]] = {}
        missing: set[str] = set()
        failed: dict[str, AccountError] = {}
        async with self.stream_tags(dict.fromkeys(given), ordered=True) as outcomes:
            async for one in outcomes:
                match one:
                    case Tagged():
                        tags[one.account] = one.tags
                    case Missing():
                        missing.add(one.account)
                    case _:
                        failed[one.account] = one.error
        return TagResult(tags, frozenset(missing), failed)

    def stream_tags(
        self, accounts: Iterable[str] | AsyncIterable[str], *, ordered: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Look up the tags of accounts while they are gone through; nothing is held whole.

        Each item of the input has one outcome, repeats included: who wants each account once has to say so,
        or to use `fetch_tags`. A slow reader slows the requests down.

        Args:
            accounts: Any iterable or async iterable of `str`.
            ordered: Whether outcomes come in the order of the input, or as soon as they are there.

        Returns:
            An async context manager that gives the outcomes: `Tagged`, `Missing` or `AccountFailed`.

        Raises:
            TypeError: It is a single `str`.
            ConfigError: An account is no `str`; raised by the iteration, as all that follows.
            RecordError: An account is empty or cannot be sent.
            TagferryError: A failure that is not for single accounts.
        """
        return stream(self._service, accounts, ordered=ordered)

    async def fetch_tags(
        self,
        accounts: Accounts,
        output: str | os.PathLike[str],
        *,
        ordered: bool = False,
        deadline: float | None = DEADLINE,
        if_exists: IfExists = "error",
        resume: bool = True,
    ) -> FetchReport:
        """Look up the tags of any number of accounts, and write them to a file, each account once.

        The input is written beside the output first, without repeats. Answers are on disk within a second,
        so that after a crash the same call goes on where it was. Accounts that the service would not answer
        for go to the dead letters, ``NAME.dead.jsonl`` beside the output.

        Args:
            accounts: Any iterable or async iterable of `str`, such as a generator over a file; it must give
                the same when an unfinished fetch is gone on with, or nothing if they are gone.
            output: A file whose name ends in ``.jsonl``, ``.csv`` or ``.parquet``; the last is made of the
                lines when all are there, and needs the extra ``parquet``.
            ordered: Whether the lines have the order of the input.
            deadline: Seconds that this run may take; None for no bound.
            if_exists: What to do about an output that is already there.
            resume: Whether to go on with an unfinished fetch.

        Raises:
            ConfigError: Something cannot end well, or does not fit the unfinished fetch; before any request.
            RecordError: An account of the input is damaged; before any request.
            TagferryError: A failure that stops the whole fetch; the same call goes on later.
        """
        spec = FetchSpec(
            service=self._service,
            accounts=accounts,
            target=Target.of(output),
            ordered=ordered,
            if_exists=if_exists,
            resume=resume,
        )
        return await fetch(spec, deadline)

    async def pipe_tags(
        self,
        accounts: Accounts,
        output: BinaryIO,
        dead_letters: BinaryIO,
        *,
        ordered: bool = False,
        deadline: float | None = DEADLINE,
    ) -> FetchReport:
        """Look up the tags of any number of accounts, and write them to a stream, each account once.

        Nothing is kept for a next run. The lines are those of `fetch_tags` in JSON Lines.

        Args:
            accounts: As for `fetch_tags`.
            output: Takes the answers; written to on worker threads, like standard output.
            dead_letters: Takes the accounts that the service would not answer for.
            ordered: Whether the lines have the order of the input.
            deadline: Seconds that it may take; None for no bound.

        Raises:
            BrokenPipeError: The reader of the output has gone.
            TagferryError: As for `fetch_tags`.
        """
        return await pipe(self._service, accounts, output, dead_letters, ordered=ordered, deadline=deadline)

    async def retry_tags(
        self,
        dead_letters: str | os.PathLike[str],
        *,
        output: str | os.PathLike[str] | None = None,
        ordered: bool = False,
        deadline: float | None = DEADLINE,
        resume: bool = True,
    ) -> FetchReport:
        """Ask again for the dead letters of a fetch, and merge what is answered into its output.

        Args:
            dead_letters: The file ``NAME.dead.jsonl`` that the fetch wrote.
            output: The output of that fetch, if it is not beside them.
            ordered: Whether the added lines have the order of the dead letters.
            deadline: Seconds that this run may take; None for no bound.
            resume: Whether to go on with an unfinished retry.

        Returns:
            The report of the retry: its counts are of the dead letters only.

        Raises:
            ConfigError: The output is not there, or something else cannot end well; before any request.
            TagferryError: A failure that stops the whole; the same call goes on later.
        """
        return await retry(
            self._service,
            Path(dead_letters),
            Path(output) if output is not None else None,
            ordered=ordered,
            resume=resume,
            deadline=deadline,
        )

    async def _ask(self, accounts: Sequence[str], tally: Tally) -> TagsAnswer:
        self._connection.check_open()
        request = im.ask_tags(self._base_url, self._command, accounts)
        return await self._caller.call(request, self._read, tally=tally)

    def _read(self, reply: Reply) -> TagsAnswer:
        return read_tags(reply, now=self._connection.clock.unix(), overrides=self._treatments)


def _choose_origin(region: str | None, base_url: str | None) -> str:
    if base_url is None:
        return im.base_url_of("china" if region is None else region)
    if region is not None:
        msg = f"both a region ({region}) and a base URL are given"
        raise ConfigError(msg, service=im.SERVICE, hint="give one of them")
    return check_base_url(base_url, service=im.SERVICE, example=im.REGIONS["china"])
