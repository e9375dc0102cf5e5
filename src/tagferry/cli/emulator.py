"""``tagferry emulator``: a local stand-in for the services, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagferry.cli.logs import Redactor
from tagferry.cli.screen import Screen
from tagferry.cli.stop import run_async, stop_on_signals
from tagferry.cli.words import number, per_second, read_path, read_text, whole
from tagferry.emulator import Emulator, Settings, TencentSettings
from tagferry.errors import ConfigError

__all__ = ["emulator"]


Port = Annotated[int, Parameter(converter=whole(0, 65535, 8080), metavar="N")]
Amount = Annotated[
    float, Parameter(converter=number(0, "0.5"), metavar="N", show_default=lambda value: f"{value:g}")
]
Rate = Annotated[
    int, Parameter(converter=per_second(1, 10**6), metavar="N/s", show_default=lambda value: f"{value}/s")
]
Counts = Annotated[tuple[str, ...], Parameter(metavar="ID=N", negative="", show_default=False)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """How the emulator behaves."""

    host: Annotated[str, Parameter(converter=read_text, metavar="ADDRESS", help="A loopback address.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Parameter(help="The port of the API; 0 takes a free one.")] = 0
    download_port: Annotated[Port, Parameter(help="The port of the download host; 0 takes a free one.")] = 0
    token: Annotated[
        str,
        Parameter(converter=read_text, metavar="TEXT", help="The token it accepts; made up, so no secret."),
    ] = "emulator-token"  # noqa: S105  # it opens nothing but this emulator
    time_scale: Annotated[Amount, Parameter(help="Real seconds in one second of the service.")] = 1.0
    job_seconds: Annotated[Amount, Parameter(help="Seconds of the service that an export takes.")] = 30.0
    rows: Annotated[
        int, Parameter(converter=whole(0, 10**9, 1000), metavar="N", help="Rows of each audience.")
    ] = 1000
    rows_of: Annotated[Counts, Parameter(help="Rows of one export; may be repeated.")] = ()
    parts_of: Annotated[Counts, Parameter(help="Links of one export; may be repeated.")] = ()
    rate: Annotated[Rate, Parameter(help="Requests of each exporter kind that it allows.")] = 2
    tencent_quota: Annotated[Rate, Parameter(help="Calls of a Tencent IM app that it allows.")] = 100
    latency: Annotated[Amount, Parameter(help="Real seconds between a request and its answer.")] = 0.0
    fault: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="OPERATION=FAULT",
            negative="",
            show_default=False,
            help="What is to go wrong, like growingio-saas.download=cut@1000; ' x3' behind it is three times."
            " May be repeated. A name that it does not know is answered with all that there are.",
        ),
    ] = ()
    ready_file: Annotated[
        Path | None,
        Parameter(converter=read_path, metavar="PATH", help="Write the line of JSON to this file, too."),
    ] = None
    until_eof: Annotated[
        bool, Parameter(negative="", show_default=False, help="Stop when standard input ends, too.")
    ] = False

    def build(self) -> Emulator:
        """Return an emulator that is not started.

        Raises:
            ConfigError: A value that it cannot take.
        """
        try:
            service = Emulator(self._settings())
            _order(service, self.fault)
        except ValueError as error:
            raise ConfigError(str(error), hint="run tagferry emulator --help") from None
        return service

    def _settings(self) -> Settings:
        return Settings(
            host=self.host,
            port=self.port,
            download_port=self.download_port,
            token=self.token,
            time_scale=self.time_scale,
            job_seconds=self.job_seconds,
            rows=self.rows,
            rows_by_export=_read_counts(self.rows_of),
            parts_by_export=_read_counts(self.parts_of),
            quota_per_second=self.rate,
            latency=self.latency,
            tencent=TencentSettings(quota_per_second=self.tencent_quota),
        )


def emulator(*, options: EmulatorOptions = EmulatorOptions()) -> int:
    """Run the emulator; Ctrl-C ends it with exit code 130, SIGTERM with 0."""
    service = options.build()
    return run_async(lambda: _serve(service, options.ready_file, until_eof=options.until_eof))


def _read_counts(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        name, _, text = word.partition("=")
        if not (name and text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text)):
            raise ValueError(f"{word!r} is not ID=N with a number of at least 1, like 5rREn4PL=3")
        counts[name] = int(text)
    return counts


def _order(service: Emulator, faults: Iterable[str]) -> None:
    for order in faults:
        operation, sign, fault = order.partition("=")
        if not sign:
            raise ValueError(f"fault {order!r} is not OPERATION=FAULT, like growingio-saas.poll=status=503")
        service.faults.add(operation, fault)


async def _serve(service: Emulator, ready_file: Path | None, *, until_eof: bool) -> int:
    with stop_on_signals() as stop:
        try:
            await service.__aenter__()
        except OSError as error:
            hint = "choose another --host or --port; port 0 takes a free one"
            raise ConfigError(f"the emulator cannot listen: {error.strerror}", hint=hint) from None
        try:
            _announce(service, ready_file)
            await (_end_of_input() if until_eof else asyncio.get_running_loop().create_future())
        finally:
            await service.__aexit__(None, None, None)
    return 130 if stop.signal is signal.SIGINT else 0


def _announce(service: Emulator, ready_file: Path | None) -> None:
    facts = {
        "base_url": service.base_url,
        "download_url": service.download_url,
        "token": service.token,
        "admin": f"{service.base_url}/_emulator",
        # Nothing here opens anything but this emulator.
        "environment": service.environment,
    }
    line = json.dumps(facts)
    if ready_file is not None:
        _write_whole(ready_file, line + "\n")
    screen = Screen(Redactor())
    if sys.stdout.isatty():
        _greet(screen, service.environment)
    else:
        screen.give([line])


def _greet(screen: Screen, environment: Mapping[str, str]) -> None:
    """Tell a person what to type; a program reads the line of JSON instead."""
    screen.say("The emulator runs until Ctrl-C. Paste this in another terminal:")
    screen.give(f"export {name}={value}" for name, value in environment.items())
    screen.say("Then try: tagferry export growingio-tag nxog09md 5rREn4PL")


def _write_whole(path: Path, text: str) -> None:
    """Write a file that others wait for: it appears with all that is in it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="choose another --ready-file"
        ) from None


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        # Raw: a buffered stream has a lock, which a thread must not hold when the interpreter ends.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, name="tagferry-stdin", daemon=True).start()
    await ended.wait()
