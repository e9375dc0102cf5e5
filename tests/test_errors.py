import ast
import copy
import inspect
import pickle
from pathlib import Path

import pytest

from tagferry import errors
from tagferry.cli.report import exit_code
from tests.standing import assert_no_secret

BASES = {
    "ConfigError": ValueError,
    "AuthError": None,
    "ThrottledError": None,
    "UnavailableError": None,
    "RefusedError": None,
    "ProtocolError": None,
    "JobFailedError": None,
    "DeadlineError": TimeoutError,
    "SubmitUnknownError": None,
    "LinkExpiredError": None,
    "IntegrityError": None,
    "DiskError": OSError,
    "RecordError": ValueError,
}
CLASSES = [getattr(errors, name) for name in BASES]


def test_the_tree_is_the_documented_one():
    found = {name for name, value in vars(errors).items() if inspect.isclass(value)} - {
        "TagferryError",
        "Any",
    }
    assert found == set(BASES)
    assert set(errors.__all__) == {"TagferryError", *BASES}
    for name in BASES:
        assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_below_the_root_and_its_builtin_relative(kind):
    bases = [base for base in (errors.TagferryError, BASES[kind.__name__]) if base]
    assert kind.__bases__ == tuple(bases)
    assert issubclass(kind, Exception)
    assert kind.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_what_a_scheduler_is_told_to_come_back_for_may_work_later(kind):
    # Of a job that may exist it is told as well, but nothing may ask for a second one unasked.
    temporary = exit_code(kind("m")) == 5
    assert kind("m").retryable is (temporary and kind is not errors.SubmitUnknownError)
    assert temporary or kind is not errors.SubmitUnknownError
    assert kind("m", retryable=True).retryable is True
    assert kind("m", retryable=False).retryable is False


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("same", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_keeps_all_its_facts_when_it_is_copied_or_sent_to_another_process(kind, same):
    facts = {"service": "s", "code": 60007, "hint": "wait", "retryable": True, "retry_after": 7.5}
    error = kind("it failed", **facts)
    error.add_note("a note")
    other = same(error)
    assert type(other) is kind
    assert other is not error
    assert (str(other), repr(other), other.args) == (str(error), repr(error), error.args)
    assert other.message == "it failed"
    assert {name: getattr(other, name) for name in facts} == facts
    assert other.__notes__ == ["a note"]


@pytest.mark.parametrize("same", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_a_record_error_tells_where_it_is(same):
    facts = {"file": Path("x.csv"), "line": 7, "column": "年龄", "value": "十八"}
    error = same(errors.RecordError("a cell is no number", hint="read it as str", **facts))
    assert {name: getattr(error, name) for name in facts} == facts
    assert str(error) == "a cell is no number; read it as str"
    bare = same(errors.RecordError("m"))
    assert (bare.file, bare.line, bare.column, bare.value) == (None, None, None, None)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_text_is_the_message_and_what_to_do(kind):
    assert str(kind("it failed")) == "it failed"
    assert str(kind("it failed", hint="try this")) == "it failed; try this"
    assert repr(kind("it failed", hint="try this")) == f"{kind.__name__}('it failed')"


@pytest.mark.parametrize("kind", CLASSES)
def test_facts_that_are_not_given_are_none(kind):
    error = kind("m")
    assert (error.service, error.code, error.hint, error.retry_after) == (None, None, None, None)


@pytest.mark.parametrize("kind", CLASSES)
def test_facts_are_named(kind):
    with pytest.raises(TypeError):
        kind("m", "service")
    with pytest.raises(TypeError):
        kind("m", unknown=1)
    with pytest.raises(TypeError):
        kind()


def test_an_error_shows_what_it_is_given_and_nothing_of_where_it_was_raised(canary):
    def fail(secret):
        raise errors.AuthError("the service refuses the token", service="s", code=401, hint="make a new one")

    with pytest.raises(errors.AuthError) as caught:
        fail(canary)
    assert_no_secret(canary, caught.value)


def test_os_and_timeout_errors_are_caught_by_their_builtin_names():
    for kind, builtin in ((errors.DiskError, OSError), (errors.DeadlineError, TimeoutError)):
        with pytest.raises(builtin, match="m; h"):
            raise kind("m", hint="h", code=28)


def test_no_other_module_makes_a_class_of_errors_that_can_reach_a_user():
    """Private ones, with an underscore, never leave their module."""
    root = Path(errors.__file__).parent
    for file in root.rglob("*.py"):
        where = file.relative_to(root)
        if where.parts[0] in {"emulator", "errors.py", "cli"}:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names = [ast.unparse(base) for base in node.bases]
                assert not any(name.endswith(("Error", "Exception")) for name in names), (
                    f"{where}: {node.name}"
                )
