"""The names that users import."""

import ast
import importlib
import inspect
import logging
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import tagferry

PUBLIC = {
    "AccountError",
    "AccountFailed",
    "AuthError",
    "CDPRow",
    "ClientCredentials",
    "ConfigError",
    "Converted",
    "DeadlineError",
    "DiskError",
    "Export",
    "ExportDone",
    "ExportFailed",
    "FetchReport",
    "GrowingIO",
    "GrowingIOCDP",
    "IntegrityError",
    "Job",
    "JobFailedError",
    "LinkExpiredError",
    "Listed",
    "Missing",
    "ProtocolError",
    "Ready",
    "RecordError",
    "RefusedError",
    "Rows",
    "SavedFile",
    "SubmitUnknownError",
    "TagResult",
    "TagferryError",
    "Tagged",
    "TencentIM",
    "ThrottledError",
    "UnavailableError",
    "convert",
    "download_all",
    "read_rows",
}
ROOT = Path(tagferry.__file__).parent
MODULES = sorted(
    ".".join(["tagferry", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for file in ROOT.rglob("*.py")
    if file.name != "__main__.py" and "cli" not in file.parts
)


def test_the_public_names_are_sorted_and_are_exactly_these():
    assert tagferry.__all__ == sorted(tagferry.__all__)
    assert set(tagferry.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_stays_the_same_object(name):
    assert getattr(tagferry, name) is getattr(tagferry, name)
    assert getattr(tagferry, name).__name__ == name
    assert name in dir(tagferry)


def test_a_star_import_gives_the_public_names():
    space = {}
    exec("from tagferry import *", space)
    assert set(space) - {"__builtins__"} == PUBLIC


def test_the_version_is_that_of_the_package():
    assert tagferry.__version__ == importlib.import_module("importlib.metadata").version("tagferry")


def test_public_modules_are_there_without_an_import_of_their_own():
    """Type checkers say so too, since the clients import them."""
    code = "import tagferry\nassert {'emulator', 'events'} <= set(dir(tagferry))\n"
    code += "tagferry.events.Progress\ntagferry.emulator.Settings\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'TencentQQ'"):
        _ = tagferry.TencentQQ


def test_the_package_is_typed():
    assert (ROOT / "py.typed").exists()


def test_types_and_run_time_agree_about_where_the_names_come_from():
    """The imports for type checkers are the ones that run."""
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tagferry."):
            for alias in node.names:
                assert getattr(importlib.import_module(node.module), alias.name) is getattr(
                    tagferry, alias.name
                )


def test_importing_the_package_is_quick_and_quiet():
    code = (
        "import logging, sys, tagferry\n"
        "heavy = {'aiohttp', 'anyio', 'asyncio', 'msgspec', 'aiofiles', 'uvloop', 'rich', 'cyclopts'}\n"
        "heavy |= {'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "logger = logging.getLogger('tagferry')\n"
        "assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]\n"
        "assert logger.level == logging.NOTSET and logger.propagate\n"
        "assert not logging.getLogger().handlers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_reading_rows_needs_no_pyarrow():
    code = "import sys, tagferry\ntagferry.read_rows('x.csv')\ntagferry.Export\ntagferry.convert\n"
    code += "assert 'pyarrow' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_without_logging_sees_nothing_of_the_log():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("tagferry").handlers)


# Documentation ----------------------------------------------------------------------------------------


def public_callables():
    for name in sorted(PUBLIC):
        thing = getattr(tagferry, name)
        yield name, thing
        if inspect.isclass(thing) and not issubclass(thing, BaseException):
            for method, value in vars(thing).items():
                if inspect.isfunction(value) and not method.startswith("_"):
                    yield f"{name}.{method}", value


def arguments(thing):
    if inspect.isclass(thing) and issubclass(thing, msgspec.Struct):
        return []
    names = [name for name in inspect.signature(thing).parameters if name not in {"self", "cls"}]
    return [] if inspect.isclass(thing) and hasattr(thing, "__dataclass_fields__") else names


@pytest.mark.parametrize(
    ("name", "thing"), list(public_callables()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_says_what_it_does(name, thing):
    text = inspect.getdoc(thing) or ""
    first = text.partition("\n")[0]
    assert first.endswith((".", ":")), f"{name}: {first!r}"
    if isinstance(thing, type) and issubclass(thing, BaseException) and thing is not tagferry.TagferryError:
        return
    for argument in arguments(thing):
        assert "Args:" in text, f"{name} does not explain its arguments"
        assert f"    {argument}: " in text, f"{name} does not explain {argument}"
    if name.startswith("CDPRow."):
        return  # it looks into what it has
    if arguments(thing) and not (isinstance(thing, type) and issubclass(thing, BaseException)):
        assert "Raises:" in text, f"{name} does not say what it raises"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for_and_lists_what_it_gives(module):
    there = importlib.import_module(module)
    source = Path(there.__file__).read_text("utf-8")
    if not source:
        return
    assert there.__doc__, module
    if module.startswith("tagferry.emulator") or not hasattr(there, "__all__"):
        return
    assert len(set(there.__all__)) == len(there.__all__)
    for name in there.__all__:
        thing = getattr(there, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{module}.{name}"
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                if inspect.isfunction(value) and not method.startswith("_"):
                    assert value.__doc__, f"{module}.{name}.{method}"
