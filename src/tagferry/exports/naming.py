"""File names: made of what the caller asked for, never of what a server says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tagferry.errors import ConfigError

__all__ = [
    "check_clashes",
    "final_name",
    "find_finals",
    "find_parts",
    "make_stem",
    "part_name",
    "record_name",
]

_UNSAFE = re.compile(r"[^A-Za-z0-9._$]")
_NUMBER = re.compile(r"-[0-9]{5}$")
_GZIP = ".gz"


def make_stem(kind: str, *ids: str) -> str:
    """Join a kind and ids to a file name without its ending; unsafe characters become ``%XX``.

    A hyphen in an id is escaped too, and so is an id that looks like the number of a part.

    >>> make_stem("growingio-tag", "nxog09md", "5rREn4PL")
    'growingio-tag-nxog09md-5rREn4PL'
    """
    stem = "-".join([kind, *(_UNSAFE.sub(_escape, name) for name in ids)])
    return _NUMBER.sub(lambda match: f"-%{ord(match[0][1]):02X}{match[0][2:]}", stem)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _numbered(stem: str, part: int, parts: int) -> str:
    return stem if parts == 1 else f"{stem}-{part:05d}"


def part_name(stem: str, ending: str, part: int, parts: int) -> str:
    """Return the name of an unfinished file; parts count from 1."""
    return f"{_numbered(stem, part, parts)}{ending}.part"


def record_name(stem: str) -> str:
    """Return the name of the record beside the unfinished files of one export."""
    return f"{stem}.part.json"


def final_name(stem: str, ending: str, part: int, parts: int, *, gzip: bool) -> str:
    """Return the name of a finished file; a gzip body stays as it came and says so."""
    return _numbered(stem, part, parts) + ending + (_GZIP if gzip else "")


def find_finals(names: Iterable[str], ending: str) -> Mapping[str, Sequence[str]]:
    """Return the finished files among the names of a directory, by their stem and in order of the parts."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        whole = name.removesuffix(_GZIP)
        if whole.endswith(ending):
            stem = whole.removesuffix(ending)
            found.setdefault(_NUMBER.sub("", stem), []).append(name)
    return found


def find_parts(names: Iterable[str], stem: str, ending: str) -> list[str]:
    """Return the unfinished files of an export among the names of a directory."""
    ending = f"{ending}.part"
    ours = (name for name in names if name.startswith(stem) and name.endswith(ending))
    return [name for name in ours if _NUMBER.sub("", name.removesuffix(ending)) == stem]


def check_clashes(stems: Iterable[str], directory: Path) -> None:
    """Refuse two exports of one run that would share a file name.

    Names that differ in case or in Unicode form only are one file on some disks, so they clash too.

    Raises:
        ConfigError: Two names clash.
    """
    seen: dict[str, str] = {}
    for stem in stems:
        key = unicodedata.normalize("NFC", stem).casefold()
        if other := seen.get(key):
            raise ConfigError(
                f"two exports would both be written to {directory / stem}"
                + ("" if other == stem else f" ({other} differs in case only)"),
                hint="name each export once, or export them into different directories",
            )
        seen[key] = stem
