import csv
import hashlib
import io
import random
import tracemalloc

import pytest

from tagferry.emulator import Emulator, Settings
from tagferry.emulator.audience import CELLS, make_parts


def source(rows, *columns, key="k"):
    (only,) = make_parts(key, ("user_id", *columns), rows)
    return only


def decode(data: bytes):
    text = io.StringIO(data.decode(), newline="")
    return list(csv.reader(text, doublequote=False, escapechar="\\", strict=True))


@pytest.mark.parametrize("rows", [0, 1, 23, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("columns", [(), ("tag_value",), ("open_id", "role")])
def test_csv_reads_back_as_the_rows(rows, columns):
    file = source(rows, *columns)
    header, *body = decode(file.bytes())
    assert header == ["user_id", *columns]
    assert len(body) == rows == file.rows
    assert all(tuple(cells) == file.row(index) for index, cells in enumerate(body))
    assert len({cells[0] for cells in body}) == rows
    assert file.size == len(file.bytes())
    assert file.sha256 == hashlib.sha256(file.bytes()).hexdigest()
    assert file.md5 == hashlib.md5(file.bytes()).hexdigest()


def test_a_small_audience_has_every_awkward_cell():
    file = source(len(CELLS), "tag_value")
    assert {file.row(index)[1] for index in range(file.rows)} == set(CELLS)


@pytest.mark.parametrize("rows", [0, 3, 1000, 3333])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("repeat", [True, False])
def test_any_slice_is_that_slice_of_the_whole(rows, parts, repeat):
    chance = random.Random(f"{rows}{parts}{repeat}")
    files = make_parts("k", ("user_id", "tag_value"), rows, parts=parts, repeat_header=repeat)
    for file in files:
        whole = file.bytes()
        for _ in range(40):
            start, stop = sorted(chance.randrange(len(whole) + 2) for _ in "ab")
            assert file.slice(start, stop) == whole[start:stop]
    header = b"user_id,tag_value\n"
    bodies = [file.bytes().removeprefix(header) for file in files]
    assert b"".join([header, *bodies]) == source(rows, "tag_value").bytes()
    headed = sum(file.bytes().startswith(header) for file in files)
    assert headed == (parts if repeat else 1)


def test_the_same_today_and_tomorrow():
    file = Emulator(Settings(seed=7)).source("growingio-tag", "nxog09md", "5rREn4PL")
    assert (file.size, file.rows) == (26431, 1000)
    assert file.sha256 == "eb389b94c3197ef8ec54e6e8f1d4ea033087994954c137e276f6396aa105fb3c"


def test_other_ids_seeds_and_parameters_are_other_files():
    one, two = Emulator(Settings(seed=1)), Emulator(Settings(seed=2))
    files = [
        one.source("growingio-tag", "nxog09md", "5rREn4PL"),
        two.source("growingio-tag", "nxog09md", "5rREn4PL"),
        one.source("growingio-tag", "nxog09md", "5rREn4PM"),
        one.source("growingio-segment", "nxog09md", "5rREn4PL"),
        one.source("growingio-segment", "nxog09md", "5rREn4PL", ["role"]),
        *one.sources("growingio-tag", "nxog09md", "5rREn4PL", version=1),
    ]
    assert len({file.sha256 for file in files}) == len({file.etag for file in files}) == len(files)


def test_ten_gibibytes_are_not_held():
    tracemalloc.start()
    file = source(400_000_000, "tag_value")
    assert file.size > 10 << 30
    assert decode(file.slice(file.size - 4000, file.size).split(b"\nu", 1)[1])[-1] == list(
        file.row(file.rows - 1)
    )
    for start in (0, 1 << 32, file.size - 100_000):
        both = file.slice(start, start + 70_000)
        assert both[1000:] == file.slice(start + 1000, start + 70_000)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_open_is_a_seekable_stream():
    file = source(2000, "tag_value")
    with file.open() as stream:
        assert stream.read() == file.bytes()
        stream.seek(-5, io.SEEK_END)
        assert stream.read() == file.bytes()[-5:]
        stream.seek(10)
        stream.seek(5, io.SEEK_CUR)
        assert stream.read(3) == file.bytes()[15:18]
    with io.TextIOWrapper(file.open(), newline="") as text:
        assert next(csv.reader(text)) == ["user_id", "tag_value"]


def test_rows_outside_are_refused():
    with pytest.raises(IndexError, match="no row 3 in a file of 3"):
        source(3).row(3)
