"""What is checked: `nox` runs the default sessions, `nox -l` lists all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
VERSIONS = nox.project.python_versions(PROJECT)


def present(version: str) -> bool:
    """Whether this machine has a Python; a shim that leads nowhere does not count."""
    command = shutil.which(f"python{version}")
    if command is None:
        return False
    return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


PYTHONS = [version for version in VERSIONS if present(version)] or [
    f"{sys.version_info[0]}.{sys.version_info[1]}"
]
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
# About five minutes on two cores.
nox.options.sessions = ["lint", "types", f"tests-{OLDEST}", "docs", "dist"]


def groups(*names: str) -> list[str]:
    return [item for name in names for item in nox.project.dependency_groups(PROJECT, name)]


def wheel(session: nox.Session) -> str:
    """Build the wheel once a run, and return its path."""
    target = Path(session.cache_dir) / "wheel"
    if not hasattr(wheel, "path"):
        shutil.rmtree(target, ignore_errors=True)
        session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), ".")
        wheel.path = str(next(target.glob("*.whl")))  # type: ignore[attr-defined]
    return str(wheel.path)  # type: ignore[attr-defined]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, format."""
    session.install("-q", *groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell", "src", "tests", "docs", "benchmarks", "examples", "README.md", "CHANGELOG.md")


@nox.session
def types(session: nox.Session) -> None:
    """Both type checkers, in strict mode."""
    session.install("-q", ".[cli,parquet,speed]", *groups("types", "test"), "nox")
    session.run("mypy", "src", "tests/typing", "benchmarks", "examples", "noxfile.py")
    session.run("pyright", "--pythonpath", f"{session.virtualenv.bin}/python")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, on the built wheel: all on the oldest Python, on others all but those of whole processes."""
    print(f"Pythons of this machine: {', '.join(PYTHONS)} of {', '.join(VERSIONS)}")
    install_wheel(session, "test")
    session.run("pytest", *(session.posargs or chosen(session)))


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """The coverage that is promised, of what runs in the process of the tests."""
    install_wheel(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *chosen(session))
    session.run("coverage", "combine", "-q")
    pure = ",".join(f"*/tagferry/{name}" for name in PURE)
    session.run("coverage", "report", f"--include={pure}", "--fail-under=100")
    session.run("coverage", "report", "--fail-under=95")


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """The tests on the oldest releases of other packages that are allowed."""
    install_wheel(session, "test")
    tables = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    floors = [item.partition(";")[0].replace(">=", "==") for table in tables for item in table]
    session.install("-q", *floors)
    session.run("pytest", *(session.posargs or chosen(session)))


def install_wheel(session: nox.Session, *names: str) -> None:
    """Install the wheel as it is built now, and groups of other packages."""
    session.install("-q", f"{wheel(session)}[cli,parquet,speed]", *groups(*names))
    # Of the same version, pip keeps what an earlier run installed.
    session.install("-q", "--force-reinstall", "--no-deps", wheel(session))
    session.run(
        "python", "-c", "import tagferry; assert 'site-packages' in tagferry.__file__, tagferry.__file__"
    )


def chosen(session: nox.Session) -> list[str]:
    """Return the default tests of a session's Python, for pytest."""
    # Half of the time is spent waiting, so there are twice as many workers as cores.
    default = ["-m", "not soak", "-n", str(2 * (os.cpu_count() or 1))]
    if session.python == OLDEST and session.name.startswith("tests"):
        return default
    return [*default, *(f"--ignore=tests/{part}" for part in WHOLE_PROCESSES)]


WHOLE_PROCESSES = ("crash", "load", "cli/test_process.py", "cli/test_demo.py", "emulator")
"""What happens to whole processes does not depend on the version."""
PURE = (
    "errors.py",
    "exports/gzipped.py",
    "exports/job.py",
    "exports/link.py",
    "exports/naming.py",
    "exports/resume.py",
    "exports/schedule.py",
    "lookups/accounts.py",
    "lookups/format.py",
    "lookups/outcome.py",
    "lookups/plan.py",
    "lookups/watermark.py",
    "rows/binding.py",
    "rows/cdp.py",
    "rows/compression.py",
    "rows/delimited.py",
    "rows/dialect.py",
    "rows/encoding.py",
    "rows/fault.py",
    "rows/feed.py",
    "rows/file_name.py",
    "rows/header.py",
    "rows/jsonl.py",
    "rows/layout.py",
    "rows/lines.py",
    "rows/mapping.py",
    "rows/options.py",
    "rows/parser.py",
    "rows/scanner.py",
    "rows/shape.py",
    "rows/transcript.py",
    "services/*.py",
    "wire/address.py",
    "wire/excerpt.py",
    "wire/message.py",
    "wire/origin.py",
    "wire/quota.py",
    "wire/retry.py",
    "wire/secret.py",
    "wire/status.py",
)


@nox.session
def docs(session: nox.Session) -> None:
    """Every code block of the README and the guide runs, and the reference is of these docstrings."""
    install_wheel(session, "test", "docs")
    session.run("pytest", "docs", "-n", str(os.cpu_count() or 1), "--dist", "worksteal")


@nox.session
def bench(session: nox.Session) -> None:
    """A smoke of the benchmarks in seconds, or what is given.

    `nox -s bench -- --large --markdown docs/benchmarks.md --json benchmarks.json` measures all: half an hour.
    """
    install_wheel(session, "bench")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--quick"]))


@nox.session
def soak(session: nox.Session) -> None:
    """Long runs: minutes to hours."""
    install_wheel(session, "test")
    session.run("pytest", "-m", "soak", "--timeout", "7200", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hostile bytes for each decoder of rows, a minute each, or for the seconds that are given."""
    install_wheel(session, "test")
    for target in ("any_bytes", "csv_rows", "jsonl_rows", "gzip_rows"):
        session.run("python", "-m", "tests.rows.fuzz", target, *(session.posargs or ["60"]))


@nox.session
def dist(session: nox.Session) -> None:
    """The sdist and the wheel build, install clean, and carry what they should."""
    session.install("-q", "build")
    target = Path(session.create_tmp()) / "dist"
    shutil.rmtree(target, ignore_errors=True)
    session.run("python", "-m", "build", "-q", "--outdir", str(target), silent=True)
    (built,) = target.glob("*.whl")
    session.run("python", "-m", "zipfile", "-l", str(built), silent=True)
    fresh = Path(session.create_tmp()) / "fresh"
    session.run("python", "-m", "venv", "--clear", str(fresh))
    python = str(fresh / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", str(built), external=True)
    check = "import tagferry, importlib.resources as r; assert (r.files('tagferry') / 'py.typed').is_file()"
    session.run(python, "-c", check, external=True)
    session.run(str(fresh / "bin" / "tagferry"), "--version", external=True, success_codes=[2])
