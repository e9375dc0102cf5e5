"""A fetch whose output is a table: lines on the way, Parquet at the end."""

import os
import sys
from contextlib import suppress

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagferry.errors import ConfigError, RecordError, RefusedError
from tagferry.events import Converting
from tagferry.lookups import fetch as fetch_module
from tagferry.lookups import parquet as module
from tagferry.lookups import workplace
from tagferry.lookups.target import Target
from tagferry.rows import convert as convert_module
from tests.lookups.fetches import Memory, aside, names_in, refuse_after
from tests.rows.conftest import pools  # noqa: F401  # a fixture

pytestmark = pytest.mark.anyio

ACCOUNTS = [*(f"用户{number}" for number in range(60)), "ghost1", "ghost2", "bad1", "bad2"]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "tags.parquet"


def mended():
    memory = Memory()
    memory.fails = lambda _: False
    return memory


def read(output):
    rows = pq.read_table(output).to_pylist()
    answers = {row["account"]: None if row["tags"] is None else tuple(row["tags"]) for row in rows}
    assert len(answers) == len(rows), "an account is in the output twice"
    return answers


async def test_the_output_is_a_table_with_a_list_of_tags(output):
    memory = Memory()
    report = await memory.fetch(ACCOUNTS, output)
    assert (report.output, report.tagged, report.missing, report.failed) == (output, 60, 2, 2)
    assert names_in(output.parent) == {"tags.parquet", "tags.dead.jsonl"}
    assert read(output) == Memory.truth_of(ACCOUNTS)
    assert pq.read_schema(output).equals(
        pa.schema([pa.field("account", pa.string()), pa.field("tags", pa.list_(pa.string()))])
    )
    assert memory.of(Converting) == [Converting(output=str(output))]


async def test_duckdb_and_polars_read_it(output):
    await Memory().fetch(ACCOUNTS, output)
    wanted = Memory.truth_of(ACCOUNTS)
    rows = aside(lambda: duckdb.sql(f"select account, tags from '{output}'").fetchall())
    assert {account: tags and tuple(tags) for account, tags in rows} == wanted
    frame = aside(pl.read_parquet, output)
    assert {account: tags and tuple(tags) for account, tags in frame.rows()} == wanted


async def test_no_accounts_are_a_table_without_rows(output):
    await Memory().fetch([], output)
    assert pq.read_table(output).num_rows == 0
    assert pq.read_schema(output).names == ["account", "tags"]


async def test_an_interrupted_fetch_goes_on_at_its_lines(output):
    with pytest.raises(RefusedError):
        await Memory(before=refuse_after(3)).fetch(ACCOUNTS, output)
    assert {"tags.parquet.part", "tags.parquet.ledger"} <= names_in(output.parent)
    memory = Memory()
    await memory.fetch(ACCOUNTS, output)
    assert memory.calls <= 5
    assert read(output) == Memory.truth_of(ACCOUNTS)


@pytest.mark.parametrize("resume", [True, False])
async def test_a_run_that_was_ended_while_it_made_the_table(output, monkeypatch, resume):
    class EndError(Exception):
        pass

    def end(*_, **__):
        raise EndError

    with monkeypatch.context() as patch:
        patch.setattr(convert_module, "place_file", end)
        with pytest.raises(EndError):
            await Memory().fetch(ACCOUNTS, output)
    # What a process that was killed leaves is not swept by itself.
    (output.parent / "tags.parquet.table.0a1b2c3d.tmp").write_bytes(b"PAR1")
    memory = Memory()
    await memory.fetch(ACCOUNTS, output, resume=resume)
    assert memory.calls == (0 if resume else 7)
    assert read(output) == Memory.truth_of(ACCOUNTS)
    assert names_in(output.parent) == {"tags.parquet", "tags.dead.jsonl"}


class CrashError(BaseException):
    pass


def crash_at(patch, at):
    """Let a run end at one of the steps behind its last answer."""
    steps = []

    def wrap(call):
        def step(*args, **options):
            steps.append(call.__name__)
            if len(steps) >= at:
                raise CrashError
            return call(*args, **options)

        return step

    async def begin(*args):
        for name in ("link", "unlink", "rename", "replace"):
            patch.setattr(os, name, wrap(getattr(os, name)))
        patch.setattr(workplace, "sync_directory", wrap(workplace.sync_directory))
        patch.setattr(convert_module, "sync_directory", wrap(convert_module.sync_directory))
        patch.setattr(workplace.Ledger, "put", wrap(workplace.Ledger.put))
        patch.setattr(workplace.Ledger, "remove", wrap(workplace.Ledger.remove))
        await module.make_table(*args)

    patch.setattr(fetch_module, "make_table", begin)
    return steps


async def test_a_crash_at_any_step_of_the_end_ends_right_in_the_next_run(tmp_path, monkeypatch):
    at = 0
    while True:
        at += 1
        output = tmp_path / f"{at}" / "tags.parquet"
        with monkeypatch.context() as patch:
            steps = crash_at(patch, at)
            with suppress(CrashError):
                await Memory().fetch(ACCOUNTS, output)
        memory = Memory()
        if len(steps) < at:
            break
        # The very last step may have been done before.
        await memory.fetch(
            ACCOUNTS, output, if_exists="error" if Target.of(output).ledger.exists() else "skip"
        )
        assert memory.calls == 0
        assert read(output) == Memory.truth_of(ACCOUNTS)
        assert names_in(output.parent) == {"tags.parquet", "tags.dead.jsonl"}
    assert at > 8


async def test_a_retry_is_merged_into_the_table(output):
    await Memory().fetch(ACCOUNTS, output)
    report = await mended().retry(output.with_name("tags.dead.jsonl"))
    assert (report.output, report.tagged, report.failed) == (output, 2, 0)
    assert read(output) == Memory.answers_to(ACCOUNTS)
    assert names_in(output.parent) == {"tags.parquet"}


async def test_an_output_that_is_there(output):
    await Memory().fetch(ACCOUNTS, output)
    with pytest.raises(ConfigError, match="already there"):
        await Memory().fetch(ACCOUNTS, output)
    assert (await Memory().fetch(ACCOUNTS, output, if_exists="skip")).state == "skipped"
    await Memory().fetch(["用户1"], output, if_exists="replace")
    assert read(output) == Memory.answers_to(["用户1"])


@pytest.mark.parametrize("kind", ["no table", "other columns"])
async def test_a_retry_into_something_else_is_refused(output, kind):
    await Memory().fetch(ACCOUNTS, output)
    if kind == "no table":
        output.write_bytes(b"account,tags\n")
    else:
        aside(pq.write_table, pa.table({"account": [1], "tags": ["x"]}), output)
    before = output.read_bytes()
    with pytest.raises(RecordError, match="is not what a fetch wrote"):
        await mended().retry(output.with_name("tags.dead.jsonl"))
    assert output.read_bytes() == before
    assert names_in(output.parent) == {"tags.parquet", "tags.dead.jsonl"}


async def test_without_pyarrow_nothing_is_asked_or_written(output, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    memory = Memory()
    with pytest.raises(ConfigError) as caught:
        await memory.fetch(ACCOUNTS, output)
    assert caught.value.hint == "install the extra: pip install 'tagferry[parquet]'"
    assert memory.calls == 0
    assert not output.parent.exists()
