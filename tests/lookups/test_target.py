from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from tagferry.errors import ConfigError, DiskError
from tagferry.lookups.target import Target, output_of


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target.of(tmp_path / "tags.jsonl")


def test_the_files_of_an_output():
    target = Target.of("out/tags.csv")
    assert target.form.name == "csv"
    assert target.output == Path("out/tags.csv")
    assert target.dead == Path("out/tags.dead.jsonl")
    assert target.part == Path("out/tags.csv.part")
    assert target.dead_part == Path("out/tags.csv.dead.part")
    assert target.spool == Path("out/tags.csv.accounts")
    assert target.ledger == Path("out/tags.csv.ledger")
    assert target.unfinished == (target.part, target.dead_part, target.spool)


def test_a_table_is_made_beside_its_lines():
    target = Target.of("out/tags.parquet")
    assert target.form.is_table
    assert target.part == Path("out/tags.parquet.part")
    assert target.table == Path("out/tags.parquet.table")
    assert target.unfinished == (target.part, target.table, target.dead_part, target.spool)


def test_without_pyarrow_a_table_is_refused_before_the_place_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError) as caught:
        Target.of(tmp_path / "file" / "tags.parquet").check("error")
    assert "pip install 'tagferry[parquet]'" in str(caught.value)
    assert Target.of(tmp_path / "tags.jsonl").check("error") is False


def test_outputs_of_one_name_share_no_unfinished_file():
    one, other = Target.of("tags.csv"), Target.of("tags.jsonl")
    assert not {*one.unfinished, one.ledger} & {*other.unfinished, other.ledger}


@pytest.mark.parametrize("name", ["tags", "tags.json", "tags.jsonl.gz", ""])
def test_an_output_of_no_known_format_is_refused(name):
    with pytest.raises(ConfigError, match="the output"):
        Target.of(name)


def test_an_empty_place_is_free(target):
    for choice in ("error", "skip", "replace"):
        assert target.check(choice) is False


def test_a_directory_that_can_be_made_is_free(tmp_path):
    assert Target.of(tmp_path / "a" / "b" / "tags.csv").check("error") is False
    assert list(tmp_path.iterdir()) == []


def test_another_word_for_what_exists_is_refused(target):
    with pytest.raises(ConfigError, match="if_exists is 'overwrite'"):
        target.check("overwrite")  # type: ignore[arg-type]


@pytest.mark.parametrize("there", [{"output"}, {"dead"}, {"output", "dead"}])
@pytest.mark.parametrize("choice", ["error", "skip", "replace"])
@pytest.mark.parametrize("ledger", [False, True])
def test_files_that_are_there(target, there, choice, ledger):
    for name in there:
        getattr(target, name).write_text("mine")
    if ledger:
        target.ledger.touch()
    verdict: object = (choice == "skip" and "output" in there) or "refused"
    if choice == "replace":
        verdict = False
    assert told(target.is_kept, choice) == verdict
    # An unfinished run may have put them there: that shows when its ledger is open.
    assert told(target.check, choice) == (False if ledger else verdict)


def told(ask: object, choice: str) -> object:
    assert callable(ask)
    try:
        return ask(choice)
    except ConfigError as error:
        return "refused" if error.message.endswith("is already there") and error.hint else error


@pytest.mark.parametrize("choice", ["error", "skip", "replace"])
@pytest.mark.parametrize("name", ["output", "dead"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "dead link"])
def test_what_is_no_file_is_refused(target, choice, name, kind):
    path = getattr(target, name)
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("nowhere")
    target.ledger.touch()
    with pytest.raises(ConfigError, match="is no plain file"):
        target.check(choice)


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no directory"):
        Target.of(tmp_path / "file" / "tags.csv").check("error")


def test_a_disk_that_does_not_answer_says_nothing_about_what_is_there(target, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", fail)
        with pytest.raises(DiskError) as caught:
            target.is_kept("error")
    assert caught.value.code == "EIO"


@pytest.mark.parametrize("name", ["tags.jsonl", "tags.csv", "tags.JSONL", "tags.Csv"])
def test_dead_letters_lead_to_their_output(tmp_path, name):
    target = Target.of(tmp_path / name)
    for other in ("tags2.jsonl", "tags.dead.csv", "tags.jsonl.part", "tags.txt"):
        (tmp_path / other).touch()
    target.dead.touch()
    target.output.touch()
    assert output_of(target.dead) == target.output


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ([], "none is there"),
        (["tags.jsonl", "tags.csv"], "more than one is there"),
        (["tags.txt"], "none is there"),
    ],
)
def test_dead_letters_without_one_output_are_refused(tmp_path, there, told):
    for name in (*there, "tags.dead.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=told):
        output_of(tmp_path / "tags.dead.jsonl")


def test_a_directory_is_no_output(tmp_path):
    (tmp_path / "tags.csv").mkdir()
    (tmp_path / "tags.dead.jsonl").touch()
    with pytest.raises(ConfigError, match="none is there"):
        output_of(tmp_path / "tags.dead.jsonl")


def test_other_names_are_no_dead_letters(tmp_path):
    with pytest.raises(ConfigError, match="is not named like dead letters"):
        output_of(tmp_path / "tags.jsonl")
