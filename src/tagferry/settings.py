"""What a user can set, and what each setting is once all places were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagferry.errors import ConfigError
from tagferry.services import growingio_saas

__all__ = [
    "FILE_NAME",
    "PREFIX",
    "SETTINGS",
    "ConfigFile",
    "Setting",
    "Settings",
    "Value",
]

FILE_NAME = "tagferry.toml"
PREFIX = "TAGFERRY_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set; in a file its name is a section and a key."""

    name: str
    what: str  # in words, for messages
    secret: bool = False
    default: str | None = None
    source: str = ""  # where a user finds a value
    rival: str = ""  # what it stands in the place of: the stronger layer has one of the two

    @property
    def section(self) -> str:
        """The section of a config file."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """The key in that section."""
        return self.name.partition(".")[2]

    @property
    def env(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.replace(".", "_").upper()


SETTINGS = (
    Setting(
        "growingio.token",
        "the GrowingIO token",
        secret=True,
        source="make an API token in GrowingIO, project settings, API Token management",
    ),
    Setting("growingio.base_url", "the address of the GrowingIO API", default=growingio_saas.BASE_URL),
    Setting("growingio.client_id", "the project's public key, which old GrowingIO tokens need"),
    Setting(
        "cdp.token",
        "the GrowingIO CDP token",
        secret=True,
        source="make a token in the CDP console, personal settings, Token management",
    ),
    Setting(
        "cdp.base_url",
        "the address of your GrowingIO CDP",
        source="it is where the console is, like http://cdp.example.com",
    ),
    Setting("cdp.download_url", "the address that files of the CDP come from, if it is another one"),
    Setting(
        "tencent.sdkappid",
        "the SDKAppID of the Tencent IM app",
        source="it is in the Chat console of Tencent Cloud, like 1400000000",
    ),
    Setting(
        "tencent.identifier",
        "the administrator of the Tencent IM app",
        source="it is the UserID of an app administrator, set in the Chat console",
    ),
    Setting(
        "tencent.secret_key",
        "the secret key of the Tencent IM app",
        secret=True,
        source="it is in the Chat console, with the app's basic information",
    ),
    Setting(
        "tencent.user_sig",
        "a UserSig made elsewhere, instead of the secret key",
        secret=True,
        rival="tencent.secret_key",
    ),
    Setting(
        "tencent.base_url",
        "the address of the Tencent IM API, instead of a region",
        rival="tencent.region",
    ),
    Setting("tencent.region", "the data centre of the Tencent IM app, such as china or singapore"),
)
"""Every setting; a further service adds its own here."""


@dataclass(frozen=True, slots=True, repr=False)
class Value:
    """What a setting is, and who said so."""

    setting: Setting
    text: str | None
    origin: str

    @property
    def is_left_out(self) -> bool:
        """Whether a stronger layer has what stands in its place; the origin tells."""
        return self.text is None and self.origin != "default"

    @property
    def shown(self) -> str:
        """The value for people's eyes: a secret is masked."""
        if self.text is None:
            return "(not set)"
        return "(secret)" if self.setting.secret else self.text

    def __repr__(self) -> str:
        return f"Value({self.setting.name}={self.shown}, from {self.origin})"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file as it was read, with its permission bits."""

    path: Path
    content: Mapping[str, Any] = field(repr=False)
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, resolved."""

    values: Mapping[str, Value]
    notices: tuple[str, ...] = ()  # what is odd but not wrong

    def get(self, name: str) -> str | None:
        """Return a value, or None when nothing sets it."""
        return self.values[name].text

    def need(self, name: str) -> str:
        """Return a value that has to be there.

        Raises:
            ConfigError: Nothing sets it.
        """
        value = self.values[name]
        if value.text is not None:
            return value.text
        setting = value.setting
        place = f"set {setting.env}, or {setting.key} in [{setting.section}] of {FILE_NAME}"
        hint = "; ".join(filter(None, [setting.source, place]))
        raise ConfigError(f"{setting.what} is not set", hint=hint)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values, so that they can be kept out of logs."""
        return tuple(v.text for v in self.values.values() if v.setting.secret and v.text)
