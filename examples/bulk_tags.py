"""Look up the tags of all accounts in a text file and tell how far it is: bulk_tags.py ACCOUNTS OUTPUT."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import tagferry
from tagferry.events import Event, Fetching, FetchPlanned


def read(path: str) -> Iterator[str]:
    with Path(path).open(encoding="utf-8") as lines:
        yield from filter(None, map(str.strip, lines))


def show(event: Event) -> None:
    if isinstance(event, FetchPlanned):
        print(f"{event.left} accounts to go, at least {event.seconds:.0f} s", file=sys.stderr)
    if isinstance(event, Fetching):
        print(f"{event.tagged + event.missing + event.failed} of {event.distinct}", file=sys.stderr)


async def main(accounts: str, output: str) -> None:
    async with tagferry.TencentIM(
        sdkappid=int(os.environ["TAGFERRY_TENCENT_SDKAPPID"]),
        identifier=os.environ["TAGFERRY_TENCENT_IDENTIFIER"],
        secret_key=os.environ["TAGFERRY_TENCENT_SECRET_KEY"],
        base_url=os.environ.get("TAGFERRY_TENCENT_BASE_URL"),
        rate="79/s",
        on_event=show,
    ) as im:
        report = await im.fetch_tags(read(accounts), output, if_exists="skip")
    print(report.state, report.tagged, report.missing, report.failed, report.dead_letters)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
