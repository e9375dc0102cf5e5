"""What type checkers must say of the public names; never run, only checked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, assert_never, assert_type

import aiohttp

import tagferry
from tagferry.events import Event, Polled, Progress


async def provide() -> str:
    return "token"


def listen(event: Event) -> None:
    if isinstance(event, Polled):
        assert_type(event.delay, float | None)
    if isinstance(event, Progress):
        assert_type(event.total, int | None)


async def clients(session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
    tagferry.GrowingIO(token="t")
    tagferry.GrowingIO(
        token=provide,
        base_url="https://www.growingio.com",
        client_id="key",
        rate="2/s",
        timeout=30,
        stall_timeout=30.0,
        retries=8,
        session=session,
        ssl=context,
        proxy="http://proxy.example.com:3128",
        on_event=listen,
    )
    tagferry.GrowingIO("t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tagferry.GrowingIO()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tagferry.GrowingIO(token=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def exports() -> None:
    async with tagferry.GrowingIO(token="t") as gio:
        assert_type(gio, tagferry.GrowingIO)
        tag = gio.tag_users("nxog09md", "5rREn4PL", expire_minutes=60)
        segment = gio.segment_users("nxog09md", "nP2lpkX9", expire_minutes=60, parameters=["open_id", "role"])
        assert_type(tag, tagferry.Export)
        assert_type(segment, tagferry.Export)
        assert_type(tag.kind, str)

        ready = await tag.wait(deadline=1800)
        assert_type(ready, tagferry.Ready)
        assert_type(ready.job_id, str | None)
        assert_type(ready.links, tuple[str, ...])
        await tag.wait(deadline=None)

        files = await tag.download("out")
        assert_type(files, tuple[tagferry.SavedFile, ...])
        assert_type(files[0].path, Path)
        assert_type(files[0].size, int)
        assert_type(files[0].sha256, str)
        await tag.download(Path("out"), deadline=None, if_exists="skip", resume=False)
        await tag.download("out", if_exists="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def many(tag: tagferry.Export, segment: tagferry.Export) -> None:
    async with tagferry.download_all([tag, segment], "out", concurrency=8) as outcomes:
        assert_type(outcomes, AsyncIterator[tagferry.ExportDone | tagferry.ExportFailed])
        async for outcome in outcomes:
            match outcome:
                case tagferry.ExportDone(export=export, files=files):
                    assert_type(export, tagferry.Export)
                    assert_type(files, tuple[tagferry.SavedFile, ...])
                    assert_type(outcome.state, Literal["done", "empty", "skipped"])
                case tagferry.ExportFailed(export=export, error=error):
                    assert_type(export, tagferry.Export)
                    assert_type(error, tagferry.TagferryError)
                case _:
                    assert_never(outcome)


def errors(error: tagferry.TagferryError) -> None:
    assert_type(error.message, str)
    assert_type(error.service, str | None)
    assert_type(error.code, int | str | None)
    assert_type(error.hint, str | None)
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    as_value: ValueError = tagferry.ConfigError("m")
    as_value = tagferry.RecordError("m")
    as_os: OSError = tagferry.DiskError("m")
    as_timeout: TimeoutError = tagferry.DeadlineError("m")
    del as_value, as_os, as_timeout
