"""Every code block of the README and the guide runs, against the emulator."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import tagferry
from tagferry.__main__ import main
from tagferry.emulator import (
    DEMO_IDENTIFIER,
    DEMO_SDKAPPID,
    DEMO_SECRET_KEY,
    Settings,
    TencentSettings,
    serve_in_thread,
)

PEOPLE = {"xiaojun012": ["a", "b"], "xiaojun013": ["a", "c"]}
ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])
BOOTSTRAP = ("python3 -m venv", "pip install", ". .venv")


def run_shell(example: Example) -> None:
    """Run the tagferry commands of a shell block in this process; the commands that set it up are CI's."""
    for line in example.parsed.splitlines():
        words = shlex.split(line, comments=True)
        if not words or line.startswith(BOOTSTRAP) or words[0] == "export":
            continue
        assert words[0] == "tagferry", f"a block runs {words[0]}, which this check does not know"
        assert main(words[1:]) == 0, line


def lead(monkeypatch: pytest.MonkeyPatch, name: str, **settings: str) -> None:
    """Lead a client to the emulator, unless an example gives it an address."""
    client = getattr(tagferry, name)
    monkeypatch.setattr(tagferry, name, lambda **given: client(**{**settings, **given}))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block runs."""
    settings = Settings(job_seconds=0, quota_per_second=50, rows=500, tencent=TencentSettings(people=PEOPLE))
    with serve_in_thread(settings) as emulator:
        monkeypatch.chdir(tmp_path)
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
        parsers = [PythonCodeBlockParser(), CodeBlockParser(language="sh", evaluator=run_shell)]
        document = Sybil(parsers=parsers).parse(page)
        for index, example in enumerate(document.examples()):
            folder = tmp_path / str(index)
            folder.mkdir()
            (folder / "accounts.txt").write_text("xiaojun012\nxiaojun013\n")
            monkeypatch.chdir(folder)
            example.evaluate()
