"""File names of exports: inside the directory, on every system, and each its own."""

import ntpath
import posixpath
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError
from tagferry.exports.naming import (
    check_clashes,
    final_name,
    find_finals,
    find_parts,
    make_stem,
    part_name,
    record_name,
)

HOSTILE = [
    "../x",
    "..\\x",
    "/abs",
    "C:x",
    "\\\\host\\share",
    ".",
    "..",
    "",
    "CON",
    "trailing. ",
    "nul\x00byte",
    "line\nbreak",
    "\x1b[31m",
    "right\u202eleft",
    "%2e%2e%2f",
    "-rf",
    "~root",
    "a:b",
    'a"b<c>d|e?f*',
    "é",
    "e\u0301",
    "高价值用户",
]
WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def all_names(stem: str) -> list[str]:
    return [
        record_name(stem),
        *(part_name(stem, ".csv", n, m) for n, m in ((1, 1), (1, 3), (3, 3))),
        *(final_name(stem, ".csv", n, m, gzip=g) for n, m in ((1, 1), (2, 3)) for g in (False, True)),
    ]


def assert_safe(name: str) -> None:
    for path in (posixpath, ntpath):
        assert path.basename(name) == name
        assert not path.isabs(name)
        assert path.splitdrive(name)[0] == ""
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set('<>:"/\\|?* ')
    assert not name.endswith((".", " "))
    assert not name.startswith((".", "-", "~"))
    assert not WINDOWS_DEVICES.fullmatch(name)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_id_stays_inside_the_directory_under_posix_and_windows_rules(text):
    for name in all_names(make_stem("growingio-tag", "nxog09md", text)):
        assert_safe(name)


@given(texts, texts)
def test_no_id_leads_out_of_the_directory(one, two):
    for name in all_names(make_stem("growingio-tag", one, two)):
        assert_safe(name)


@given(texts, texts)
def test_two_ids_never_share_a_name(one, two):
    assert (make_stem("k", one) == make_stem("k", two)) == (one == two)


@given(
    st.lists(st.text("a-%0", max_size=4), min_size=2, max_size=2),
    st.lists(st.text("a-%0", max_size=4), min_size=2, max_size=2),
)
def test_project_and_id_stay_apart(one, two):
    assert (make_stem("k", *one) == make_stem("k", *two)) == (one == two)


def test_documented_ids_are_readable_as_they_are():
    assert make_stem("growingio-tag", "nxog09md", "5rREn4PL") == "growingio-tag-nxog09md-5rREn4PL"
    assert make_stem("k", "id_$basic.userId") == "k-id_$basic.userId"
    assert make_stem("k", "a/b é%") == "k-a%2Fb%20%C3%A9%25"


def test_several_parts_are_numbered_and_a_single_one_is_not():
    assert final_name("s", ".csv", 1, 1, gzip=False) == "s.csv"
    assert final_name("s", ".csv", 1, 1, gzip=True) == "s.csv.gz"
    assert [final_name("s", ".csv", n, 2, gzip=False) for n in (1, 2)] == ["s-00001.csv", "s-00002.csv"]
    assert part_name("s", ".csv", 2, 2) == "s-00002.csv.part"
    assert part_name("s", ".csv", 1, 1) == "s.csv.part"
    assert record_name("s") == "s.part.json"


NAMES = [
    "s-00002.csv",
    "s-00001.csv",
    "s.csv",
    "s.csv.gz",
    "s.csv.part",
    "s-00001.csv.part",
    "s.part.json",
    "s2.csv",
    "xs.csv",
    "s-1.csv",
    "s-00001.csv.bak",
    "s.csv\n",
    "sXcsv",
]


def test_finished_files_of_an_export_are_told_from_all_others():
    assert find_finals(NAMES, ".csv") == {
        "s": ["s-00001.csv", "s-00002.csv", "s.csv", "s.csv.gz"],
        "s-1": ["s-1.csv"],
        "s2": ["s2.csv"],
        "xs": ["xs.csv"],
    }
    assert find_parts(NAMES, "s", ".csv") == ["s.csv.part", "s-00001.csv.part"]
    assert find_parts(NAMES, "s2", ".csv") == []


@given(texts, texts)
def test_the_files_of_one_export_are_never_taken_for_those_of_another(one, two):
    stems = [make_stem("k", text) for text in (one, two)]
    finals = [name for name in all_names(stems[1]) if not name.endswith((".part", ".json"))]
    assert find_finals(all_names(stems[1]), ".csv") == {stems[1]: sorted(finals)}
    assert bool(find_finals(finals, ".csv").get(stems[0])) == (stems[0] == stems[1])


def test_names_that_are_one_file_on_some_disk_are_refused_in_one_run():
    check_clashes(["a.csv", "b.csv", "ab.csv"], Path("out"))
    with pytest.raises(ConfigError, match=r"both be written to out/a\.csv;"):
        check_clashes(["a.csv", "b.csv", "a.csv"], Path("out"))
    with pytest.raises(ConfigError, match="differs in case only"):
        check_clashes(["5rREn4PL.csv", "5RREN4PL.csv"], Path("out"))
    with pytest.raises(ConfigError):
        check_clashes(["é.csv", "e\u0301.csv"], Path("out"))
