"""Finds and reads the config file, and resolves the settings of one run."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagferry.errors import ConfigError
from tagferry.layers import CONFIG, PROFILE, layer
from tagferry.settings import FILE_NAME, ConfigFile, Settings

if TYPE_CHECKING:
    from tagferry.cli.options import SettingsOptions
    from tagferry.cli.screen import Screen

__all__ = ["load", "read_file", "resolve", "user_directory"]

MAX_FILE = 1024 * 1024
"""The largest config file that is read, in bytes."""


def user_directory() -> Path:
    """Return the config directory that this user's system has for tagferry."""
    from platformdirs import user_config_path  # noqa: PLC0415  # no need of it for --help

    return user_config_path("tagferry", appauthor=False)


def load(
    *, config: str | None, profile: str | None, environ: Mapping[str, str], here: Path, home: Path
) -> Settings:
    """Find and read the config file, and resolve every setting.

    Args:
        config: The file that the command line names.
        profile: The profile that the command line names.
        environ: The environment.
        here: The working directory.
        home: The user's config directory of this program.

    Raises:
        ConfigError: A file or a profile is not there or not right.
    """
    path = _find_file(config, environ, here, home)
    file = None if path is None else read_file(path)
    return layer(file=file, profile=profile or environ.get(PROFILE) or None, environ=environ)


def resolve(options: SettingsOptions, screen: Screen) -> Settings:
    """Resolve the settings of this process, and warn of what is odd."""
    settings = load(
        config=options.config,
        profile=options.profile,
        environ=os.environ,
        here=Path(),
        home=user_directory(),
    )
    screen.redactor.learn(settings.secrets)
    for notice in settings.notices:
        screen.warn(notice)
    return settings


def read_file(path: Path) -> ConfigFile:
    """Read a config file.

    Raises:
        ConfigError: It cannot be read or is no TOML.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            text = stream.read(MAX_FILE + 1)
    except OSError as error:
        hint = "check --config, TAGFERRY_CONFIG and the file's permissions"
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint=hint) from None
    if len(text) > MAX_FILE:
        raise ConfigError(f"{path} is larger than {MAX_FILE} bytes", hint="is it a config file?")
    # A pipe has no permissions that mean anything.
    mode = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else 0o600
    return ConfigFile(path, _parse(path, text), mode)


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8", hint="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Its text names line and column; only single characters of the file are in it.
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
        hint = 'values are written in quotes, like token = "…"'
        raise ConfigError(f"{path} is no TOML: {why}", hint=hint) from None


def _find_file(config: str | None, environ: Mapping[str, str], here: Path, home: Path) -> Path | None:
    if named := config or environ.get(CONFIG):
        return here / Path(named).expanduser()
    return next((path for path in (here / FILE_NAME, home / FILE_NAME) if path.is_file()), None)
