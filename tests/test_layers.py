"""Holds the layout: who may import whom, and which modules are pure."""

import ast
import sys
from pathlib import Path

import pytest

import tagferry

ROOT = Path(tagferry.__file__).parent

PURE = {
    "wire.message",
    "wire.excerpt",
    "wire.status",
    "wire.retry",
    "wire.quota",
    "wire.address",
    "wire.origin",
    "exports.gzipped",
    "exports.job",
    "exports.schedule",
    "exports.link",
    "exports.resume",
    "exports.naming",
    "rows.binding",
    "rows.cdp",
    "rows.compression",
    "rows.delimited",
    "rows.dialect",
    "rows.encoding",
    "rows.fault",
    "rows.feed",
    "rows.header",
    "rows.jsonl",
    "rows.layout",
    "rows.lines",
    "rows.file_name",
    "rows.parser",
    "rows.scanner",
    "rows.shape",
    "rows.mapping",
    "rows.options",
    "rows.transcript",
    "wire.secret",
    "lookups.accounts",
    "lookups.format",
    "lookups.outcome",
    "lookups.plan",
    "lookups.watermark",
}
VALUES = {
    "__future__",
    "base64",
    "collections",
    "csv",
    "dataclasses",
    "datetime",
    "difflib",
    "email",
    "enum",
    "errno",
    "functools",
    "hashlib",
    "hmac",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "types",
    "typing",
    "unicodedata",
    "urllib",
    "zlib",
}
"""Modules of the standard library that know no clock, file, chance, environment or network."""
IMPURE_NAMES = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "Path.cwd", "Path.home"}
PARTIAL = {
    "codecs": {"IncrementalDecoder", "getincrementaldecoder"},
    "pathlib": {"Path", "PurePath"},
    "urllib": {"parse"},
}
FILE_CALLS = {
    "exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "stat",
    "lstat",
    "iterdir",
    "glob",
    "rglob",
    "open",
    "resolve",
}
FILE_CALLS |= {
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "mkdir",
    "unlink",
    "rename",
    "replace_file",
}
"""Of these modules only so much is pure."""
FORBIDDEN = {
    "errors": ("",),
    "events": ("services", "clients", "wire", "exports", "lookups", "cli", "emulator"),
    "wire": ("services", "clients", "exports", "lookups", "cli", "emulator", "settings", "layers"),
    "files": (
        "services",
        "clients",
        "wire",
        "exports",
        "lookups",
        "rows",
        "cli",
        "emulator",
        "settings",
        "layers",
    ),
    "services": ("clients", "cli", "emulator", "settings", "layers"),
    "lookups": ("services", "clients", "exports", "cli", "emulator", "settings", "layers"),
    "exports": ("services", "clients", "lookups", "cli", "emulator", "settings", "layers"),
    "rows": ("services", "clients", "exports", "lookups", "cli", "emulator", "settings", "layers"),
    "clients": ("cli", "emulator", "settings", "layers"),
    "settings": ("clients", "exports", "lookups", "layers", "cli", "emulator"),
    "layers": ("clients", "exports", "lookups", "cli", "emulator"),
}
"""What a package must not import of ours; an empty name stands for anything."""


def name_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(file): ast.parse(file.read_text("utf-8")) for file in sorted(ROOT.rglob("*.py"))}
PURE |= {name for name in MODULES if name.startswith("services.")}


def is_typing_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node):
    """All nodes that run: imports for types alone make no dependency."""
    yield node
    for child in ast.iter_child_nodes(node):
        if is_typing_only(child):
            for other in child.orelse:
                yield from walk(other)
        else:
            yield from walk(child)


def imports(tree):
    """Yield (module, name) for every import, wherever it stands; name is None for the module itself."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield node.module, alias.name
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "import_module",
            "importlib.import_module",
        }:
            (argument,) = node.args
            if isinstance(argument, ast.Constant):
                yield argument.value, None


def ours(tree):
    """Yield our own modules that a module imports, without the package's name."""
    for module, name in imports(tree):
        if module == "tagferry" or module.startswith("tagferry."):
            below = module.removeprefix("tagferry").removeprefix(".")
            inner = f"{below}.{name}".removeprefix(".")
            yield inner if inner in MODULES else below


def test_the_measure_sees_imports_wherever_they_stand():
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    import g\n"
    source += "try:\n    import h\nexcept ImportError:\n    from tagferry.wire import quota\n"
    tree = ast.parse(source)
    assert set(imports(tree)) == {
        ("a.b", None),
        ("c", "d"),
        ("g", None),
        ("h", None),
        ("tagferry.wire", "quota"),
    }
    assert list(ours(tree)) == ["wire.quota"]


def test_every_module_of_the_table_exists():
    assert set(MODULES) >= PURE
    assert len([name for name in PURE if name.startswith("services.")]) >= 1


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_imports_values_and_pure_modules_only(name):
    allowed = PURE | {"errors"}
    for module, what in imports(MODULES[name]):
        top = module.partition(".")[0]
        if top == "tagferry":
            inner = module.removeprefix("tagferry").removeprefix(".")
            target = inner if inner in allowed else f"{inner}.{what}"
            assert target in allowed, f"{name} imports {target}, which is not pure"
        elif top in PARTIAL:
            used = module.partition(".")[2] or what
            assert used in PARTIAL[top], f"{name} imports {module}.{what}"
        else:
            assert top in VALUES | {"msgspec", "yarl"}, f"{name} imports {module}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_waits_for_nothing_and_asks_no_clock(name):
    for node in ast.walk(MODULES[name]):
        assert not isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith))
        assert not isinstance(node, (ast.Global, ast.Nonlocal))
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"open", "input", "print", "__import__", "eval", "exec"}, (
                f"{name} calls {called}"
            )
            assert not any(called.endswith(one) for one in IMPURE_NAMES), f"{name} calls {called}"
            # A path is a value until somebody looks behind it.
            assert called.rpartition(".")[2] not in FILE_CALLS, f"{name} calls {called}"


def test_the_modules_that_count_as_values_are_of_the_standard_library():
    assert set(sys.stdlib_module_names) >= VALUES
    assert not VALUES & {
        "asyncio",
        "time",
        "random",
        "os",
        "logging",
        "socket",
        "secrets",
        "pathlib",
        "threading",
    }


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_between_packages_go_one_way(name):
    package = name.partition(".")[0]
    for target in ours(MODULES[name]):
        for forbidden in FORBIDDEN.get(package, ()):
            inside = target == forbidden or target.startswith(f"{forbidden}.") or forbidden == ""
            assert not inside or target.partition(".")[0] == package != "errors", f"{name} imports {target}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_http_is_spoken_by_the_transport_only(name):
    # The demo asks the emulator in another process what it served.
    speakers = {"wire.transport", "wire.failure", "wire.resolver", "clients", "emulator", "cli.demo"}
    users = {module.partition(".")[0] for module, _ in imports(MODULES[name])}
    if "aiohttp" in users:
        assert any(name == one or name.startswith(f"{one}.") for one in speakers), f"{name} imports aiohttp"
    assert not users & {"requests", "httpx", "urllib3", "http"} or name.startswith("emulator")


def test_the_emulator_imports_nothing_of_ours_but_itself():
    names = [name for name in MODULES if name.partition(".")[0] == "emulator"]
    assert len(names) > 5
    for name in names:
        for target in ours(MODULES[name]):
            assert target.partition(".")[0] == "emulator", f"{name} imports {target}"


def test_errors_import_nothing():
    assert {module for module, _ in imports(MODULES["errors"])} <= {"__future__", "typing"}


def test_modules_do_not_import_each_other_in_circles():
    graph = {
        name: {target for target in ours(tree) if target in MODULES and target != name}
        for name, tree in MODULES.items()
    }
    del graph[""]
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in done and name in graph:
            for target in graph[name]:
                visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_no_module_is_a_drawer_for_everything():
    names = {part for name in MODULES for part in name.split(".")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "base", "core", "misc"}


def test_importing_the_package_needs_no_http_and_starts_nothing():
    tree = MODULES[""]
    assert {module for module, _ in imports(tree)} <= {"importlib", "importlib.metadata", "logging", "typing"}
