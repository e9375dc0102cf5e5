"""The GrowingIO CDP: export jobs by a POST each, their results, and the lists of what can be exported."""

from __future__ import annotations

import re
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tagferry.emulator.audience import Text
from tagferry.emulator.damage import envelope, replace_reply
from tagferry.emulator.growingio_cdp_catalog import SEGMENTS, TAGS, Catalog, make_id, write_json
from tagferry.emulator.growingio_cdp_downloads import DOWNLOAD, Door, Files
from tagferry.emulator.growingio_cdp_files import Wish, make_files
from tagferry.emulator.growingio_cdp_tokens import Tokens
from tagferry.emulator.growingio_cdp_wishes import BadWishError, read_range, read_wish
from tagferry.emulator.object_store import Opener
from tagferry.emulator.quota import Window
from tagferry.emulator.service import Export
from tagferry.emulator.wire import Reply, Request, json_reply

if TYPE_CHECKING:
    from tagferry.emulator.audience import Source
    from tagferry.emulator.faults import Plan
    from tagferry.emulator.object_store import ObjectStore
    from tagferry.emulator.settings import Settings

SUBMIT = "growingio-cdp.submit"
POLL = "growingio-cdp.poll"
LIST = "growingio-cdp.list"
TOKEN = "growingio-cdp.token"  # noqa: S105 - the name of an operation
KINDS = {TAGS: "growingio-cdp-tag", SEGMENTS: "growingio-cdp-segment"}

_SCOPE = r"/v1/api(?:/projects/([^/]+)(?:/spaces/([^/]+))?)?"
_EXPORT = re.compile(_SCOPE + r"/(user_tags|segment_profiles)/([^/]+)/export_jobs")
_LIST = re.compile(_SCOPE + r"/(user_tags|segment_profiles)")
_RESULT = re.compile(r"/v1/api(?:/projects/([^/]+))?/job/result/([^/]+)")
_PROJECTS = "/v1/api/projects"
_TOKEN = "/accounts/oauth/access_token"  # noqa: S105 - a path
# When each stage begins, in parts of the time that a job takes.
_STAGES = ((0.9, "DATA_READY"), (0.2, "RUNNING"), (0.1, "READY"), (0.0, "NONE"))


@dataclass(slots=True)
class Job:
    """One job; `made` is on the monotonic clock."""

    id: str
    name: str
    title: str
    export: Export
    made: float
    failure: str | None = None
    uris: list[str] = field(default_factory=list[str])


class GrowingIOCDP:
    """Jobs, files and lists of one deployment.

    Attributes:
        made: How many jobs were made for each export.
        files: The files of the jobs.
        own_door: `/download` on the port of the API.
        other_door: `/download` on the other port.

    """

    operations = frozenset({SUBMIT, POLL, LIST, TOKEN, DOWNLOAD})
    kinds = frozenset(KINDS.values())

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self.settings = settings
        self.windows: dict[tuple[str, str], Window] = {}
        self.jobs: dict[str, Job] = {}
        self.made: Counter[Export] = Counter()
        self.files = Files(settings.cdp.uris)
        locked = settings.cdp.download_token
        self.own_door = Door(self.files, store, self._knows, own=True, locked=locked)
        self.other_door = Door(self.files, store, self._knows, own=False, locked=locked)
        self._catalog = Catalog(settings.cdp)
        self._tokens = Tokens(settings)

    def route(self, request: Request) -> tuple[str, str] | None:
        """The operation and export id that a request is for."""
        if match := _EXPORT.fullmatch(request.path):
            return SUBMIT, urllib.parse.unquote(match[4])
        if match := _RESULT.fullmatch(request.path):
            job = self.jobs.get(urllib.parse.unquote(match[2]))
            return POLL, job.export.id if job else ""
        if request.path == _TOKEN:
            return TOKEN, ""
        return (LIST, "") if request.path == _PROJECTS or _LIST.fullmatch(request.path) else None

    def refuse(self, request: Request) -> Reply | None:
        """The answer to a caller without a good token, or over the quota."""
        operation, _ = self.route(request) or ("", "")
        if operation != TOKEN and not self._knows(request):
            return json_reply(401, envelope(401))
        if request.method != ("POST" if operation in {SUBMIT, TOKEN} else "GET"):
            return json_reply(405, envelope(405))
        if (languages := request.values("language")) and languages not in (["CH"], ["US"]):
            return _refuse(400, "language is CH or US")
        if operation == POLL:
            limit = self.settings.cdp.polls_per_second
            key = (POLL, request.values("Authorization")[0])
            if not self.windows.setdefault(key, Window(limit)).admit(request.nanoseconds):
                return _refuse(429, f"at most {limit} results a second")
        return None

    def answer(self, request: Request, plan: Plan) -> Reply:
        """The answer to a caller who may ask."""
        between = replace_reply(plan, request)
        if between is not None:
            return between
        if request.path == _TOKEN:
            return self._tokens.answer(request)
        if match := _EXPORT.fullmatch(request.path):
            return self._submit(match, request)
        if match := _RESULT.fullmatch(request.path):
            return self._poll(match, plan)
        return self._list(request)

    def sources(self, export: Export, *, parts: int | None = None, version: int = 0) -> tuple[Source, ...]:
        """The files of an export, whether it was asked for or not; another version has one row more."""
        settings = self.settings
        wish = Wish.read(export.parameters)
        rows = settings.rows_by_export.get(export.id, settings.rows) + version
        key = f"{settings.seed}|{export.kind}|{export.project}|{export.id}|{version}"
        count = self._count(export) if parts is None else parts
        form, repeat = settings.cdp.form, settings.repeat_header
        return make_files(key, wish, self._catalog, form, rows, parts=count, repeat_header=repeat)

    def exports(self) -> list[Export]:
        """Every export that a job was made for."""
        return list(self.made)

    def statistics(self) -> dict[str, object]:
        """How many jobs were made for each key, and in all, and the ids of each key's, the oldest first."""
        ids: dict[str, list[str]] = {}
        for job in list(self.jobs.values()):
            place = f"{job.export.project}/" if job.export.project else ""
            ids.setdefault(f"{job.export.kind} {place}{job.export.id}", []).append(job.id)
        jobs = {name: len(found) for name, found in ids.items()}
        return {"jobs": jobs, "made": sum(jobs.values()), "ids": ids, "tokens": self._tokens.made}

    def _knows(self, request: Request) -> bool:
        sent = request.values("Authorization")
        if len(sent) != 1:
            return False
        scheme = self.settings.cdp.scheme
        tokens = (self.settings.token, *self.settings.other_tokens)
        good = {f"{scheme} {token}" if scheme else token for token in tokens}
        return sent[0] in good or self._tokens.knows(sent[0])

    def _submit(self, match: re.Match[str], request: Request) -> Reply:
        place, sort, key = _read_place(match), match[3], urllib.parse.unquote(match[4])
        try:
            wish = read_wish(request)
        except BadWishError as error:
            return _refuse(error.status, error.why)
        entry = self._catalog.see(place, sort).get(key)
        if entry is None or not self._catalog.may_export(place, wish.properties):
            return _deny()
        export = Export(KINDS[sort], place, key, wish.write())
        self.made[export] += 1
        job = self._make_job(export, entry.name)
        return json_reply(200, write_json({"id": job.id, "name": job.name}))

    def _make_job(self, export: Export, title: str) -> Job:
        number = len(self.jobs) + 1
        job_id = make_id(f"{self.settings.seed}|job|{number}")
        name = f"DES-{time.strftime('%Y%m%d%H%M', time.gmtime())}-{number:013d}"
        job = self.jobs[job_id] = Job(job_id, name, title, export, time.monotonic())
        return job

    def _poll(self, match: re.Match[str], plan: Plan) -> Reply:
        project = urllib.parse.unquote(match[1] or "")
        missing = "plain" if project else "project"
        if self.settings.cdp.result_path == missing:
            return json_reply(404, envelope(404))
        job = self.jobs.get(urllib.parse.unquote(match[2]))
        age = time.monotonic() - job.made if job else 0.0
        wrong = job is None or (project and job.export.project.partition("/")[0] != project)
        if job is None or wrong or age < self.settings.cdp.null_seconds * self.settings.time_scale:
            return json_reply(200, "null")
        if (failed := plan.get("failed")) is not None:
            job.failure = failed.value
        if (word := plan.get("status-word")) is not None:
            return json_reply(200, write_json({"stage": word.value}))
        if (links := plan.get("links")) is not None:
            job.uris = self._publish(job, int(links.value))
            return _result("FINISH", job.uris)
        return _result("FINISH", []) if "no-links" in plan else self._progress(job, age)

    def _progress(self, job: Job, age: float) -> Reply:
        if job.failure is not None:
            error = {"error": {"code": "", "message": job.failure}} if job.failure else {}
            return json_reply(200, write_json({"stage": "ERROR", "uris": None, **error}))
        whole = self.settings.job_seconds * self.settings.time_scale
        if age < whole:
            stage = next(word for begin, word in _STAGES if age >= begin * whole)
            # Both forms of "no files yet" occur.
            return json_reply(200, write_json({"stage": stage})) if stage == "NONE" else _result(stage, None)
        job.uris = job.uris or self._publish(job, None)
        return _result("FINISH", job.uris)

    def _publish(self, job: Job, parts: int | None) -> list[str]:
        count = self._count(job.export) if parts is None else parts
        life = self.settings.cdp.keep_seconds * self.settings.time_scale
        kind = Wish.read(job.export.parameters).file_format
        uris: list[str] = []
        for part in range(count):
            suffix = f"-{part:05d}" if count > 1 else ""
            name = f"{job.title}_2022-04-26_UserList{suffix}.{kind}"
            file = self._opener(job.export, count, part, name)
            uris.append(self.files.publish(f"/jobs/results/{job.name}/{name}", life, file))
        return uris

    def _opener(self, export: Export, parts: int, part: int, name: str) -> Opener:
        return Opener(
            export.id,
            lambda version: self.sources(export, parts=parts, version=version)[part],
            "application/json" if name.endswith(".json") else "text/csv;charset=utf-8",
            (("Content-Disposition", f"attachment; filename*=UTF-8''{urllib.parse.quote(name, safe='')}"),),
        )

    def _count(self, export: Export) -> int:
        return self.settings.parts_by_export.get(export.id, self.settings.parts)

    def _list(self, request: Request) -> Reply:
        if request.path == _PROJECTS:
            return json_reply(200, write_json(self._catalog.projects()))
        match = _LIST.fullmatch(request.path)
        assert match is not None  # nothing else is routed here
        place, sort = _read_place(match), match[3]
        try:
            limit, offset = read_range(request.query)
        except BadWishError as error:
            return _refuse(error.status, error.why)
        if not self._catalog.has_place(place):
            return _deny()
        if sort == SEGMENTS and not place:
            return json_reply(404, envelope(404))
        return json_reply(200, self._catalog.write_page(place, sort, limit, offset))


def _read_place(match: re.Match[str]) -> str:
    project, space = (urllib.parse.unquote(text or "") for text in match.groups()[:2])
    return f"{project}/{space}" if space else project


def _result(stage: str, uris: list[str] | None) -> Reply:
    return json_reply(200, write_json({"stage": stage, "uris": uris}))


def _deny() -> Reply:
    """The answer about whatever is unknown, or is not for this place."""
    kind = ("Content-Type", "text/plain;charset=utf-8")
    return Reply(status=500, headers=(kind,), body=Text(b"Internal Server Error"))


def _refuse(status: int, why: str) -> Reply:
    return json_reply(status, write_json({"message": why, "errors": []}))
