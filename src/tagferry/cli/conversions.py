"""What a run of ``tagferry convert`` has to do, and how it ended. Pure, but for looks at what is there."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tagferry.cli.document import describe_error, describe_stop
from tagferry.cli.report import PARTIAL, add_option, exit_code, first_code, goes_on
from tagferry.cli.stop import EXIT_CODES
from tagferry.errors import ConfigError, IntegrityError, RecordError, TagferryError
from tagferry.files.disk import check_directory, look
from tagferry.rows.convert import Converted, Format
from tagferry.rows.file_name import output_name, split_name

__all__ = ["Conversions", "Task", "check_tasks", "plan_tasks"]

_ENDINGS: dict[Format, str] = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}


@dataclass
class Task:
    """One output, and the files that it is made of."""

    sources: Sequence[Path]
    target: Path
    size: int
    """Bytes of these files."""
    end: Converted | TagferryError | Literal["skipped"] | None = None
    """How it ended; None while it has not."""


def plan_tasks(files: Sequence[Path], to: Format, output: Path | None) -> list[Task]:
    """Return which files make which output.

    The numbered parts of one export are one table. With an output that has an ending, all files are.

    Raises:
        ConfigError: Files are missing, named twice, not finished, or two outputs would share a name.
    """
    _check_sources(files)
    _check_ending(output, to)
    if output is not None and output.suffix and not output.is_dir():
        tasks = [_make_task(files, output)]
    else:
        tasks = [
            _make_task(sources, (output or sources[0].parent) / output_name(sources, to))
            for sources in _group(files)
        ]
    seen: dict[Path, Task] = {}
    for task in tasks:
        if other := seen.get(task.target):
            msg = f"{other.sources[0]} and {task.sources[0]} would both be written to {task.target}"
            raise ConfigError(
                msg, hint="convert them one by one, or give --output FILE to make them one table"
            )
        seen[task.target] = task
        if task.target.resolve() in {file.resolve() for file in files}:
            msg = f"{task.target} is one of the files to convert"
            raise ConfigError(msg, hint="give another --output")
    return tasks


def _check_ending(output: Path | None, to: Format) -> None:
    ending = "" if output is None else output.suffix.lower()
    if output is not None and ending in _ENDINGS.values() and ending != _ENDINGS[to] and not output.is_dir():
        msg = f"the output {output} ends in {output.suffix}, but --to is {to}"
        raise ConfigError(msg, hint=f"write --output {output.with_suffix(_ENDINGS[to])}, or another --to")


def _make_task(sources: Sequence[Path], target: Path) -> Task:
    return Task(sources, target, sum(status.st_size for file in sources if (status := look(file))))


def check_tasks(tasks: Sequence[Task], if_exists: str) -> None:
    """Refuse or skip outputs that are there.

    Raises:
        ConfigError: One is there, or its directory cannot be written.
        DiskError: It cannot be looked at.
    """
    for task in tasks:
        check_directory(task.target.parent)
        if task.target.is_dir():
            raise ConfigError(f"{task.target} is a directory", hint="give another --output")
        if task.target.exists() and if_exists == "error":
            hint = "--if-exists skip keeps it and goes on with the rest, replace does not"
            raise ConfigError(f"{task.target} is already there", hint=hint)
        if task.target.exists() and if_exists == "skip":
            task.end = "skipped"


def _check_sources(files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            what = "is a directory" if file.is_dir() else "is not there"
            raise ConfigError(f"{file} {what}", hint="name the files to convert")
        if file.name.endswith(".part"):
            raise ConfigError(f"{file} is unfinished", hint="run its export again: it goes on there")
        if files.count(file) > 1:
            raise ConfigError(f"{file} is named twice", hint="name each file once")


def _group(files: Sequence[Path]) -> list[Sequence[Path]]:
    """Return the files that belong together; parts are in the order of their numbers."""
    groups: dict[tuple[object, ...], list[Path]] = {}
    for file in files:
        name = split_name(file.name)
        # A file without a number is a whole one.
        key = (file,) if name.part is None else (file.parent, name.stem, name.format)
        groups.setdefault(key, []).append(file)
    return [_in_order(group) for group in groups.values()]


def _in_order(group: Sequence[Path]) -> Sequence[Path]:
    if len(group) == 1:
        return group
    parts = {split_name(file.name).part or 0: file for file in group}
    if missing := [number for number in range(1, len(group) + 1) if number not in parts]:
        first = group[0].parent / split_name(group[0].name).stem
        msg = f"of the parts of {first}, number {missing[0]:05d} is missing"
        raise ConfigError(msg, hint="name all parts, or give --output FILE to make one table of these")
    return [parts[number] for number in sorted(parts)]


@dataclass
class Conversions:
    """The conversions of a run."""

    tasks: Sequence[Task]
    stopped: signal.Signals | None = None
    failures: list[tuple[Task, TagferryError]] = field(default_factory=list[tuple[Task, TagferryError]])

    def settle(self, task: Task, end: Converted | TagferryError) -> None:
        """Note how one ended."""
        task.end = end
        if isinstance(end, TagferryError):
            self.failures.append((task, end))

    def note_stop(self, number: signal.Signals | None) -> None:
        """Note that a signal came; one that came when all was settled changes nothing."""
        self.stopped = number if any(task.end is None for task in self.tasks) else None

    @property
    def done(self) -> list[Task]:
        """Those whose output is there."""
        return [task for task in self.tasks if task.end == "skipped" or isinstance(task.end, Converted)]

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        if self.stopped is not None:
            return EXIT_CODES[self.stopped]
        if not self.failures:
            return 0
        return PARTIAL if self.done else first_code(exit_code(error) for _, error in self.failures)

    @property
    def can_go_on(self) -> bool:
        """Whether the same command, run again, may bring what is missing."""
        # A file that is damaged stays so.
        passing = [error for _, error in self.failures if not isinstance(error, RecordError | IntegrityError)]
        return self.stopped is not None or any(map(goes_on, passing))

    def command(self, argv: Sequence[str]) -> str:
        """Return the command that goes on where this run ended."""
        words = list(argv)
        if self.done and not any(word.startswith("--if-exists") for word in words):
            words = add_option(words, "--if-exists", "skip")
        return shlex.join(["tagferry", *words])

    def document(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the JSON document."""
        hint = f"to go on, run: {self.command(argv)}"
        stop = None if self.stopped is None else describe_stop(self.stopped, hint)
        whole = self.stopped is None and not self.failures
        outcome = "complete" if whole else "partial" if self.done else "failed"
        files = [_describe(task, stop) for task in self.tasks]
        return {"v": 1, "outcome": outcome, "files": files, "error": stop}


def _describe(task: Task, stop: dict[str, Any] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "sources": [str(file) for file in task.sources],
        "path": str(task.target),
        "state": "failed",
        "size": None,
        "rows": None,
        "skipped": 0,
        "error": stop,
    }
    match task.end:
        case Converted(size=size, rows=rows, skipped=skipped):
            facts.update(state="done", size=size, rows=rows, skipped=skipped, error=None)
        case "skipped":
            facts.update(state="skipped", error=None)
        case TagferryError() as error:
            facts["error"] = describe_error(error)
        case None:
            pass
    return facts
