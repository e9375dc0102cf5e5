"""However large a file is, it takes the same memory."""

import gzip
import subprocess
import sys

import pytest

MB = 1_000_000
SCRIPT = """
import asyncio, re, sys
from pathlib import Path

import msgspec
from tagferry.rows.convert import convert
from tagferry.rows.reader import read_rows

class User(msgspec.Struct):
    id: str
    role: str | None
    age: int

async def main(path, how):
    if how == "rows":
        async for _ in read_rows(path, User):
            pass
    elif how == "batches":
        async for _ in read_rows(path).batches():
            pass
    else:
        await convert(path, how, output=path.with_name("out"), replace=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
print(re.search(r"VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
"""
"""Prints the peak of its memory in kB. What `getrusage` says would include that of this process."""
CSV = '"id","role","age"\n', '"u%08d","渠道评估","%d"\n', '"u%08d",,"%d"\n'
LINES = "", '{"id":"u%08d","role":"渠道评估","age":%d}\n', '{"id":"u%08d","role":null,"age":"%d"}\n'

ROOM = 8_000
"""How many kB more a large file may take: some blocks of bytes lie elsewhere than before."""


def write(path, size):
    """Write a file of the kind that its name says; one of gzip has so many bytes inside."""
    head, *forms = CSV if ".csv" in path.name else LINES
    body = "".join(forms[number % 7 == 0] % (number, number % 90) for number in range(20_000)).encode()
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as file:
        file.write(head.encode())
        for _ in range(-(-size // len(body))):
            file.write(body)


def peak(path, how):
    command = [sys.executable, "-c", SCRIPT, path, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for size in (10 * MB, 40 * MB):
        write(tmp_path / "x.csv", size)
        peaks.append(peak(tmp_path / "x.csv", "rows"))
    assert peaks[1] < peaks[0] + ROOM


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.csv.gz"])
@pytest.mark.parametrize("how", ["rows", "batches", "parquet", "csv", "jsonl"])
def test_memory_is_flat_from_ten_megabytes_to_two_gigabytes(tmp_path, name, how):
    peaks = {}
    for size in (10 * MB, 2000 * MB):
        write(tmp_path / name, size)
        peaks[size] = peak(tmp_path / name, how)
    print({"file": name, "how": how, "kB": peaks})
    assert peaks[2000 * MB] < peaks[10 * MB] + ROOM
