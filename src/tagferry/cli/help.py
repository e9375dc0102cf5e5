"""What stands in the help beside the options: examples, settings, exit codes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from tagferry.layers import CONFIG, PROFILE
from tagferry.settings import FILE_NAME, SETTINGS

__all__ = ["show_examples", "show_rules", "show_settings"]

_WIDTH = 79
_NAMES = 2 + max(len(one.env) for one in SETTINGS) + 2
"""Columns that the names of the variables take."""
_FILE = ((CONFIG, "the config file, like --config"), (PROFILE, "the profile of it, like --profile"))
_EXIT_CODES = (
    "Exit codes: 0 all done, 1 unexpected error, 2 usage or settings, 3 partial: some succeeded,"
    " 4 credentials refused, 5 temporary: running again may help, 6 deadline passed, 7 the service refused or"
    " the job failed, 8 integrity, 9 disk, 130 and 143 stopped by a signal."
)
_WHERE = (
    f"Settings come from the environment, or from {FILE_NAME} here or in your config directory. The help of"
    " each kind names its own, that of doctor names all, and tagferry doctor tells which are in force."
)


def show_examples(lines: Iterable[str]) -> str:
    """Return the examples of a command."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def show_settings(sections: Sequence[str]) -> str:
    """Return the environment variables of some services, and of all commands that have any."""
    if not sections:
        return ""
    entries = [(one.env, one.what) for one in SETTINGS if one.section in sections]
    places = " ".join(f"[{section}]" for section in sections)
    head = f"Environment; all but the last two may stand in {places} of {FILE_NAME} instead:"
    return "\n".join([textwrap.fill(head, _WIDTH), *_table([*entries, *_FILE])])


def show_rules() -> str:
    """Return what holds for all commands: where settings come from, and what the exit codes mean."""
    return "\n\n".join(textwrap.fill(text, _WIDTH) for text in (_WHERE, _EXIT_CODES))


def _table(entries: Iterable[tuple[str, str]]) -> list[str]:
    return [
        textwrap.fill(f"  {name:<{_NAMES - 2}}{text}", _WIDTH, subsequent_indent=" " * _NAMES)
        for name, text in entries
    ]
