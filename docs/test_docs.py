"""Every code block of the README and the guide runs, against the emulator; both languages say the same."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import make_reference
import pytest
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

import tagferry
from tagferry.__main__ import main
from tagferry.cli.document import failure_document
from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Settings,
    TencentSettings,
    serve_in_thread,
)
from tagferry.layers import layer
from tagferry.settings import ConfigFile

PEOPLE = {"xiaojun012": ["a", "b"], "xiaojun013": ["a", "c"]}
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("README*.md"), *DOCS.glob("**/*.md")])
CHINESE = {
    ROOT / "README.zh-CN.md": ROOT / "README.md",
    **{page: DOCS / "guide" / page.name for page in DOCS.glob("zh/*.md")},
}
"""Chinese pages, and the English ones that they say the same as."""
BOOTSTRAP = ("python3 -m venv", "pip install", ". .venv")
FENCE = re.compile(r"^ *```(.*)$", re.MULTILINE)
BLOCK = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
CLIENTS = {
    "GrowingIO": ("tagferry", "tagferry.cli.growingio"),
    "GrowingIOCDP": ("tagferry", "tagferry.cli.growingio_cdp"),
    "TencentIM": ("tagferry", "tagferry.cli.tencent"),
}


def run_python(example: Example) -> None:
    """Run a Python block: one that has tests by pytest, any other one here."""
    if not re.search(r"^(?:async )?def test_", example.parsed, re.MULTILINE):
        example.namespace.setdefault("__name__", "guide")
        PythonEvaluator()(example)
        return
    Path("test_block.py").write_text(example.parsed, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_block.py"]
    subprocess.run(command, check=True, timeout=60)


def run_shell(example: Example) -> None:
    """Run the tagferry commands of a shell block in this process, or the whole block if it needs a shell.

    The commands that install it are CI's.
    """
    lines = [line for line in example.parsed.splitlines() if line and not line.startswith(BOOTSTRAP)]
    own = [line for line in lines if not line.startswith(("export ", "#"))]
    if all(line.startswith("tagferry ") and not re.search(r"[|<>&\\]", line) for line in own):
        for line in own:
            assert main(shlex.split(line)[1:]) == 0, line
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "set -euo pipefail\n" + "\n".join(lines)
    subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, check=True, timeout=60)


def use_settings(example: Example) -> None:
    """Check a config file, and leave it to the blocks that follow."""
    path = Path("tagferry.toml")
    layer(file=ConfigFile(path, tomllib.loads(example.parsed)), environ={})
    path.write_text(example.parsed, encoding="utf-8")
    path.chmod(0o600)


def check_json(example: Example) -> None:
    """Check that each line is JSON, and has the keys that the command line prints."""
    for document in map(json.loads, example.parsed.splitlines()):
        if "v" in document:
            verb = "export" if "exports" in document else "fetch"
            assert document.keys() == failure_document("", "", None, verb=verb).keys()


EVALUATORS = {"python": run_python, "sh": run_shell, "toml": use_settings, "json": check_json}


def read(page: Path) -> Document:
    parsers = [CodeBlockParser(language=name, evaluator=run) for name, run in EVALUATORS.items()]
    return Sybil(parsers=parsers).parse(page)


def lead(monkeypatch: pytest.MonkeyPatch, name: str, **settings: str) -> None:
    """Lead a client to the emulator, unless an example gives it an address."""
    client = getattr(tagferry, name)
    for module in CLIENTS[name]:
        place = import_module(module)
        monkeypatch.setattr(place, name, lambda **given: client(**{**settings, **given}))


@pytest.mark.parametrize("page", sorted({*PAGES} - {*CHINESE}), ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block runs; those of a page of the guide one after the other in one folder."""
    tencent = TencentSettings(people=PEOPLE, quota_per_second=100)
    with serve_in_thread(Settings(job_seconds=0, quota_per_second=50, rows=500, tencent=tencent)) as emulator:
        monkeypatch.setenv("TAGFERRY_GROWINGIO_TOKEN", emulator.token)
        monkeypatch.setenv("TAGFERRY_CDP_TOKEN", emulator.token)
        monkeypatch.setenv("TAGFERRY_TENCENT_SDKAPPID", str(DEMO_SDKAPPID))
        monkeypatch.setenv("TAGFERRY_TENCENT_IDENTIFIER", DEMO_IDENTIFIER)
        monkeypatch.setenv("TAGFERRY_TENCENT_SECRET_KEY", DEMO_SECRET_KEY)
        for service in ("GROWINGIO", "CDP", "TENCENT"):
            monkeypatch.setenv(f"TAGFERRY_{service}_BASE_URL", emulator.base_url)
        lead(monkeypatch, "GrowingIO", base_url=emulator.base_url, rate="50/s")
        lead(monkeypatch, "GrowingIOCDP", base_url=emulator.base_url)
        lead(monkeypatch, "TencentIM", base_url=emulator.base_url)
        for index, example in enumerate(read(page).examples()):
            folder = tmp_path / str(index) if page.parent == ROOT else tmp_path
            folder.mkdir(exist_ok=True)
            (folder / "accounts.txt").write_text("xiaojun012\nxiaojun013\n")
            monkeypatch.chdir(folder)
            example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_is_well_formed(page: Path) -> None:
    """No block has a language that nobody runs, and no link leads nowhere."""
    text = page.read_text(encoding="utf-8")
    assert set(FENCE.findall(text)[::2]) <= EVALUATORS.keys()
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def test_reference_is_of_these_docstrings() -> None:
    """If not: python docs/make_reference.py."""
    assert make_reference.TARGET.read_text(encoding="utf-8") == make_reference.render()


def test_both_languages_have_the_same_pages() -> None:
    """Each page of the guide is there in English and in Chinese."""
    assert {page.name for page in DOCS.glob("guide/*.md")} == {page.name for page in DOCS.glob("zh/*.md")}


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: str(page.relative_to(ROOT)))
def test_both_languages_say_the_same(page: Path) -> None:
    """A Chinese page has the headings, tables, lists and code blocks of the English one, so these run too."""
    assert outline(page) == outline(CHINESE[page])


def outline(page: Path) -> list[str]:
    """Return the blocks of a page as they are; of headings, items and rows only what they begin with."""
    text = page.read_text(encoding="utf-8")
    marks = [re.findall(r"^(#+ |- |\||[0-9]+\. )", part, re.MULTILINE) for part in BLOCK.split(text)]
    return [mark for part in marks for mark in part] + BLOCK.findall(text)
