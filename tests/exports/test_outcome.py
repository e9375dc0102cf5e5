"""How an export ended, as a value."""

import pickle
from pathlib import Path

import pytest

from tagferry.errors import DiskError
from tagferry.exports.outcome import ExportDone, ExportFailed, SavedFile


def test_outcomes_are_values_that_match_and_compare():
    file = SavedFile(Path("out/a.csv"), 3, "ab")
    done = ExportDone("export", (file,))  # type: ignore[arg-type]
    assert done.state == "done"
    assert done == ExportDone("export", (file,))  # type: ignore[arg-type]
    match done:
        case ExportDone(export=export, files=(SavedFile(path=path, size=3, sha256="ab"),)):
            assert (export, path.name) == ("export", "a.csv")
        case _:
            pytest.fail("no match")
    assert pickle.loads(pickle.dumps(file)) == file


def test_an_outcome_shows_what_it_is():
    failed = ExportFailed("export", DiskError("full", code="ENOSPC"))  # type: ignore[arg-type]
    assert "full" in repr(failed)
    assert "a.csv" in repr(SavedFile(Path("a.csv"), 3, "ab"))
