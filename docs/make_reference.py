"""Makes docs/reference.md from the docstrings: python docs/make_reference.py."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import griffe

from tagferry.emulator.faults import WORDS

TARGET = Path(__file__).parent / "reference.md"
HEAD = """# Reference

Every public name, from the docstrings; written by `python docs/make_reference.py`. What each is for, and how
they play together, is in the [guide](guide/README.md). What is not on this page may change at any time.

"""
SECTIONS = {
    "clients": "Clients",
    "exports": "Exports",
    "lookups": "Look-ups",
    "rows": "Rows and tables",
    "services": "Lists",
    "errors": "Errors",
}
"""The packages that the names of `tagferry` come from, and what their section is called."""
HIDDEN = {
    "Arrivals.add",
    "Emulator.services",
    "Export.backend",
    "Export.poller",
    "Export.request",
    "FaultQueue.operations",
    "FaultQueue.take",
    "Job.other",
    "Job.request",
    "Source.first",
    "Source.template",
    "TagferryError.message",
}
"""Attributes and methods that are there for the engine, or that every exception has."""
GIVEN = {"Arrivals", "FaultQueue", "Rows"}
"""Classes that nobody outside makes objects of."""
UNREACHABLE = {"tagferry.lookups.sources.Source"}
"""Types that only the command line can make an object of."""
BLOCKS = {"asynccontextmanager": "AbstractAsyncContextManager", "contextmanager": "AbstractContextManager"}
"""Decorators of functions that are called by `with`, and the types that they return."""
FORMS = {"bare": "", "at": "@N", "int": "=N", "float": "=SECONDS", "text": "=TEXT", "rest": "=TEXT"}


PACKAGE = griffe.load("tagferry", docstring_parser="google", docstring_options={"warnings": False})


def render() -> str:
    """Return the whole page."""
    lines = [HEAD.rstrip()]
    names = cast("list[str]", import_module("tagferry").__all__)
    for part, title in SECTIONS.items():
        found = [name for name in names if PACKAGE[name].target_path.startswith(f"tagferry.{part}")]
        found.sort(key=lambda name: name != "TagferryError")  # what others are made of goes first
        lines += render_section(PACKAGE, f"{title}: `tagferry`", "tagferry", found)
    for module, title in (("tagferry.events", "Events"), ("tagferry.emulator", "Emulator")):
        names = cast("list[str]", import_module(module).__all__)
        found = PACKAGE[module.removeprefix("tagferry.")]
        lines += render_section(found, f"{title}: `{module}`", module, names)
    fixture = PACKAGE["emulator.pytest_plugin.tagferry_emulator"]
    lines += ["", "## pytest", "", f"### {fixture.name}", *render_text(fixture)]
    lines += render_faults()
    return "\n".join(lines) + "\n"


def render_section(home: Any, title: str, module: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a module's names, unless there are none."""
    names = list(names)
    if not names:
        return
    yield from ("", f"## {title}")
    for name in names:
        one = home[name].final_target if home[name].is_alias else home[name]
        live = getattr(import_module(module), name)
        yield from ("", f"### {name}")
        if one.is_class:
            yield from render_class(one, live)
        elif one.is_function:
            yield from render_function(one, live)
        else:
            yield from (
                "",
                f"`{name} = {one.value}`" if module.endswith("events") else f"`{name} = {live!r}`",
            )
            yield from render_text(one)


def render_class(one: Any, live: Any) -> Iterator[str]:
    """Yield the lines of a class: its arguments, its attributes, its methods."""
    bases = [f"`{base}`" for base in one.bases if f"{base}" not in {"msgspec.Struct", "Event"}]
    if bases and f"{one.bases[0]}".endswith("Error"):
        yield from ("", f"Is a {' and a '.join(bases)}.")
    yield from render_text(one)
    if "__init__" in one.members and one.name not in GIVEN:
        yield from render_arguments(one, one.members["__init__"], live.__init__)
    yield from render_raises(one)
    yield from render_attributes(one)
    for name, method in one.members.items():
        if method.is_function and not name.startswith("_") and f"{one.name}.{name}" not in HIDDEN:
            yield from ("", f"#### {one.name}.{name}")
            yield from render_function(method, getattr(live, name))


def render_function(one: Any, live: Any) -> Iterator[str]:
    """Yield the lines of a function or method."""
    given = [item for item in inspect.signature(live).parameters.values() if item.name != "self"]
    words = [item.name if item.default is item.empty else f"{item.name}={item.default!r}" for item in given]
    keyword = [item.kind is item.KEYWORD_ONLY for item in given]
    if True in keyword:
        words.insert(keyword.index(True), "*")
    block = next((f"{item.value}".rpartition(".")[2] for item in one.decorators), "")
    returns = f"`{BLOCKS[block]}[{spell(one.returns.slice)}]`" if block in BLOCKS else show_type(one.returns)
    await_ = "await " if "async" in one.labels and block not in BLOCKS else ""
    yield from ("", f"`{await_}{one.name}({', '.join(words)})` → {returns}")
    yield from render_text(one)
    yield from render_arguments(one, one, live)
    for section in parsed(one, "returns"):
        yield from ("", f"Returns: {' '.join(item.description for item in section).replace(chr(10), ' ')}")
    yield from render_raises(one)


def parsed(one: Any, kind: str) -> Iterator[Any]:
    """Yield the values of the sections of a docstring that are of one kind."""
    for section in one.docstring.parsed if one.docstring else ():
        if section.kind.value == kind:
            yield section.value


def render_text(one: Any) -> Iterator[str]:
    """Yield the plain paragraphs of a docstring."""
    for text in parsed(one, "text"):
        yield from ("", *text.splitlines())


def render_arguments(one: Any, function: Any, live: Any) -> Iterator[str]:
    """Yield a table of the arguments that a docstring tells about."""
    defaults = inspect.signature(live).parameters
    rows = [
        (
            f"`{item.name}`",
            show_type(function.parameters[item.name].annotation),
            show_default(defaults[item.name].default),
            item.description,
        )
        for section in parsed(one, "parameters")
        for item in section
    ]
    yield from render_table(("argument", "type", "default", ""), rows)


def show_type(annotation: Any) -> str:
    """Return a type in code, with the names that this package has for types written out."""
    return f"`{spell(annotation)}`" if annotation else ""


def spell(annotation: Any) -> str:
    if isinstance(annotation, griffe.ExprBinOp) and is_unreachable(annotation.right):
        return spell(annotation.left)
    if isinstance(annotation, griffe.ExprName | griffe.ExprAttribute):
        path = annotation.canonical_path
        if not path.startswith("tagferry."):
            return path if isinstance(annotation, griffe.ExprAttribute) else annotation.name
        found = PACKAGE[path.removeprefix("tagferry.")]
        alias = found.final_target if found.is_alias else found
        is_type = alias.is_attribute and alias.value and not isinstance(alias.value, griffe.ExprCall)
        return spell(alias.value) if is_type else alias.name
    if isinstance(annotation, griffe.Expr):
        return "".join(map(spell, annotation.iterate(flat=False)))
    return f"{annotation}"


def is_unreachable(annotation: Any) -> bool:
    return isinstance(annotation, griffe.ExprName) and annotation.canonical_path in UNREACHABLE


def show_default(value: object) -> str:
    """Return a default in code; nothing for an argument that has to be given."""
    return "" if value is inspect.Parameter.empty else f"`{value!r}`"


def render_raises(one: Any) -> Iterator[str]:
    """Yield a list of what a docstring says is raised."""
    for section in parsed(one, "raises"):
        yield ""
        for item in section:
            yield f"- raises `{item.annotation}`: {flat(item.description)}"


def render_attributes(one: Any) -> Iterator[str]:
    """Yield a table of public attributes, told about in the docstring of the class or in their own."""
    told = {item.name: item.description for section in parsed(one, "attributes") for item in section}
    rows = []
    for name, item in one.members.items():
        if not item.is_attribute or name.startswith("_") or f"{one.name}.{name}" in HIDDEN:
            continue
        if item.annotation or name in told:
            text = told.get(name) or (item.docstring.value if item.docstring else "")
            default = f"`{item.value}`" if "class-attribute" in item.labels and is_plain(item.value) else ""
            rows.append((f"`{name}`", show_type(item.annotation), default, text))
    if any(default for _, _, default, _ in rows):
        yield from render_table(("attribute", "type", "default", ""), rows)
    else:
        yield from render_table(("attribute", "type", ""), [(*row[:2], row[3]) for row in rows])


def is_plain(value: object) -> bool:
    """Tell whether a default is written as itself, and not as a call that makes it."""
    return isinstance(value, str) or (isinstance(value, griffe.Expr) and "(" not in f"{value}")


def render_faults() -> Iterator[str]:
    """Yield a table of the emulator's faults."""
    yield from ("", "## Faults of the emulator", "")
    yield "For `Emulator.faults.add(operation, fault)` and `tagferry emulator --fault OPERATION=FAULT`."
    yield "` & ` joins several in one answer; ` x3` behind them is three answers, ` x*` all."
    rows = []
    for name, word in WORDS.items():
        options = ", ".join(f"`{key}=`" for key in word.options)
        rows.append((f"`{name}{FORMS[word.shape]}`", word.scope, word.says, options))
    yield from render_table(("fault", "operations", "what happens", "options"), rows)


def render_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table, unless it has no rows."""
    rows = list(rows)
    if rows:
        yield from ("", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}")
        for row in rows:
            yield f"| {' | '.join(flat(cell).replace('|', chr(92) + '|') for cell in row)} |"


def flat(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
