"""What the fuzzer found, or was given, stays found."""

import pytest

from tests.rows.fuzz.targets import CORPUS, TARGETS

CASES = [(name, file) for name in TARGETS for file in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("name", "file"), CASES, ids=[f"{name}-{file.name}" for name, file in CASES])
def test_the_corpus_is_replayed(name, file):
    TARGETS[name](file.read_bytes())


def test_each_target_has_a_corpus():
    assert {name for name, _ in CASES} == set(TARGETS)
