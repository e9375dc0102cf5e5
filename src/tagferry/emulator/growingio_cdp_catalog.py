"""The tags, segments and projects of the emulated CDP, and who sees them."""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tagferry.emulator.growingio_cdp_settings import CDPSettings

TAGS = "user_tags"
SEGMENTS = "segment_profiles"
"""The sorts of things, as paths name them."""
LONGEST_PAGE = 1000
_SIGNS = string.digits + string.ascii_letters
_TAGS = (
    ("tag_rfm", "会员等级"),
    ("tag_example_api", "GrowingIO"),
    ("tag_encrypted", "zxm_用户_字符串_加密"),
    ("tag_awkward", "50%25 & 高价值+沉睡#1?=\"'/..;"),
)
_SEGMENTS = (("seg_51activity", "51活动人群"), ("seg_example_api", "GrowingIO"))
_TYPES = (
    "AGGREGATED",
    "TOP_N_ATTRIBUTE",
    "ATTRIBUTION_ATTRIBUTE",
    "DATA_SET_ATTRIBUTE",
    "HORIZONTAL",
    "SQL",
)
_VALUES = ("DOUBLE", "STRING", "INT", "DATE")
_ORIGINS = ("DIRECT", "FROM_FUNNEL", "FROM_RETENTION", "FROM_FREQUENCY", "FROM_FILES")
_WORDS = {
    "CH": {
        "$basic_userId": "用户ID",
        "$anonymous_user": "访问用户ID",
        "gender": "性别",
        "$basic_name": "姓名",
    },
    "US": {
        "$basic_userId": "User ID",
        "$anonymous_user": "Visitor ID",
        "gender": "Gender",
        "$basic_name": "Name",
    },
}
_PEOPLE_AND_TIMES = {
    "creatorId": "KzpNzpkv",
    "creator": "管理员",
    "createdAt": "2022-01-01T00:00:00.000Z",
    "updaterId": "KzpNzpkv",
    "updater": "管理员",
    "updatedAt": "2022-01-01T01:00:00.000Z",
}
_DETECTOR = {"stage": "FINISH", "detectedAt": "2022-01-01T01:01:00.000Z"}


def make_id(text: str) -> str:
    """An id as the service makes them: eight letters and digits, always the same for one text."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return "".join(_SIGNS[number // 62**place % 62] for place in range(8))


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag or segment."""

    number: int
    key: str
    name: str

    def describe_tag(self) -> dict[str, Any]:
        kind = _TYPES[self.number % len(_TYPES)]
        value = {"type": _VALUES[self.number % len(_VALUES)], "isArray": kind == "DATA_SET_ATTRIBUTE"}
        return {**self._begin(), "type": kind, "description": "API示例", "valueType": value, **self._end()}

    def describe_segment(self) -> dict[str, Any]:
        middle = {"createdBy": _ORIGINS[self.number % len(_ORIGINS)], "description": "API示例"}
        return {**self._begin(), **middle, "scheduler": ("DAILY", "ONCE")[self.number % 2], **self._end()}

    def _begin(self) -> dict[str, Any]:
        return {"id": make_id(self.key), "name": self.name, "key": self.key}

    def _end(self) -> dict[str, Any]:
        return {"detector": _DETECTOR, **_PEOPLE_AND_TIMES}


class Catalog:
    """What there is.

    A place is empty for the whole CDP, `project`, or `project/space`; a space sees what its project sees.
    """

    def __init__(self, settings: CDPSettings) -> None:
        self._settings = settings
        self._tags = _name_all(_TAGS, settings.tags, "tag", "用户标签")
        self._segments = _name_all(_SEGMENTS, settings.segments, "seg", "用户分群")

    def has_place(self, place: str) -> bool:
        project, _, space = place.partition("/")
        spaces = self._settings.projects.get(project)
        return not place or (spaces is not None and (not space or space in spaces))

    def see(self, place: str, sort: str) -> Mapping[str, Entry]:
        """What a place sees, by key; there are no segments of the whole CDP.

        Of the numbered tags, a project is not given every third.
        """
        if not self.has_place(place):
            return {}
        if sort == SEGMENTS:
            return self._segments if place else {}
        if not place:
            return self._tags
        return {key: tag for key, tag in self._tags.items() if tag.number < len(_TAGS) or tag.number % 3}

    def may_export(self, place: str, properties: Iterable[str]) -> bool:
        """Whether a place sees all the properties; identities and attributes are everybody's."""
        tags = self.see(place, TAGS)
        return all(
            key in tags if key.startswith("tag_") else key.startswith(("id_", "ids_", "usr_"))
            for key in properties
        )

    def write_page(self, place: str, sort: str, limit: int, offset: int) -> str:
        """One page of what a place sees; the service writes its numbers as floats."""
        describe = Entry.describe_tag if sort == TAGS else Entry.describe_segment
        values = [describe(entry) for entry in self.see(place, sort).values()]
        envelope = {
            "offset": float(offset),
            "limit": float(limit),
            "totalCount": float(len(values)),
            "hasNextPage": offset + limit < len(values),
            "hasPreviousPage": offset > 0,
            "values": values[offset : offset + limit],
        }
        return write_json(envelope)

    def projects(self) -> list[dict[str, str]]:
        return [{"id": project, "name": f"项目{project}"} for project in self._settings.projects]

    def display(self, key: str, language: str) -> str:
        """The name of a property as people see it."""
        if key in self._tags:
            return self._tags[key].name
        inner = key.partition("_")[2]
        return _WORDS[language].get(inner, inner)


def write_json(value: Any) -> str:
    """JSON as the service writes it: no blanks, Chinese as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _name_all(known: Sequence[tuple[str, str]], count: int, prefix: str, word: str) -> dict[str, Entry]:
    more = ((f"{prefix}_{number:05d}", f"{word}{number}") for number in range(len(known), count))
    return {key: Entry(number, key, name) for number, (key, name) in enumerate((*known[:count], *more))}
