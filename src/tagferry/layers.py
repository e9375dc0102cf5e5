"""Where settings come from: defaults, a file, a profile in it, the environment; the later one wins."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from tagferry.errors import ConfigError
from tagferry.settings import FILE_NAME, PREFIX, SETTINGS, ConfigFile, Setting, Settings, Value

__all__ = ["CONFIG", "PROFILE", "layer"]

CONFIG = f"{PREFIX}CONFIG"
"""The variable that names the config file."""
PROFILE = f"{PREFIX}PROFILE"
"""The variable that names the profile."""


def layer(
    *,
    file: ConfigFile | None = None,
    profile: str | None = None,
    environ: Mapping[str, str],
) -> Settings:
    """Resolve every setting; pure.

    Args:
        file: The config file, if there is one.
        profile: The profile that overlays the file's plain sections.
        environ: The environment; an empty variable counts as not set.

    Raises:
        ConfigError: The file has a key that does not exist or a value of a wrong type, or no such profile.
    """
    values = {one.name: Value(one, one.default, "default") for one in SETTINGS}
    overlays: dict[str, dict[str, Value]] = {}
    if file is not None:
        _lay(values, _read_sections(file, file.content, "", skip={"profile"}))
        overlays = dict(_read_profiles(file))
    if profile is not None:
        _lay(values, _choose_profile(profile, overlays, file))
    _lay(values, _read_environment(environ))
    return Settings(values, tuple(_notices(file, environ)))


def _read_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    return {
        one.name: Value(one, text, f"environment variable {one.env}")
        for one in SETTINGS
        if (text := environ.get(one.env))
    }


def _lay(values: dict[str, Value], stronger: Mapping[str, Value]) -> None:
    """Put the values of a layer over those of weaker ones."""
    values.update(stronger)
    for one in SETTINGS:
        if one.rival and (one.name in stronger) != (one.rival in stronger):
            named, left_out = (one.name, one.rival) if one.name in stronger else (one.rival, one.name)
            if values[left_out].text is not None:
                reason = f"left out: {named} comes from {values[named].origin}"
                values[left_out] = Value(values[left_out].setting, None, reason)


def _read_profiles(file: ConfigFile) -> Iterator[tuple[str, dict[str, Value]]]:
    for name, sections in _section(file, file.content.get("profile", {}), "profile").items():
        content = _section(file, sections, f"profile.{name}")
        yield name, _read_sections(file, content, f"profile.{name}.")


def _section(file: ConfigFile, value: object, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    wanted = f"[{name}.NAME.growingio]" if name == "profile" else f"[{name}]"
    raise ConfigError(f"{file.path}: {name} is not a section", hint=f"write sections like {wanted}")


def _choose_profile(
    profile: str, overlays: Mapping[str, dict[str, Value]], file: ConfigFile | None
) -> dict[str, Value]:
    if file is None:
        hint = f"write {FILE_NAME} with a section [profile.{profile}.growingio], or name the file by --config"
        raise ConfigError(f"profile {profile!r} is chosen, but there is no config file", hint=hint)
    if profile not in overlays:
        there = f"it has {', '.join(sorted(overlays)) or 'none'}; check --profile and {PROFILE}"
        hint = _guess(profile, overlays) or there
        raise ConfigError(f"{file.path} has no profile {profile!r}", hint=hint)
    return overlays[profile]


def _read_sections(
    file: ConfigFile,
    sections: Mapping[str, Any],
    prefix: str,
    skip: Iterable[str] = (),
) -> dict[str, Value]:
    known = {one.section for one in SETTINGS} | set(skip)
    found: dict[str, Value] = {}
    for section, entries in sections.items():
        if section not in known:
            raise _unknown(file, f"section [{prefix}{section}]", section, known)
        if section in skip:
            continue
        keys = {one.key: one for one in SETTINGS if one.section == section}
        for key, value in _section(file, entries, prefix + section).items():
            if key not in keys:
                raise _unknown(file, f"key {key!r} in [{prefix}{section}]", key, keys)
            found[f"{section}.{key}"] = _read_value(file, keys[key], value, f"[{prefix}{section}]")
    return found


def _read_value(file: ConfigFile, setting: Setting, value: object, where: str) -> Value:
    if not isinstance(value, str) or not value.strip():
        # The value itself may be a secret, so only its kind is named.
        kind = "empty" if isinstance(value, str) else f"of the type {type(value).__name__}, not a text"
        hint = f'write it in quotes, like {setting.key} = "…"'
        raise ConfigError(f"{file.path}: {setting.key} in {where} is {kind}", hint=hint)
    return Value(setting, value, f"{file.path} {where} {setting.key}")


def _unknown(file: ConfigFile, what: str, word: str, known: Iterable[str]) -> ConfigError:
    known = sorted(known)
    return ConfigError(
        f"{file.path} has an unknown {what}", hint=_guess(word, known) or f"known: {', '.join(known)}"
    )


def _guess(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else None


def _notices(file: ConfigFile | None, environ: Mapping[str, str]) -> Iterator[str]:
    known = {one.env for one in SETTINGS} | {CONFIG, PROFILE}
    if unknown := sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        shown = (f"{name} ({guess})" if (guess := _guess(name, known)) else name for name in unknown)
        yield f"unknown environment variable {', '.join(shown)} has no effect"
    if file is not None and file.mode & 0o077 and _holds_secret(file):
        command = shlex.join(["chmod", "600", str(file.path)])
        yield f"{file.path} holds a secret and others can read it; run: {command}"


def _holds_secret(file: ConfigFile) -> bool:
    plain = file.content
    profiles = plain.get("profile", {}).values()
    return any(
        one.key in sections.get(one.section, {})
        for sections in (plain, *profiles)
        for one in SETTINGS
        if one.secret
    )
