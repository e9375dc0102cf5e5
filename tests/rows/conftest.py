import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest


@pytest.fixture(scope="session", autouse=True)
def pools(tmp_path_factory):
    """Start the threads that these libraries keep for ever, so that they belong to no test."""
    path = tmp_path_factory.mktemp("pools") / "x.parquet"
    pa.csv.read_csv(pa.BufferReader(b"a\n1\n"))
    pl.DataFrame({"a": [1]}).write_parquet(path)
    assert pl.read_parquet(path).to_dicts() == [{"a": 1}]
    assert pl.read_csv(b"a\n1\n").height == 1
    assert duckdb.connect().execute(f"select a from '{path}'").fetchall() == [(1,)]
