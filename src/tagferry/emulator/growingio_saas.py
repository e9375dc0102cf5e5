"""The GrowingIO SaaS exporters of tags and segments: one GET that submits and polls."""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tagferry.emulator.audience import make_parts
from tagferry.emulator.damage import envelope, replace_reply
from tagferry.emulator.growingio_saas_lists import Lists
from tagferry.emulator.object_store import Opener
from tagferry.emulator.quota import Window
from tagferry.emulator.service import Export
from tagferry.emulator.wire import Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tagferry.emulator.audience import Source
    from tagferry.emulator.faults import Plan
    from tagferry.emulator.object_store import Link, ObjectStore
    from tagferry.emulator.settings import Settings

POLL = "growingio-saas.poll"
DOWNLOAD = "growingio-saas.download"
LIST = "growingio-saas.list"
OPERATIONS = frozenset({POLL, DOWNLOAD, LIST})
KINDS = {"tags": "growingio-tag", "segmentations": "growingio-segment"}
LONGEST_EXPIRE = 7 * 24 * 60

_EXPORT = re.compile(r"/v3/exporter/projects/([^/]+)/(tags|segmentations)/([^/]+)/users")
_ID = re.compile(r"[0-9A-Za-z]{8}")
_PARAMETER = re.compile(r"[^\s,]+")


class RefusalError(Exception):
    """What the service answers to a request that it does not like."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(slots=True)
class Job:
    """The state of one export; `ready` is on the monotonic clock."""

    ready: float
    asked: bool = False
    links: list[Link] = field(default_factory=list["Link"])


class GrowingIOSaaS:
    """Jobs, quotas and audiences of the two exporters."""

    operations = OPERATIONS
    kinds = frozenset(KINDS.values())

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self.settings = settings
        self.store = store
        self.windows: dict[tuple[str, str], Window] = {}
        self.jobs: dict[tuple[str, Export], Job] = {}
        self._lists = Lists(settings)
        self._serial = 0

    def route(self, request: Request) -> tuple[str, str] | None:
        """The operation and export id that a request is for."""
        match = _EXPORT.fullmatch(request.path)
        if match is not None:
            return POLL, match[3]
        return (LIST, "") if self._lists.find(request.path) else None

    def refuse(self, request: Request) -> Reply | None:
        """The answer to a caller without a good token, or over the quota."""
        tokens = request.values("Authorization")
        if len(tokens) != 1 or tokens[0] not in {self.settings.token, *self.settings.other_tokens}:
            return json_reply(401, envelope(401))
        if request.method != "GET":
            return json_reply(405, envelope(405))
        name, limit = self._quota(request.path)
        window = self.windows.setdefault((name, tokens[0]), Window(limit))
        if not window.admit(request.nanoseconds):
            return _refusal(429, "too_many_requests", f"at most {window.limit} requests a second of {name}")
        return None

    def answer(self, request: Request, plan: Plan) -> Reply:
        """The answer to a caller who may ask."""
        between = replace_reply(plan, request)
        if between is not None:
            return between
        match = _EXPORT.fullmatch(request.path)
        if match is None:
            return json_reply(200, self._lists.write(request.path))
        try:
            export, expire = self._read_export(match, request.query)
        except RefusalError as refusal:
            return refusal.reply
        job = self._find_job(request.values("Authorization")[0], export)
        return self._poll(export, job, expire, plan)

    def sources(self, export: Export, *, parts: int | None = None, version: int = 0) -> tuple[Source, ...]:
        """The files of an export, whether it was asked for or not; another version has one row more."""
        settings = self.settings
        rows = settings.rows_by_export.get(export.id, settings.rows) + version
        columns = ("tag_value",) if export.kind == "growingio-tag" else export.parameters
        facts = (settings.seed, export.kind, export.project, export.id, ",".join(export.parameters), version)
        key = "|".join(map(str, facts))
        count = self._count(export) if parts is None else parts
        return make_parts(key, ("user_id", *columns), rows, parts=count, repeat_header=settings.repeat_header)

    def exports(self) -> list[Export]:
        """Every export that was asked for."""
        return list(dict.fromkeys(export for _, export in list(self.jobs)))

    def _quota(self, path: str) -> tuple[str, int]:
        if match := _EXPORT.fullmatch(path):
            return KINDS[match[2]], self.settings.quota_per_second
        name = self._lists.find(path) or ""
        return name, self._lists.limit(name)

    def _read_export(self, match: re.Match[str], query: str) -> tuple[Export, int]:
        project, kind, export_id = match.groups()
        for what, value in (("project_uid", project), ("id", export_id)):
            if not _ID.fullmatch(value):
                raise RefusalError(_refusal(404, "not_found", f"{what} is not 8 letters and digits: {value}"))
        known = self.settings.known_exports
        if known is not None and export_id not in known:
            raise RefusalError(_refusal(404, "not_found", f"there is no export {export_id}"))
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        given = dict(pairs)
        allowed = {"expire", "parameters"} if kind == "segmentations" else {"expire"}
        for name in given:
            if name not in allowed or len(pairs) != len(given):
                raise RefusalError(_refusal(400, "bad_request", f"{name} is unknown here or repeated"))
        return Export(KINDS[kind], project, export_id, _read_parameters(given)), self._read_expire(given)

    def _read_expire(self, given: dict[str, str]) -> int:
        text = given.get("expire", "5")
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            raise RefusalError(_refusal(400, "bad_request", f"expire is not a number of minutes: {text}"))
        if int(text) > LONGEST_EXPIRE or (self.settings.seven_days_refused and int(text) == LONGEST_EXPIRE):
            raise RefusalError(self._failed("过期时间应小于7天"))
        return int(text)

    def _find_job(self, token: str, export: Export) -> Job:
        wait = self.settings.job_seconds * self.settings.time_scale
        job = self.jobs.get((token, export))
        if job is None:
            # The first answer is `doing`, however short the job, unless it takes no time at all.
            instant = not self.settings.job_seconds
            job = self.jobs[token, export] = Job(time.monotonic() + wait, asked=instant)
        return job

    def _poll(self, export: Export, job: Job, expire: int, plan: Plan) -> Reply:
        word, failed, links = plan.get("status-word"), plan.get("failed"), plan.get("links")
        if word is not None:
            return json_reply(200, f'{{"id":{self._random_id()},"status":{_quote(word.value)}}}')
        if failed is not None:
            return self._failed(failed.value)
        if "no-links" in plan:
            return self._done(())
        if "same-dead-link" in plan:
            return self._done(job.links or self._make_links(export, 0.0, None))
        life = expire * 60 * self.settings.time_scale
        if links is not None:
            job.links = self._make_links(export, life, int(links.value))
            return self._done(job.links)
        return self._progress(export, job, life)

    def _progress(self, export: Export, job: Job, life: float) -> Reply:
        now = time.monotonic()
        if not job.asked or now < job.ready:
            job.asked = True
            return json_reply(200, f'{{"id":{self._random_id()},"status":"doing"}}')
        if not job.links or any(link.lapsed for link in job.links):
            if job.links and self.settings.restart_lapsed:
                job.links = []
                job.ready = now + self.settings.job_seconds * self.settings.time_scale
                return json_reply(200, f'{{"id":{self._random_id()},"status":"doing"}}')
            job.links = self._make_links(export, life, None)
        return self._done(job.links)

    def _make_links(self, export: Export, life: float, parts: int | None) -> list[Link]:
        count = self._count(export) if parts is None else parts
        day = time.strftime("%Y%m%d", time.gmtime())
        links: list[Link] = []
        for part in range(count):
            folder = uuid.UUID(self._next_digest())
            suffix = f"-{part:05d}" if count > 1 else ""
            name = urllib.parse.quote(f"20191212-20191225_渠道评估{suffix}.csv")
            path = f"/buckets/segment-download-jobs/{day}/{folder}/{name}"
            links.append(self.store.sign(path, life, DOWNLOAD, self._opener(export, count, part)))
        return links

    def _count(self, export: Export) -> int:
        return self.settings.parts_by_export.get(export.id, self.settings.parts)

    def _opener(self, export: Export, parts: int, part: int) -> Opener:
        return Opener(export.id, lambda version: self.sources(export, parts=parts, version=version)[part])

    def _random_id(self) -> str:
        return _quote(self._next_digest())

    def _next_digest(self) -> str:
        """32 digits that never come twice, the same in every run."""
        self._serial += 1
        return hashlib.blake2b(f"{self.settings.seed}|{self._serial}".encode(), digest_size=16).hexdigest()

    def _done(self, links: Iterable[Link]) -> Reply:
        urls = ",".join(_quote(self.store.url + link.target) for link in links)
        body = f'{{"id":{self._random_id()},"status":"done","downloadLinks":[{urls}],"errorMsg":""}}'
        return json_reply(200, body)

    def _failed(self, message: str) -> Reply:
        fields = f'"status":"failed","downloadLinks":[],"errorMsg":{_quote(message)}'
        body = f'{{"id":{self._random_id()},{fields}}}'
        return json_reply(200, body)


def _read_parameters(given: dict[str, str]) -> tuple[str, ...]:
    if "parameters" not in given:
        return ()
    names = tuple(given["parameters"].split(","))
    for name in names:
        if not _PARAMETER.fullmatch(name):
            raise RefusalError(_refusal(400, "bad_request", f"请求参数不合法，{name or given['parameters']}"))
    return names


def _refusal(status: int, code: str, why: str) -> Reply:
    errors = f'[{{"code":"{code}","message":"错误访问"}}]'
    return json_reply(status, f'{{"message":{_quote(why)},"errors":{errors}}}')


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
