"""What type checkers must say of the public names; never run, only checked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_never, assert_type

import aiohttp
import msgspec

import tagferry
from tagferry.emulator import Arrival, Emulator, FaultQueue, Settings, serve_in_thread
from tagferry.events import Event, FetchPlanned, InsecureAddress, Polled, Progress, Submitted


async def provide() -> str:
    return "token"


def listen(event: Event) -> None:
    if isinstance(event, Polled):
        assert_type(event.delay, float | None)
    if isinstance(event, Progress):
        assert_type(event.total, int | None)
    if isinstance(event, Submitted):
        assert_type(event.job_id, str)
    if isinstance(event, InsecureAddress):
        assert_type(event.address, str)
    if isinstance(event, FetchPlanned):
        assert_type(event.seconds, float)


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


class User(msgspec.Struct):
    user_id: str


async def rows(tag: tagferry.Export) -> None:
    async with tag.rows(User, directory="out") as users:
        assert_type(users, tagferry.Rows[User])
        async for user in users:
            assert_type(user, User)
        async for batch in users.batches(10_000):
            assert_type(batch, list[User])
    async with tag.rows(directory=Path("out"), if_exists="skip", on_error="collect", resume=False) as plain:
        assert_type(plain, tagferry.Rows[dict[str, Any]])
        assert_type(plain.errors, Sequence[tagferry.RecordError])
        assert_type(plain.error_count, int)
    async with tag.rows(tagferry.CDPRow, directory="out", deadline=None) as cdp_rows:
        assert_type((await anext(cdp_rows)).gio_id, str)
    tag.rows(User)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    tag.rows(User, directory="out", on_error="ignore")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

    assert_type(tagferry.read_rows("x.csv", User), tagferry.Rows[User])
    assert_type(tagferry.read_rows("x.csv", dialect="saas"), tagferry.Rows[dict[str, str | None]])
    assert_type(tagferry.read_rows(["x-00001.csv", Path("x-00002.csv")]), tagferry.Rows[dict[str, Any]])
    done = await tagferry.convert("x.csv", "parquet", output=Path("x.parquet"), replace=True)
    assert_type(done, tagferry.Converted)
    assert_type((done.path, done.size, done.rows, done.skipped), tuple[Path, int, int, int])
    await tagferry.convert("x.csv", "xlsx")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


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


async def cdp_clients(session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
    tagferry.GrowingIOCDP(base_url="http://cdp.example.com", token="t")
    tagferry.GrowingIOCDP(
        base_url="http://cdp.example.com",
        token=provide,
        scheme="Token",
        language="US",
        download_url="http://files.example.com",
        rate="5/s",
        max_jobs=100,
        timeout=30,
        stall_timeout=30.0,
        retries=8,
        session=session,
        ssl=context,
        proxy="http://proxy.example.com:3128",
        on_event=listen,
    )
    tagferry.GrowingIOCDP("http://h", "t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tagferry.GrowingIOCDP(token="t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tagferry.GrowingIOCDP(base_url="http://h", token="t", max_jobs="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def cdp_jobs() -> None:
    async with tagferry.GrowingIOCDP(base_url="http://cdp.example.com", token="t") as cdp:
        assert_type(cdp, tagferry.GrowingIOCDP)
        tag = cdp.tag_users(
            "tag_rfm",
            properties=["id_$basic_userId", "usr_gender"],
            file_format="json",
            csv_header="key",
            project=None,
            space=None,
        )
        segment = cdp.segment_users("seg_51activity", project="WlGk4Daj", properties=("usr_gender",))
        assert_type(tag, tagferry.Export)
        assert_type(segment, tagferry.Export)
        cdp.segment_users("seg_51activity")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        cdp.tag_users("tag_rfm", file_format="parquet")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        cdp.tag_users("tag_rfm", csv_header="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        job = await tag.submit()
        assert_type(job, tagferry.Job)
        assert_type(job.id, str | None)
        again = cdp.attach("kqQeWeGr", tag)
        assert_type(again, tagferry.Export)
        cdp.attach(5, tag)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ready = await again.wait(deadline=None)
        assert_type(ready.job_id, str | None)
        assert_type(await again.download("out", resume=False), tuple[tagferry.SavedFile, ...])
    unknown: tagferry.TagferryError = tagferry.SubmitUnknownError("m")
    del unknown


async def later() -> AsyncIterator[str]:
    yield "xiaojun012"


async def look_up_clients(session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
    tagferry.TencentIM(sdkappid=1400000000, identifier="admin", secret_key="k")
    tagferry.TencentIM(sdkappid=1400000000, identifier="admin", user_sig="s", region="singapore")
    tagferry.TencentIM(
        sdkappid=1400000000,
        identifier="admin",
        user_sig=provide,
        base_url="https://console.tim.qq.com",
        service="timpush",
        rate="79/s",
        timeout=10,
        concurrency=100,
        retries=8,
        codes={90999: "retry"},
        session=session,
        ssl=context,
        proxy="http://proxy.example.com:3128",
        on_event=listen,
    )
    tagferry.TencentIM(1400000000, "admin")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tagferry.TencentIM(sdkappid=1, identifier="a", secret_key=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def look_ups() -> None:
    async with tagferry.TencentIM(sdkappid=1400000000, identifier="admin", secret_key="k") as im:
        assert_type(im, tagferry.TencentIM)
        result = await im.get_tags(["xiaojun012", "xiaojun013"])
        assert_type(result, tagferry.TagResult)
        assert_type(result.tags, Mapping[str, tuple[str, ...]])
        assert_type(result.missing, frozenset[str])
        assert_type(result.failed, Mapping[str, tagferry.AccountError])
        assert_type(result.failed["x"].code, int | str | None)
        assert_type(result.failed["x"].message, str)
        await im.get_tags(later())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        async with im.stream_tags(later(), ordered=True) as users:
            assert_type(users, AsyncIterator[tagferry.Tagged | tagferry.Missing | tagferry.AccountFailed])
            async for user in users:
                assert_type(user.account, str)
                match user:
                    case tagferry.Tagged(account=account, tags=tags):
                        assert_type(account, str)
                        assert_type(tags, tuple[str, ...])
                    case tagferry.Missing():
                        assert_type(user.tags, None)
                    case tagferry.AccountFailed(error=error):
                        assert_type(error, tagferry.AccountError)
                    case _:
                        assert_never(user)
        async with im.stream_tags([5]) as _:  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
            pass

        report = await im.fetch_tags(later(), "tags.jsonl")
        assert_type(report, tagferry.FetchReport)
        assert_type(report.state, Literal["done", "skipped"])
        assert_type(report.output, Path | None)
        assert_type(report.dead_letters, Path | None)
        assert_type(report.seconds, float)
        counts = (report.accounts, report.distinct, report.tagged, report.missing, report.failed)
        assert_type(counts, tuple[int, int, int, int, int])
        await im.fetch_tags(
            ["a"], Path("tags.csv"), ordered=True, deadline=None, if_exists="skip", resume=False
        )
        await im.fetch_tags(["a"], "x.csv", if_exists="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(await im.retry_tags("tags.dead.jsonl"), tagferry.FetchReport)


def emulated(tagferry_emulator: Emulator) -> None:
    assert_type(tagferry_emulator.base_url, str)
    assert_type(tagferry_emulator.environment, dict[str, str])
    assert_type(tagferry_emulator.seen.counts["growingio-saas.poll"], int)
    assert_type(tagferry_emulator.seen.of("growingio-saas.download"), list[Arrival])
    assert_type(tagferry_emulator.faults, FaultQueue)
    assert_type(tagferry_emulator.faults.all_used, bool)
    source = tagferry_emulator.source("growingio-segment", "nxog09md", "nP2lpkX9", ["open_id"])
    assert_type(source.row(0), tuple[str | None, ...])
    assert_type(source.sha256, str)
    with serve_in_thread(Settings(job_seconds=0, rows=5)) as emulator:
        assert_type(emulator, Emulator)
    assert_type(tagferry.emulator.tags_of("ming"), list[str] | None)


def errors(error: tagferry.TagferryError) -> None:
    assert_type(error.message, str)
    assert_type(error.service, str | None)
    assert_type(error.code, int | str | None)
    assert_type(error.hint, str | None)
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    record = tagferry.RecordError("m", file=Path("x.csv"), line=2, column="c", value="v", hint="h")
    assert_type((record.file, record.line), tuple[Path | None, int | None])
    assert_type((record.column, record.value), tuple[str | None, str | None])
    as_value: ValueError = tagferry.ConfigError("m")
    as_value = tagferry.RecordError("m")
    as_os: OSError = tagferry.DiskError("m")
    as_timeout: TimeoutError = tagferry.DeadlineError("m")
    del as_value, as_os, as_timeout
