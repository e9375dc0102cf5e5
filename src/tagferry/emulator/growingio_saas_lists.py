"""The lists of the emulated GrowingIO SaaS: the segments and the user variables of a project."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tagferry.emulator.growingio_cdp_catalog import make_id

if TYPE_CHECKING:
    from tagferry.emulator.settings import Settings

SEGMENTS = "growingio-segments"
VARIABLES = "growingio-variables"

_SEGMENTS = re.compile(r"/projects/([0-9A-Za-z]{8})/segmentations\.json")
_VARIABLES = re.compile(r"/v1/api/projects/([0-9A-Za-z]{8})/vars/(peoples|visitors)")
_DOCUMENTED = {
    SEGMENTS: (
        '[{"id":"Segmentation Uid","name":"Segmentation Name","userType":"u","userNum":1230,'
        '"updatedAt":"2016-08-03"},{"id":"Segmentation Uid","name":"Segmentation Name","userType":"cs1",'
        '"userNum":1230,"updatedAt":"2016-08-03"}]'
    ),
    VARIABLES: (
        '[{"id":"j9yDX123","key":"ml02","name":"ml测试02","description":"","isSystem":false,"projectId":"nxog1234",'
        '"createdAt":1615360319000,"updatedAt":1619159037000,"creator":"zhanghao","updater":"杨强",'
        '"attribution":"mostRecent","valueType":"string"}]'
    ),
}
_FIRST = "nP2lpkX9"
_NAMES = ("高价值用户", "沉睡用户", "51活动人群", "新注册用户", "GrowingIO")
_LOGIN = (
    ("open_id", "微信 open_id", "string"),
    ("role", "角色", "string"),
    ("user_name", "用户名", "string"),
    ("project", "项目", "string"),
    ("birthday", "生日", "date"),
)
_VISITOR = (("first_source", "首次访问来源"), ("city", "城市"))


class Lists:
    """What is listed: every segment of a list can be exported."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, path: str) -> str | None:
        """The list that a path is for."""
        if _SEGMENTS.fullmatch(path):
            return SEGMENTS
        return VARIABLES if _VARIABLES.fullmatch(path) else None

    def limit(self, name: str) -> int:
        """Calls of a list in any second; the documents allow five times as many for variables."""
        return self._settings.quota_per_second * (5 if name == VARIABLES else 1)

    def write(self, path: str) -> str:
        """The list at a path that `find` knows, as the service writes it."""
        if self._settings.documented_lists:
            return _DOCUMENTED[self.find(path) or ""]
        if match := _VARIABLES.fullmatch(path):
            found = _login(match[1]) if match[2] == "peoples" else _visitor(match[1])
        else:
            match = _SEGMENTS.fullmatch(path)
            assert match is not None
            found = [self._segment(number, id_) for number, id_ in enumerate(self._ids(match[1]))]
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    def _ids(self, project: str) -> list[str]:
        settings = self._settings
        if settings.known_exports is not None:
            return sorted(settings.known_exports)
        more = (make_id(f"{settings.seed}|{project}|{number}") for number in range(1, settings.segments))
        return [_FIRST, *more][: settings.segments]

    def _segment(self, number: int, id_: str) -> dict[str, Any]:
        lap, place = divmod(number, len(_NAMES))
        return {
            "id": id_,
            "name": f"{_NAMES[place]}{lap + 1}" if lap else _NAMES[place],
            "userType": "u" if number % 4 == 3 else "cs1",
            "userNum": self._settings.rows_by_export.get(id_, self._settings.rows),
            "updatedAt": "2016-08-03",
        }


def _login(project: str) -> list[dict[str, Any]]:
    return [
        {**_variable(project, key, name), "attribution": "mostRecent", "valueType": type_}
        for key, name, type_ in _LOGIN
    ]


def _visitor(project: str) -> list[dict[str, Any]]:
    return [_variable(project, key, name) for key, name in _VISITOR]


def _variable(project: str, key: str, name: str) -> dict[str, Any]:
    return {
        "id": make_id(f"{project}|{key}"),
        "key": key,
        "name": name,
        "description": "",
        "isSystem": False,
        "projectId": project,
        "createdAt": 1615360319000,
        "updatedAt": 1619159037000,
        "creator": "zhanghao",
        "updater": "杨强",
    }
