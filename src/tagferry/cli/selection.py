"""Which of the listed things are meant: all, or those that match a pattern."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tagferry.cli.text import show_count
from tagferry.errors import ConfigError
from tagferry.exports.export import Export
from tagferry.services.growingio_listed import Listed

if TYPE_CHECKING:
    from tagferry.cli.export import Find
    from tagferry.cli.options import Selection

__all__ = ["choose_exports", "keep_matching", "match_hint"]


def match_hint(pattern: str, listing: str) -> str:
    """Return what may help when a pattern matches nothing.

    Args:
        pattern: The pattern.
        listing: What shows all, as a clause.
    """
    case = "upper and lower case differ"
    if pattern.startswith("*") and pattern.endswith("*"):
        return f"{case}; {listing}"
    return f"{case}; write '*vip*' for all that has vip in its id, key or name; {listing}"


def keep_matching(items: Iterable[Listed], pattern: str | None) -> list[Listed]:
    """Return the items whose id, key or name matches a pattern of the shell; without one, all."""
    return [
        one
        for one in items
        if pattern is None or any(fnmatchcase(text, pattern) for text in (one.id, one.key, one.name))
    ]


def choose_exports(
    words: Sequence[str],
    selection: Selection,
    describe: Callable[[str], Export],
    list_all: Callable[[], Awaitable[Iterable[Listed]]],
    *,
    metavar: str,
    listing: str,
) -> list[Export] | Find:
    """Return the exports that a command line names, or what finds all that it means.

    Args:
        words: The ids or keys of the command line.
        selection: Its options.
        describe: Makes the export of an id or a key.
        list_all: Asks the open client for all.
        metavar: What the ids or keys are called in the help.
        listing: The command that shows all.

    Raises:
        ConfigError: Neither ids nor --all are there, or both.
    """
    if words and selection.everything:
        raise ConfigError(f"{metavar} and --all exclude each other", hint="leave one of them out")
    if selection.match is not None and not selection.everything:
        raise ConfigError("--match is for --all", hint="write --all --match 'PATTERN'")
    if not words and not selection.everything:
        hint = f"name some, or write --all for all; to see them, run {listing}"
        raise ConfigError(f"no {metavar} is given", hint=hint)
    if words:
        return [describe(word) for word in words]

    async def find() -> list[Export]:
        items = list(await list_all())
        chosen = keep_matching(items, selection.match)
        if not chosen:
            raise _nothing(len(items), selection.match, listing)
        return [describe(key) for key in dict.fromkeys(one.key for one in chosen)]

    return find


def _nothing(count: int, pattern: str | None, listing: str) -> ConfigError:
    # Without a pattern, all that is listed is chosen.
    if not count or pattern is None:
        message = "there is nothing to export: the service lists nothing"
        return ConfigError(message, hint=f"check project and token; {listing} shows the list")
    message = f"nothing matches {pattern!r} among {show_count(count, 'listed item')}"
    return ConfigError(message, hint=match_hint(pattern, f"to see all, run {listing}"))
