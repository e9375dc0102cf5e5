import asyncio
import gc
import gzip

import anyio
import msgspec
import pytest

from tagferry.errors import ConfigError, DiskError, IntegrityError, RecordError
from tagferry.rows.cdp import CDPRow
from tagferry.rows.reader import read_rows
from tagferry.rows.source import Source
from tests.standing import open_files

pytestmark = pytest.mark.anyio


class User(msgspec.Struct):
    id: int
    name: str


def csv_file(path, count, *, begin=0):
    path.write_text(
        "id,name\n" + "".join(f'"{i}","渠道 {i}"\n' for i in range(begin, begin + count)), "utf-8"
    )
    return path


def users(count, begin=0):
    return [User(i, f"渠道 {i}") for i in range(begin, begin + count)]


async def collect(rows):
    """Return the rows before an error, and it."""
    found = []
    try:
        async for one in rows:
            found += one if isinstance(one, list) else [one]
    except RecordError as error:
        return found, error
    return found, None


async def test_rows_come_one_by_one_and_in_batches(tmp_path):
    path = csv_file(tmp_path / "x.csv", 25_000)
    assert [row async for row in read_rows(path, User)] == users(25_000)
    batches = [batch async for batch in read_rows(str(path), User).batches(10_000)]
    assert list(map(len, batches)) == [10_000, 10_000, 5_000]
    assert [row for batch in batches for row in batch] == users(25_000)


async def test_without_a_type_rows_are_dicts(tmp_path):
    path = csv_file(tmp_path / "x.csv", 2)
    assert [row async for row in read_rows(path)] == [
        {"id": "0", "name": "渠道 0"},
        {"id": "1", "name": "渠道 1"},
    ]
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"gio_id":1}\n')
    assert [row async for row in read_rows(lines)] == [{"gio_id": 1}]
    assert [row async for row in read_rows(lines, CDPRow)] == [CDPRow("1")]


async def test_parts_are_read_in_order_with_one_header(tmp_path):
    parts = [csv_file(tmp_path / f"{i}.csv", 3000, begin=3000 * i) for i in range(3)]
    parts[1].write_bytes(gzip.compress(parts[1].read_bytes()))
    assert [row async for row in read_rows(parts, User)] == users(9000)
    parts[2].write_text("name,id\nx,1\n")
    found, error = await collect(read_rows(parts, User))
    assert "2.csv, line 1: the header is not that of the first file" in str(error)
    assert found == users(6000)


async def test_rows_before_a_bad_one_come_first_also_in_batches(tmp_path):
    path = csv_file(tmp_path / "x.csv", 100)
    path.write_bytes(path.read_bytes() + b"oops,1\n")
    for rows in (read_rows(path, User), read_rows(path, User).batches(30)):
        found, error = await collect(rows)
        assert "x.csv, line 102, column id: expected `int`" in str(error)
        assert found == users(100)


async def test_bad_rows_are_collected(tmp_path):
    path = csv_file(tmp_path / "x.csv", 2)
    path.write_bytes(path.read_bytes() + b"oops,1\n2\n")
    rows = read_rows(path, User, on_error="collect")
    assert [row async for row in rows] == users(2)
    assert [vars(error)["line"] for error in rows.errors] == [4, 5]
    assert rows.error_count == 2
    skipping = read_rows(path, User, on_error="skip")
    assert [row async for row in skipping] == users(2)
    assert (list(skipping.errors), skipping.error_count) == ([], 2)


async def test_a_cut_file_is_an_error_whatever_is_done_about_bad_rows(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"id,name\n" + b"1,x\n" * 50_000)[:-20])
    for on_error in ("raise", "skip", "collect"):
        with pytest.raises(IntegrityError, match="is cut"):
            [row async for row in read_rows(path, User, on_error=on_error)]


async def test_no_file_is_left_open(tmp_path):
    path = csv_file(tmp_path / "x.csv", 100_000)
    async with read_rows(path, User) as rows:
        async for _ in rows:
            assert str(path) in open_files()
            break
    assert str(path) not in open_files()
    async with read_rows(path, User) as rows:
        async for _ in rows.batches(10):
            break
    assert str(path) not in open_files()
    async for _ in read_rows(path, User):
        pass
    assert str(path) not in open_files()


async def test_a_loop_that_is_left_lets_its_file_go_with_the_rows(tmp_path):
    path = csv_file(tmp_path / "x.csv", 100_000)
    async for _ in read_rows(path, User):
        break
    gc.collect()
    while str(path) in open_files():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("how", ["rows", "batches"])
async def test_a_cancelled_loop_closes_its_file(tmp_path, how, monkeypatch):
    path = csv_file(tmp_path / "x.csv", 100_000)
    begun = asyncio.Event()
    decode = Source.decode

    def seen_decode(self):
        begun.set()
        return decode(self)

    monkeypatch.setattr(Source, "decode", seen_decode)

    async def consume():
        rows = read_rows(path, User)
        async for _ in rows if how == "rows" else rows.batches(1_000_000):
            pass

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert str(path) not in open_files()


async def test_a_time_out_leaves_closed_rows(tmp_path):
    path = csv_file(tmp_path / "x.csv", 100_000)
    rows = read_rows(path, User)
    with anyio.move_on_after(10) as scope:
        async for _ in rows.batches():
            scope.cancel()
    assert scope.cancelled_caught
    assert str(path) not in open_files()
    with pytest.raises(ConfigError, match="these rows were read or closed"):
        aiter(rows)


async def test_rows_are_read_once(tmp_path):
    path = csv_file(tmp_path / "x.csv", 10)
    rows = read_rows(path, User)
    assert await anext(rows) == User(0, "渠道 0")
    with pytest.raises(ConfigError, match="being read, by another loop"):
        await anext(rows.batches())
    assert len([row async for row in rows]) == 9
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
    with pytest.raises(ConfigError, match="call read_rows again"):
        aiter(rows)
    closed = read_rows(path, User)
    await closed.aclose()
    with pytest.raises(ConfigError, match="call read_rows again"):
        await anext(closed)


async def test_files_closed_while_they_are_read_end_in_an_error(tmp_path):
    path = csv_file(tmp_path / "x.csv", 100_000)
    rows = read_rows(path, User)
    batches = rows.batches(10)
    await anext(batches)
    await rows.aclose()
    with pytest.raises(ConfigError, match="these rows are closed"):
        async for _ in batches:
            pass


async def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DiskError, match=r"cannot read .*missing\.csv: No such file") as caught:
        [row async for row in read_rows(tmp_path / "missing.csv")]
    assert caught.value.code == "ENOENT"
    with pytest.raises(DiskError, match="Is a directory"):
        [row async for row in read_rows(tmp_path)]


async def test_arguments_are_checked_before_anything_is_opened():
    with pytest.raises(ConfigError, match="there is no file to read"):
        read_rows([])
    with pytest.raises(ConfigError, match="dialect is 'x'"):
        read_rows("x", dialect="x")
    with pytest.raises(ConfigError, match="on_error is 'x'"):
        read_rows("x", on_error="x")
    with pytest.raises(ConfigError, match="a batch cannot have 0 rows"):
        read_rows("x").batches(0)


async def test_files_without_rows_are_read(tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    header = tmp_path / "header.csv"
    header.write_bytes(b"id,name\n")
    assert [row async for row in read_rows([empty, header, csv_file(tmp_path / "x.csv", 1)], User)] == users(
        1
    )
    assert [batch async for batch in read_rows(empty).batches()] == []


async def test_readers_take_turns(tmp_path):
    paths = [csv_file(tmp_path / f"{i}.csv", 20_000, begin=i) for i in range(8)]

    async def count(path):
        return sum([len(batch) async for batch in read_rows(path, User).batches(1000)])

    assert await asyncio.gather(*map(count, paths)) == [20_000] * 8
