"""``tagferry doctor``: checks what every service is set up with, and this machine."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tagferry.cli.checkups import CHECKUPS, Checkup, Choices, Question
from tagferry.cli.config import load, user_directory
from tagferry.cli.diagnosis import Diagnosis, Finding, is_configured, judge_error, judge_settings
from tagferry.cli.document import dump
from tagferry.cli.logs import logging_to
from tagferry.cli.machine import examine_machine
from tagferry.cli.options import Call, DoctorOptions
from tagferry.cli.probes import examine_address
from tagferry.cli.screen import Screen
from tagferry.cli.stop import EXIT_CODES, Stop, run_async, stop_on_signals
from tagferry.cli.tencent import Service
from tagferry.cli.text import plain
from tagferry.errors import ConfigError, TagferryError
from tagferry.settings import FILE_NAME, Settings

__all__ = ["doctor"]

_TITLES = {"settings": "Settings", "machine": "This machine"} | {one.section: one.title for one in CHECKUPS}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def doctor(
    *,
    service: Service = "all_member_push",
    options: DoctorOptions = DoctorOptions(),  # noqa: B008  # it is frozen
    invocation: Call,
) -> int:
    """Check the set-up; the exit code is 0 when nothing failed, whatever there is to warn of."""
    screen = Screen(invocation.redactor)
    choices = Choices(options.project_uid, service)
    sections: dict[str, list[Finding]] = {"settings": []}
    stop = Stop()
    try:
        settings = load(
            config=options.config,
            profile=options.profile,
            environ=os.environ,
            here=Path(),
            home=user_directory(),
        )
    except ConfigError as error:
        sections["settings"].append(judge_error("file", error))
    else:
        screen.redactor.learn(settings.secrets)
        sections["settings"] += _examine_settings(settings)
        patients = [one for one in CHECKUPS if is_configured(settings, one.section)]
        sections |= {one.section: [] for one in patients}
        with logging_to(screen.console, options.log_level, screen.redactor):
            stop = run_async(lambda: _examine(patients, settings, choices, sections))
    if stop.signal is not None:
        screen.say(f"tagferry: stopped by {stop.signal.name}")
        return EXIT_CODES[stop.signal]
    sections["machine"] = examine_machine()
    diagnosis = Diagnosis([(subject, _clean(found, screen)) for subject, found in sections.items() if found])
    _tell(diagnosis, options, screen)
    return diagnosis.exit_code


def _examine_settings(settings: Settings) -> list[Finding]:
    found = [Finding(check="settings", verdict="warn", text=notice) for notice in settings.notices]
    if not any(is_configured(settings, one.section) for one in CHECKUPS):
        hint = f"set TAGFERRY_GROWINGIO_TOKEN, for example, or write token to [growingio] of {FILE_NAME}"
        text = "no service is set up"
        found.append(Finding(check="services", verdict="fail", text=text, hint=hint, code=2))
    return found


async def _examine(
    patients: Iterable[Checkup],
    settings: Settings,
    choices: Choices,
    sections: dict[str, list[Finding]],
) -> Stop:
    """Examine all services at once."""

    async def examine(patient: Checkup) -> None:
        sections[patient.section] += await _examine_service(patient, settings, choices)

    with stop_on_signals() as stop:
        async with anyio.create_task_group() as group:
            for patient in patients:
                group.start_soon(examine, patient)
    return stop


async def _examine_service(patient: Checkup, settings: Settings, choices: Choices) -> list[Finding]:
    found = judge_settings(settings, patient.section)
    try:
        addresses = patient.addresses(settings)
        question = patient.question(settings, choices)
    except ConfigError as error:
        return [*found, judge_error("settings", error)]
    for use, url in addresses.items():
        ask = None if use else functools.partial(_ask, question)
        more = await examine_address(url, patient.service, signs=patient.signs, ask=ask)
        found += [replace(one, check=use + one.check) for one in more]
    return found


async def _ask(question: Question) -> Finding:
    if question.ask is None:
        text = "not checked: every call of this service is about a project"
        return Finding(check="credentials", verdict="skip", text=text, hint=question.hint)
    try:
        async with question.client:
            answer = await question.ask()
    except TagferryError as error:
        return judge_error("credentials", error)
    return Finding(check="credentials", verdict="ok", text=f"accepted: {answer}")


def _clean(findings: Sequence[Finding], screen: Screen) -> list[Finding]:
    """Take secrets out once more: a server may send back what it got."""
    clean = screen.redactor.clean
    return [
        replace(one, text=clean(one.text), hint=clean(one.hint) if one.hint else None) for one in findings
    ]


def _tell(diagnosis: Diagnosis, options: DoctorOptions, screen: Screen) -> None:
    if options.json:
        screen.give([dump(diagnosis.document())])
        return
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        for subject, findings in diagnosis.sections:
            console.print(Text(_TITLES[subject], style="bold"))
            console.print(_draw(findings))
    screen.give(line.rstrip() for line in captured.get().splitlines())
    screen.say(diagnosis.summary)


def _draw(findings: Iterable[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=6, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        text = Text(plain(one.text))
        if one.hint:
            text.append(f"\nnext: {plain(one.hint)}", style="dim")
        table.add_row(Text(f"  {one.verdict}", style=_STYLES[one.verdict]), Text(one.check), text)
    return table
