from pathlib import Path

import pytest

from tagferry.rows.file_name import output_name, split_name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.csv", ("x", None, ".csv")),
        ("x-00003.csv.gz", ("x", 3, ".csv")),
        ("用户.JSONL.GZ", ("用户", None, ".jsonl")),
        ("x.gz", ("x", None, "")),
        ("x", ("x", None, "")),
        ("x.v2", ("x.v2", None, "")),
        ("x-123.csv", ("x-123", None, ".csv")),
        ("x-00001-00002.tsv", ("x-00001", 2, ".tsv")),
    ],
)
def test_what_a_name_says(name, said):
    assert split_name(name) == said


@pytest.mark.parametrize(
    ("names", "output"),
    [
        (["x.csv.gz"], "x.parquet"),
        (["x-00007.csv"], "x-00007.parquet"),
        (["x-00001.csv", "x-00002.csv"], "x.parquet"),
        (["a.jsonl", "b.jsonl"], "a.parquet"),
    ],
)
def test_the_name_of_what_is_made(names, output):
    assert output_name([Path("out", name) for name in names], "parquet") == output
