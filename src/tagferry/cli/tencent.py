"""The kinds of Tencent IM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tagferry.cli.fetch import Streams, Work, run_fetch
from tagferry.cli.options import TRANSFER, Call, Exists, FetchOptions, RetryOptions
from tagferry.cli.words import read_input, read_path
from tagferry.clients.tencent_im import TencentIM
from tagferry.errors import ConfigError
from tagferry.events import Emit
from tagferry.lookups.sources import open_source
from tagferry.lookups.target import Target
from tagferry.services.tencent_im import KIND, check_sdkappid
from tagferry.settings import Settings

__all__ = ["fetch_tags", "open_client", "retry_tags"]
Service = Annotated[
    Literal["all_member_push", "timpush"],
    Parameter(group=TRANSFER, help="The service of the app that knows tags; timpush is the successor."),
]
RateText = Annotated[
    str,
    Parameter(
        metavar="N/s",
        group=TRANSFER,
        help="Calls that the app may make. Tencent alarms its customer at 80 %: 79/s is the quiet choice.",
    ),
]
Ordered = Annotated[
    bool,
    Parameter(negative="", group=TRANSFER, show_default=False, help="Keep the order of the input."),
]


def open_client(
    settings: Settings, options: FetchOptions, on_event: Emit, *, service: str, rate: str
) -> TencentIM:
    """Make a client as the user's settings and options say.

    Raises:
        ConfigError: A setting is missing or cannot work.
    """
    user_sig = settings.get("tencent.user_sig")
    places = [settings.values[name] for name in ("tencent.region", "tencent.base_url")]
    if all(one.text for one in places):
        hint = f"leave one of them out: {' or '.join(one.origin for one in places)}"
        raise ConfigError("the region and the address of the Tencent IM API exclude each other", hint=hint)
    return TencentIM(
        sdkappid=check_sdkappid(settings.need("tencent.sdkappid")),
        identifier=settings.need("tencent.identifier"),
        secret_key=None if user_sig else settings.need("tencent.secret_key"),
        user_sig=user_sig,
        region=settings.get("tencent.region"),
        base_url=settings.get("tencent.base_url"),
        service=service,
        rate=rate,
        timeout=options.timeout,
        stall_timeout=options.stall_timeout,
        concurrency=options.concurrency,
        retries=options.retries,
        on_event=on_event,
    )


def fetch_tags(
    accounts: Annotated[
        str,
        Parameter(
            converter=read_input,
            allow_leading_hyphen=True,
            help="A text file with one account a line, - for standard input, FILE.csv:COLUMN,"
            " FILE.jsonl:FIELD or FILE.parquet:COLUMN.",
        ),
    ],
    /,
    *,
    rate: RateText = "100/s",
    service: Service = "all_member_push",
    ordered: Ordered = False,
    if_exists: Exists = "error",
    options: FetchOptions = FetchOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Look up the tags of accounts."""

    def plan(settings: Settings, on_event: Emit, streams: Streams | None) -> Work:
        client = open_client(settings, options, on_event, service=service, rate=rate)
        if streams is not None:
            lines = open_source(accounts)
            return Work(
                client,
                lambda: client.pipe_tags(lines, *streams, ordered=ordered, deadline=options.deadline),
            )
        output = options.output or Path(f"{KIND}.jsonl")
        target, resume = Target.of(output), not options.no_resume
        target.check_tools()
        # An unfinished fetch has its input on disk.
        source = open_source(accounts, may_be_gone=resume and target.ledger.exists())
        return Work(
            client,
            lambda: client.fetch_tags(
                source,
                output,
                ordered=ordered,
                deadline=options.deadline,
                if_exists=if_exists,
                resume=resume,
            ),
        )

    return run_fetch(plan, options, invocation, source=accounts)


def retry_tags(
    dead_letters: Annotated[
        Path, Parameter(converter=read_path, help="What failed in a fetch, NAME.dead.jsonl.")
    ],
    /,
    *,
    rate: RateText = "100/s",
    service: Service = "all_member_push",
    ordered: Ordered = False,
    options: RetryOptions = RetryOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Ask again for dead letters."""
    if str(options.output) == "-":
        msg = "answers of a retry are merged into a file, not written to standard output"
        raise ConfigError(msg, hint="leave --output out, or name the output that the dead letters came from")

    def plan(settings: Settings, on_event: Emit, _: Streams | None) -> Work:
        client = open_client(settings, options, on_event, service=service, rate=rate)
        return Work(
            client,
            lambda: client.retry_tags(
                dead_letters,
                output=options.output,
                ordered=ordered,
                deadline=options.deadline,
                resume=not options.no_resume,
            ),
        )

    return run_fetch(plan, options, invocation)
