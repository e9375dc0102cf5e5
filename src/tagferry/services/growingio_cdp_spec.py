"""What a job of GrowingIO CDP is to export: checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from tagferry.errors import ConfigError
from tagferry.wire.excerpt import excerpt

__all__ = [
    "MAX_PROPERTIES",
    "SEGMENT",
    "SERVICE",
    "TAG",
    "CsvHeader",
    "ExportSpec",
    "FileFormat",
    "scope_url",
    "segment_spec",
    "tag_spec",
]

SERVICE = "growingio-cdp"
TAG = "growingio-cdp-tag"
SEGMENT = "growingio-cdp-segment"
MAX_PROPERTIES = 60

FileFormat = Literal["csv", "json"]
CsvHeader = Literal["key", "name"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(r"[^\s,;&#?%/\\\"']{1,128}")


class ExportSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is to export. Made by `tag_spec` and `segment_spec`, which check it."""

    kind: str
    key: str
    """The key of the tag or the segment, not its id."""
    project: str | None = None
    space: str | None = None
    properties: tuple[str, ...] = ()
    file_format: FileFormat = "csv"
    csv_header: CsvHeader = "key"

    @property
    def name(self) -> str:
        """What is exported, in words, for messages."""
        what = f"{'tag' if self.kind == TAG else 'segment'} {self.key}"
        places = (("space", self.space), ("project", self.project))
        return what + "".join(f" of {word} {place}" for word, place in places if place)

    @property
    def ids(self) -> tuple[str, ...]:
        """Project, space and key, as far as there are any; for file names."""
        return tuple(one for one in (self.project, self.space, self.key) if one)


def tag_spec(
    key: str,
    *,
    project: str | None = None,
    space: str | None = None,
    properties: Iterable[str] = (),
    file_format: FileFormat = "csv",
    csv_header: CsvHeader = "key",
) -> ExportSpec:
    """Describe the export of a tag's users.

    Args:
        key: The tag's key, like ``"tag_rfm"``.
        project: The project's id; without one the tag is looked up in the whole CDP.
        space: The space's id (4.x); needs a project.
        properties: Keys of identities, attributes and tags to export beside ``gio_id``, at most 60.
        file_format: ``"csv"``, or ``"json"`` for JSON Lines.
        csv_header: Whether the header row of a CSV has keys or display names, which may repeat.

    Raises:
        ConfigError: A value that the service cannot take.
    """
    _check_key("tag key", key, "tag_rfm")
    return _check(
        ExportSpec(
            kind=TAG,
            key=key,
            project=project,
            space=space,
            properties=_check_properties(properties),
            file_format=file_format,
            csv_header=csv_header,
        )
    )


def segment_spec(
    key: str,
    *,
    project: str,
    space: str | None = None,
    properties: Iterable[str] = (),
    file_format: FileFormat = "csv",
    csv_header: CsvHeader = "key",
) -> ExportSpec:
    """Describe the export of a segment's users; as `tag_spec`, but a segment is always of a project.

    Raises:
        ConfigError: A value that the service cannot take.
    """
    _check_key("segment key", key, "seg_51activity")
    return _check(
        ExportSpec(
            kind=SEGMENT,
            key=key,
            project=_check_id("project id", project),
            space=space,
            properties=_check_properties(properties),
            file_format=file_format,
            csv_header=csv_header,
        )
    )


def scope_url(base_url: str, project: str | None, space: str | None) -> str:
    """Return the URL that the paths of a data centre, a project or a space begin with.

    Raises:
        ConfigError: An id that cannot be one, or a space without its project.
    """
    if space is not None and project is None:
        msg = f"space {excerpt(repr(space))} needs its project"
        raise ConfigError(msg, service=SERVICE, hint="give project= too, --project on the command line")
    url = f"{base_url}/v1/api"
    for word, part, value in (("project id", "projects", project), ("space id", "spaces", space)):
        if value is not None:
            url += f"/{part}/{_check_id(word, value)}"
    return url


def _check(spec: ExportSpec) -> ExportSpec:
    scope_url("", spec.project, spec.space)
    _check_word("file format", spec.file_format, get_args(FileFormat))
    _check_word("CSV header", spec.csv_header, get_args(CsvHeader))
    if spec.file_format == "json" and spec.csv_header != "key":
        msg = f"CSV header {spec.csv_header!r} means nothing to json"
        raise ConfigError(msg, service=SERVICE, hint="leave the header out, or export csv")
    return spec


def _check_key(word: str, value: object, example: str) -> None:
    if isinstance(value, str) and _KEY.fullmatch(value) and value.isprintable() and value not in {".", ".."}:
        return
    msg = (
        f"{word} {excerpt(repr(value))} is no key: 1 to 128 characters, no blanks, quotes or , ; & # ? % / \\"
    )
    raise ConfigError(msg, service=SERVICE, hint=f"give the key and not the name, like {example}")


def _check_id(word: str, value: object) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    msg = f"{word} {excerpt(repr(value))} is not made of 1 to 64 letters, digits, - and _"
    hint = "take it from tagferry list growingio-cdp-projects or the console's address bar, like WlGk4Daj"
    raise ConfigError(msg, service=SERVICE, hint=hint)


def _check_word(word: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        msg = f"{word} {excerpt(repr(value))} is not one of {' and '.join(known)}"
        raise ConfigError(msg, service=SERVICE, hint=f"{known[0]} is the default")


def _check_properties(properties: Iterable[str]) -> tuple[str, ...]:
    if isinstance(properties, str):
        msg = f"properties must be a list of keys, not the text {excerpt(repr(properties))}"
        raise ConfigError(msg, service=SERVICE, hint='write properties=["id_$basic_userId", "usr_gender"]')
    keys: list[str] = []
    for key in properties:
        _check_key("property", key, "usr_gender")
        if key in keys:
            raise ConfigError(f"property {key!r} is given twice", service=SERVICE, hint="give each key once")
        keys.append(key)
        if len(keys) > MAX_PROPERTIES:
            msg = f"these are more than {MAX_PROPERTIES} properties, the most that one export can have"
            hint = "export the others in another run into another directory; gio_id joins the two"
            raise ConfigError(msg, service=SERVICE, hint=hint)
    return tuple(keys)
