"""The command line as a whole: its verbs, its errors, its exit codes."""

from __future__ import annotations

import contextlib
import shlex
import traceback
from collections.abc import Sequence
from typing import Any, cast

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    Group,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from tagferry import __version__
from tagferry.cli.document import dump, failure_document
from tagferry.cli.help import show_examples, show_rules, show_settings
from tagferry.cli.kinds import KINDS, VERB_HELP, VERBS, Entry
from tagferry.cli.logs import Redactor
from tagferry.cli.options import Invocation
from tagferry.cli.report import exit_code
from tagferry.cli.screen import PatientConsole, Screen, set_up_streams
from tagferry.errors import TagferryError
from tagferry.settings import FILE_NAME, SETTINGS

__all__ = ["build", "run"]

_SECRETS = {
    key.replace("_", "-"): " or ".join(one.env for one in SETTINGS if one.secret and one.key == key)
    for key in (one.key for one in SETTINGS if one.secret)
}
"""What could be tried as an option, and the variables that it could be about."""
_EXAMPLES = (
    "tagferry demo",
    "tagferry export growingio-tag nxog09md 5rREn4PL --output out",
    "tagferry fetch tencent-tags accounts.txt --output tags.jsonl",
)
_ABOUT = "Ferry user tags and segments out of GrowingIO and Tencent IM onto your disk."


def build() -> App:
    """Return the command line with all verbs and kinds."""
    app = App(
        name="tagferry",
        help=_ABOUT,
        version=__version__,
        help_format="plaintext",
        help_prologue=show_examples(_EXAMPLES),
        help_epilogue=show_rules(),
        group_arguments=Group("Arguments", sort_key=0),
        group_parameters=Group("Options", sort_key=1),
        result_action="return_value",
        console=PatientConsole(),
    )
    for place, (verb, kinds) in enumerate(KINDS.items()):
        about, examples = VERB_HELP[verb]
        sub = App(
            name=verb, help=about, help_prologue=show_examples(examples), help_epilogue="", sort_key=place
        )
        for kind_place, kind in enumerate(kinds):
            _add(sub, kind, kind_place)
        app.command(sub)
    for place, entry in enumerate(VERBS, len(KINDS)):
        _add(app, entry, place)
    app.register_install_completion_command(help="Install completion for your shell.")  # pyright: ignore[reportUnknownMemberType]  # its keywords have no type
    return app


def _add(app: App, entry: Entry, place: int) -> None:
    app.command(
        entry.function,
        name=entry.name,
        help=entry.help,
        help_prologue=show_examples(entry.examples),
        help_epilogue=show_settings(entry.sections),
        sort_key=place,
        usage=f"Usage: {entry.usage}" if entry.usage else None,
    )


def run(argv: Sequence[str]) -> int:
    """Run one command, and return its exit code; every failure becomes a message and a code."""
    set_up_streams()
    screen = Screen(Redactor())
    try:
        return _call(Invocation(tuple(argv), screen.redactor))
    except KeyboardInterrupt:
        # While work is under way, it is stopped elsewhere, and says what is kept.
        screen.say("tagferry: stopped by SIGINT")
        return 130
    except Exception as error:  # noqa: BLE001  # whatever it is, the user gets a message and a code
        code, document = _explain(error, argv, screen)
        if _wants_json(argv):
            # Standard output itself may be what failed.
            with contextlib.suppress(TagferryError):
                screen.give([dump(document)])
        return code


def _call(invocation: Invocation) -> int:
    argv = invocation.argv
    command, bound, ignored = build().parse_args(list(argv), exit_on_error=False, print_error=False)
    if "invocation" in ignored:
        bound.arguments["invocation"] = invocation
    result = command(*bound.args, **bound.kwargs)
    if isinstance(result, int):
        return result
    # A verb without its kind shows help too, but a script must not take that for success.
    asked = not argv or any(word.startswith("-") for word in argv)
    return 0 if asked else 2


def _explain(error: Exception, argv: Sequence[str], screen: Screen) -> tuple[int, dict[str, Any]]:
    """Say what went wrong; return the exit code and the JSON document."""
    verb = argv[0] if argv else ""
    if isinstance(error, TagferryError):
        screen.fail_with(error)
        document = failure_document(type(error).__name__, error.message, error.hint, error.code, verb=verb)
        return exit_code(error), document
    if isinstance(error, CycloptsError):
        error.verbose = False
        code, type_, message, hint = 2, "UsageError", _message(error), _hint(error)
    else:
        code, type_, message = 1, "UnexpectedError", f"unexpected error: {_leaf(error)}"
        hint = "please report it, with what --log-level DEBUG prints"
        if any(word.lower().endswith("debug") for word in argv):
            # Without the values of variables, which may be secrets.
            screen.say("".join(traceback.format_exception(error)))
    screen.fail(message, hint)
    return code, failure_document(type_, message, hint, verb=verb)


def _message(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"this is more than the command takes: {shlex.join(error.unused_tokens or ())}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        given = {error.keyword, *(error.unused_tokens or ())}.intersection(error.argument.names)
        return f"{given.pop()} needs a value" if given else f"{error.argument.name} is missing"
    text, option = str(error), _option_of(error)
    if (name := option.partition("=")[0]).lstrip("-") in _SECRETS:
        # Not a guess at what else could have been meant.
        return f"there is no option {name}"
    if name and isinstance(error, UnknownCommandError):
        return f"there is no option {name} at this place"
    # What stands behind an option that does not exist may be a secret.
    return text.replace(option, option.partition("=")[0]) if option else text


def _hint(error: CycloptsError) -> str:
    name = _option_of(error).partition("=")[0].lstrip("-")
    if name in _SECRETS:
        return f"a secret is never an option: set {_SECRETS[name]}, or write it to {FILE_NAME}"
    help_ = " ".join(["run tagferry", *filter(None, error.command_chain or ()), "--help"])
    if name and isinstance(error, UnknownCommandError):
        return f"options stand behind the verb and its kind; {help_}"
    return help_


def _option_of(error: CycloptsError) -> str:
    """Return the word that looks like an option and is none, if that is the error."""
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or [""])[0]
        return word if word.startswith("-") else ""
    if isinstance(error, UnknownOptionError):
        return error.token.keyword or error.token.value
    if isinstance(error, CoercionError) and error.token is not None and error.token.value.startswith("--"):
        return error.token.value
    return ""


def _leaf(error: BaseException) -> str:
    """Return the kind of the first error of a group; its text may hold a secret."""
    if isinstance(error, BaseExceptionGroup):
        return _leaf(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return type(error).__name__


def _wants_json(argv: Sequence[str]) -> bool:
    words = list(argv)
    return "--json" in (words[: words.index("--")] if "--" in words else words)
