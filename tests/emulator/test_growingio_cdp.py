import asyncio
import csv
import hashlib
import io
import json
import re
import time
import urllib.parse

import pytest

from tagferry.emulator import CDPSettings, Emulator, Settings
from tagferry.emulator.audience import CELLS
from tagferry.emulator.growingio_cdp_catalog import make_id
from tagferry.services import growingio_cdp as cdp
from tagferry.wire.message import Head, Reply
from tests.emulator.raw import ask, exchange, request

pytestmark = pytest.mark.anyio
TAG = "/v1/api/user_tags/tag_rfm/export_jobs"
PROJECT = "/v1/api/projects/WlGk4Daj"
SPACE = f"{PROJECT}/spaces/pQ7rS2tU"
KEYS = ["ids_$basic_userId", "usr_gender", "tag_rfm"]
DOCUMENTED = json.dumps({"properties": KEYS, "fileFormat": "csv", "csvHeaderType": "key"})


def fast(*, job_seconds=0.0, time_scale=1.0, rows=100, other_tokens=(), parts=1, **changes):
    return Emulator(
        Settings(
            job_seconds=job_seconds,
            time_scale=time_scale,
            rows=rows,
            parts=parts,
            other_tokens=other_tokens,
            cdp=CDPSettings(**changes),
        )
    )


def headers(emu, **more):
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {emu.token}", "Content-Type": "application/json", **named}


async def submit(emu, target=TAG, body=DOCUMENTED, **more):
    return await ask(emu.base_url, target, headers(emu, **more), method="POST", body=body.encode())


async def make(emu, target=TAG, body=DOCUMENTED, **more) -> str:
    return (await submit(emu, target, body, **more)).json()["id"]


async def result(emu, job, scope="/v1/api"):
    return await ask(emu.base_url, f"{scope}/job/result/{job}", headers(emu))


async def uris(emu, target=TAG, body=DOCUMENTED, **more) -> list[str]:
    return (await result(emu, await make(emu, target, body, **more))).json()["uris"]


async def fetch(emu, uri, *, origin=None, **more):
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return await ask(origin or emu.base_url, f"/download?file={uri}", named)


# Jobs -------------------------------------------------------------------------------------------------


async def test_the_documented_payloads_byte_for_byte():
    async with fast() as emu:
        answer = await submit(emu, "/v1/api/user_tags/tag_encrypted/export_jobs", '{"properties":[]}')
        job, name = answer.json().values()
        assert answer.body.decode() == f'{{"id":"{job}","name":"{name}"}}'
        assert re.fullmatch(r"[0-9A-Za-z]{8}", job)
        assert re.fullmatch(r"DES-\d{12}-\d{13}", name)
        file = "zxm_%E7%94%A8%E6%88%B7_%E5%AD%97%E7%AC%A6%E4%B8%B2_%E5%8A%A0%E5%AF%86_2022-04-26_UserList.csv"
        assert (await result(emu, job)).body.decode() == (
            f'{{"stage":"FINISH","uris":["%2Fjobs%2Fresults%2F{name}%2F{file}"]}}'
        )
        denied = await submit(emu, "/v1/api/user_tags/tag_none/export_jobs")
        assert (denied.status, denied.body) == (500, b"Internal Server Error")
        assert denied.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("target", "kind", "place", "key"),
    [
        (TAG, "growingio-cdp-tag", "", "tag_rfm"),
        (f"{PROJECT}/user_tags/tag_rfm/export_jobs", "growingio-cdp-tag", "WlGk4Daj", "tag_rfm"),
        (f"{SPACE}/user_tags/tag_00004/export_jobs", "growingio-cdp-tag", "WlGk4Daj/pQ7rS2tU", "tag_00004"),
        (
            f"{PROJECT}/segment_profiles/seg_51activity/export_jobs",
            "growingio-cdp-segment",
            "WlGk4Daj",
            "seg_51activity",
        ),
        (
            f"{SPACE}/segment_profiles/seg%5f51activity/export_jobs",
            "growingio-cdp-segment",
            "WlGk4Daj/pQ7rS2tU",
            "seg_51activity",
        ),
    ],
)
async def test_every_form_of_the_path_makes_a_job_with_a_file_of_its_own(target, kind, place, key):
    async with fast() as emu:
        (uri,) = await uris(emu, target)
        source = emu.source(kind, place, key, KEYS)
        answer = await fetch(emu, uri)
        assert (answer.status, answer.body) == (200, source.bytes())
        assert hashlib.sha256(answer.body).hexdigest() == source.sha256
        (export,) = emu.cdp.exports()
        assert (export.kind, export.project, export.id, list(export.parameters)) == (kind, place, key, KEYS)
        assert [seen.key for seen in emu.seen] == [key] * 3


async def test_every_accepted_submission_makes_a_job_and_is_counted():
    async with fast(other_tokens=("second-token",)) as emu:
        first, second = await make(emu), await make(emu)
        third = await make(emu, Authorization="Bearer second-token")
        fourth = await make(emu, f"{PROJECT}/user_tags/tag_rfm/export_jobs", "{}")
        assert len({first, second, third, fourth}) == 4
        await submit(emu, body="no JSON")
        await submit(emu, "/v1/api/user_tags/tag_none/export_jobs")
        answer = await ask(emu.base_url, "/_emulator/cdp")
        assert answer.json() == {
            "jobs": {"growingio-cdp-tag tag_rfm": 3, "growingio-cdp-tag WlGk4Daj/tag_rfm": 1},
            "made": 4,
            "ids": {
                "growingio-cdp-tag tag_rfm": [first, second, third],
                "growingio-cdp-tag WlGk4Daj/tag_rfm": [fourth],
            },
            "tokens": 0,
        }
        described = (await ask(emu.base_url, "/_emulator/exports")).json()
        assert [one["parameters"] for one in described] == [KEYS, []]
        assert (
            described[0]["files"][0]["sha256"] == emu.source("growingio-cdp-tag", "", "tag_rfm", KEYS).sha256
        )


async def test_stages_go_by_in_their_order():
    async with fast(job_seconds=50.0, time_scale=0.02) as emu:
        job = await make(emu)
        stages, forms, begun = [], [], time.monotonic()
        while not stages or stages[-1] != "FINISH":
            answer = (await result(emu, job)).json()
            stages.append(answer["stage"])
            forms.append("uris" in answer and answer["uris"] is None)
            await asyncio.sleep(0.005)
        assert time.monotonic() - begun >= 0.9
        order = ["NONE", "READY", "RUNNING", "DATA_READY", "FINISH"]
        assert sorted(stages, key=order.index) == stages
        assert {"RUNNING", "FINISH"} <= set(stages)
        # Before the end, the uris are null or absent.
        assert forms[-2:] == [True, False]


async def test_a_new_job_has_no_result_for_a_while():
    async with fast(null_seconds=50.0, time_scale=0.02) as emu:
        begun, job = time.monotonic(), await make(emu)
        assert (await result(emu, job)).body == b"null"
        while (await result(emu, job)).body == b"null":
            await asyncio.sleep(0.005)
        assert time.monotonic() - begun >= 1.0
        assert (await result(emu, job)).json()["stage"] == "FINISH"
        assert (await result(emu, "nosuchjob")).body == b"null"


async def test_both_forms_of_the_result_or_one_of_them():
    async with fast() as emu:
        job = await make(emu, f"{SPACE}/user_tags/tag_rfm/export_jobs")
        for scope in ("/v1/api", PROJECT):
            assert (await result(emu, job, scope)).json()["stage"] == "FINISH"
        assert (await result(emu, job, "/v1/api/projects/nR8mK2vX")).body == b"null"
    for path, statuses in (("plain", [200, 404]), ("project", [404, 200])):
        async with fast(result_path=path) as emu:
            job = await make(emu, f"{PROJECT}/user_tags/tag_rfm/export_jobs")
            assert [(await result(emu, job, scope)).status for scope in ("/v1/api", PROJECT)] == statuses


async def test_polls_have_a_quota_and_submissions_have_none():
    async with fast(polls_per_second=3) as emu:
        jobs = [await make(emu) for _ in range(6)]
        answers = [await result(emu, job) for job in jobs]
        assert [answer.status for answer in answers].count(429) == 3
        assert emu.quotas()["growingio-cdp.poll"] == {"arrivals": 6, "refused": 3, "max_in_any_second": 6}


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [None, "emulator-token", "Token emulator-token", "Bearer wrong", "bearer emulator-token"]
)
async def test_only_the_documented_header_is_accepted(sent):
    async with fast() as emu:
        for target, method in ((TAG, "POST"), ("/v1/api/job/result/x", "GET"), ("/v1/api/projects", "GET")):
            given = {"Content-Type": "application/json"} | ({"Authorization": sent} if sent else {})
            answer = await ask(emu.base_url, target, given, method=method, body=b"{}")
            assert answer.status == 401
        assert not emu.cdp.exports()


async def test_other_schemes():
    async with fast(scheme="") as emu:
        assert (await submit(emu)).status == 401
        assert (await submit(emu, Authorization=emu.token)).status == 200
        twice = {**headers(emu), "Authorization": emu.token, "authorization": emu.token}
        assert (await ask(emu.base_url, TAG, twice, method="POST", body=b"{}")).status == 401


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "no object"),
        ("[" * 100_000, "no JSON"),
        ('{"properties":[],"properties":[]}', "a name twice"),
        ('{"property":[]}', "unknown: property"),
        ('{"fileformat":"csv"}', "unknown: fileformat"),
        ('{"properties":"tag_rfm"}', "a list of keys"),
        ('{"properties":null}', "a list of keys"),
        ('{"properties":[1]}', "a list of keys"),
        ('{"properties":["a b"]}', "a list of keys"),
        ('{"properties":["\\ud800"]}', "a list of keys"),
        ('{"properties":["usr_a","usr_a"]}', "twice"),
        ('{"fileFormat":"CSV"}', "fileFormat is one of csv, json"),
        ('{"fileFormat":["csv"]}', "fileFormat is one of"),
        ('{"csvHeaderType":"id"}', "csvHeaderType is one of key, name"),
        (json.dumps({"properties": [f"usr_{n}" for n in range(61)]}), "60"),
    ],
)
async def test_bodies_that_are_not_as_documented(body, why):
    async with fast() as emu:
        answer = await submit(emu, body=body)
        assert answer.status == 400
        assert why in answer.json()["message"]
        assert not emu.cdp.exports()


async def test_sixty_properties_are_not_too_many():
    async with fast() as emu:
        body = json.dumps({"properties": [f"usr_{n}" for n in range(60)]})
        assert (await submit(emu, body=body)).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/v1/api/user_tags/tag_none/export_jobs",
        "/v1/api/user_tags/TAG_RFM/export_jobs",
        "/v1/api/user_tags/seg_51activity/export_jobs",
        "/v1/api/segment_profiles/seg_51activity/export_jobs",
        # One that exists, but that the project is not given.
        f"{PROJECT}/user_tags/tag_00006/export_jobs",
        f"{PROJECT}/segment_profiles/tag_rfm/export_jobs",
        "/v1/api/projects/nosuch00/user_tags/tag_rfm/export_jobs",
        f"{PROJECT}/spaces/bC3dE9fG/user_tags/tag_rfm/export_jobs",
    ],
)
async def test_what_is_unknown_or_not_for_this_place_is_a_plain_500(target):
    async with fast() as emu:
        answer = await submit(emu, target)
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert (await submit(emu, "/v1/api/user_tags/tag_00006/export_jobs")).status == 200


@pytest.mark.parametrize("key", ["tag_none", "gender", "seg_51activity"])
async def test_unknown_properties_are_a_plain_500(key):
    async with fast() as emu:
        assert (await submit(emu, body=json.dumps({"properties": [key]}))).body == b"Internal Server Error"


async def test_what_else_is_refused():
    async with fast() as emu:
        assert (await submit(emu, Content_Type="text/plain")).status == 415
        assert (await submit(emu, Content_Type="application/json; charset=utf-8")).status == 200
        assert (await submit(emu, f"{TAG}?a=1")).status == 400
        assert (await submit(emu, language="DE")).status == 400
        assert (await ask(emu.base_url, TAG, headers(emu))).status == 405
        for target in ("/v1/api/job/result/x", "/v1/api/user_tags"):
            assert (await ask(emu.base_url, target, headers(emu), method="POST")).status == 405
        assert (await ask(emu.base_url, "/v1/api/user_tags/tag_rfm", headers(emu))).status == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "x"},
        {"uris": "x"},
        {"result_path": "x"},
        {"tags": 0},
        {"polls_per_second": 0},
        {"null_seconds": -1},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match=r"^cdp "):
        CDPSettings(**changes)


# Faults -----------------------------------------------------------------------------------------------


async def test_a_lost_answer_leaves_a_job():
    async with fast() as emu:
        emu.faults.add("growingio-cdp.submit", "lost")
        emu.faults.add("growingio-cdp.submit:tag_rfm", "close")
        data = request(TAG, headers(emu), method="POST", body=b"{}")
        assert await exchange(emu.base_url, data) == (b"", "fin")
        assert emu.cdp.statistics()["made"] == 0
        assert await exchange(emu.base_url, data) == (b"", "fin")
        assert emu.cdp.statistics()["made"] == 1
        assert [seen.status for seen in emu.seen.of("growingio-cdp.submit", "tag_rfm")] == [0, 0]
        assert emu.faults.all_used
        with pytest.raises(ValueError, match="lost is a fault of submit"):
            emu.faults.add("growingio-cdp.poll", "lost")


async def test_faults_of_results():
    async with fast() as emu:
        job = await make(emu)
        emu.faults.add("growingio-cdp.poll", "body=null x2")
        assert [(await result(emu, job)).body for _ in "12"] == [b"null"] * 2
        emu.faults.add("growingio-cdp.poll", "status-word=PAUSED")
        assert (await result(emu, job)).json() == {"stage": "PAUSED"}
        emu.faults.add("growingio-cdp.poll", "no-links")
        assert (await result(emu, job)).json() == {"stage": "FINISH", "uris": []}
        emu.faults.add("growingio-cdp.poll", "links=3")
        three = (await result(emu, job)).json()["uris"]
        assert [uri[-10:] for uri in three] == ["-00000.csv", "-00001.csv", "-00002.csv"]
        assert (await result(emu, job)).json()["uris"] == three
        sources = emu.sources("growingio-cdp-tag", "", "tag_rfm", KEYS, parts=3)
        assert [(await fetch(emu, uri)).body for uri in three] == [source.bytes() for source in sources]


@pytest.mark.parametrize(
    ("fault", "error"), [("failed=坏了", {"code": "", "message": "坏了"}), ("failed=", None)]
)
async def test_a_failed_job_stays_failed_and_may_give_no_reason(fault, error):
    async with fast() as emu:
        job = await make(emu)
        emu.faults.add("growingio-cdp.poll:tag_rfm", fault)
        for _ in range(2):
            answer = (await result(emu, job)).json()
            assert (answer["stage"], answer["uris"], answer.get("error")) == ("ERROR", None, error)
        assert (await result(emu, await make(emu))).json()["stage"] == "FINISH"


# Downloads --------------------------------------------------------------------------------------------


async def test_ranges_and_validators():
    async with fast() as emu:
        (uri,) = await uris(emu)
        source = emu.source("growingio-cdp-tag", "", "tag_rfm", KEYS)
        answer = await fetch(emu, uri, Range="bytes=77-", If_Range=source.etag)
        assert (answer.status, answer.body) == (206, source.bytes()[77:])
        assert answer.headers["Content-Type"] == "text/csv;charset=utf-8"
        shown = urllib.parse.quote("会员等级_2022-04-26_UserList.csv", safe="")
        assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{shown}"
        (uri,) = await uris(emu, body='{"fileFormat":"json"}')
        assert (await fetch(emu, uri)).headers["Content-Type"] == "application/json"
        emu.faults.add("growingio-cdp.download:tag_rfm", "no-etag & cut@10")
        answer = await fetch(emu, uri)
        assert (len(answer.body), "ETag" in answer.headers) == (10, False)
        assert emu.seen.counts["growingio-cdp.download"] == 3


@pytest.mark.parametrize("spelling", ["encoded", "plus", "half"])
async def test_an_encoded_uri_must_come_byte_for_byte(spelling):
    async with fast(uris=spelling) as emu:
        (uri,) = await uris(emu, "/v1/api/user_tags/tag_awkward/export_jobs", "{}")
        source = emu.source("growingio-cdp-tag", "", "tag_awkward")
        assert (await fetch(emu, uri)).body == source.bytes()
        assert emu.seen.violations == []
        assert (await fetch(emu, urllib.parse.quote(uri, safe=""))).status == 404
        assert emu.seen.violations == ["a uri was encoded twice"]
        assert (await fetch(emu, uri.replace("%E9", "%e9"))).status == 400
        assert emu.seen.violations[1:] == ["a uri was not sent byte for byte"]
        assert (await fetch(emu, uri.replace("%26", "&"))).status == 404
        assert (await fetch(emu, f"{uri}&a=1")).status == 404
        assert len(emu.seen.violations) == 2


async def test_a_raw_uri_may_be_spelt_in_any_way_that_names_it():
    async with fast(uris="raw") as emu:
        (uri,) = await uris(emu, "/v1/api/user_tags/tag_awkward/export_jobs", "{}")
        assert uri.endswith("/50%25 & 高价值+沉睡#1?=\"'/..;_2022-04-26_UserList.csv")
        for safe in ("", "/", "/'\";:@!$*,"):
            assert (await fetch(emu, urllib.parse.quote(uri, safe=safe))).status == 200
        assert (await fetch(emu, urllib.parse.quote(uri, safe="+"))).status == 404
        assert emu.seen.violations == []


async def test_the_token_is_for_the_own_port_only():
    async with fast() as emu:
        (uri,) = await uris(emu)
        good = f"Bearer {emu.token}"
        assert (await fetch(emu, uri)).status == 200
        assert (await fetch(emu, uri, Authorization=good)).status == 200
        assert (await fetch(emu, uri, Authorization="Bearer wrong")).status == 401
        assert (await fetch(emu, uri, origin=emu.download_url)).status == 200
        assert emu.seen.violations == []
        assert (await fetch(emu, uri, origin=emu.download_url, Authorization=good)).status == 400
        assert (await fetch(emu, uri, Cookie="a=b")).status == 400
        assert emu.seen.violations == [
            "Authorization sent to the download host",
            "Cookie sent to the download host",
        ]


async def test_a_download_may_demand_the_token_on_both_ports():
    async with fast(download_token=True) as emu:
        (uri,) = await uris(emu)
        for origin in (emu.base_url, emu.download_url):
            assert (await fetch(emu, uri, origin=origin)).status == 401
            answer = await fetch(emu, uri, origin=origin, Authorization=f"Bearer {emu.token}")
            assert answer.status == 200
        assert emu.seen.violations == []


async def test_files_are_kept_for_a_time_and_the_result_does_not_change():
    async with fast(keep_seconds=50.0, time_scale=0.02) as emu:
        job = await make(emu)
        (uri,) = (await result(emu, job)).json()["uris"]
        assert (await fetch(emu, uri)).status == 200
        while (answer := await fetch(emu, uri)).status == 200:
            await asyncio.sleep(0.01)
        assert answer.status == 404
        assert (await result(emu, job)).json()["uris"] == [uri]
        (other,) = await uris(emu)
        emu.faults.add("growingio-cdp.download", "expired")
        assert (await fetch(emu, other)).status == 404
        (third,) = await uris(emu)
        emu.expire_links()
        assert (await fetch(emu, third)).status == 404


async def test_other_methods_and_unknown_files(monkeypatch):
    async with fast() as emu:
        (uri,) = await uris(emu)
        assert (await ask(emu.base_url, f"/download?file={uri}", method="POST")).status == 405
        for query in ("", "?file=", "?name=x", "?file=%2Fetc%2Fpasswd"):
            assert (await ask(emu.base_url, f"/download{query}")).status == 404
        monkeypatch.setattr("tagferry.emulator.growingio_cdp_downloads.LINKS_KEPT", 2)
        for _ in range(2):
            await uris(emu)
        assert (await fetch(emu, uri)).status == 404


# Files ------------------------------------------------------------------------------------------------


def rows_of(source):
    return [source.row(index) for index in range(source.rows)]


@pytest.mark.parametrize(("form", "prefix"), [("reference", "id"), ("examples", "d")])
@pytest.mark.parametrize("rows", [0, 1, 1000, 2345])
def test_csv_as_documented_in_both_forms(form, prefix, rows):
    emu = fast(form=form, rows=rows)
    source = emu.source("growingio-cdp-tag", "", "tag_rfm", KEYS)
    data = source.bytes()
    header, *body = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert header == ["gio_id", f"{prefix}_$basic_userId", "usr_gender", "tag_rfm"]
    assert [[cell or None for cell in row] for row in body] == [
        [cell or None for cell in row] for row in rows_of(source)
    ]
    assert len({row[0] for row in body}) == len({row[1] for row in body}) == rows
    assert source.size == len(data)
    if rows:
        assert data.splitlines()[1].startswith(b'"6' if form == "examples" else b"6")


@pytest.mark.parametrize(("form", "prefix"), [("reference", "id"), ("examples", "d")])
def test_json_lines_as_documented_in_both_forms(form, prefix):
    emu = fast(form=form, rows=2345)
    source = emu.source("growingio-cdp-tag", "", "tag_rfm", [*KEYS, "fileFormat=json"])
    lines = source.bytes().decode().split("\n")
    assert lines.pop() == ""
    for line, (number, user, gender, level) in zip(lines, rows_of(source), strict=True):
        assert json.loads(line) == {
            "gio_id": number if form == "reference" else int(number),
            "identifications": {f"{prefix}_$basic_userId": user},
            "properties": {"usr_gender": gender, "tag_rfm": level},
        }
    assert [level for *_, level in rows_of(source)].count(None) > 10
    assert {level for *_, level in rows_of(source)} == {*CELLS, None}


def test_null_is_nothing_in_csv_and_an_empty_text_is_two_quotes():
    source = fast().source("growingio-cdp-tag", "", "tag_rfm", ["usr_a"])
    lines = dict(zip([cell for _, cell in rows_of(source)], range(source.rows), strict=True))
    text = source.bytes().decode()
    for value, shown in ((None, ""), ("", '""'), ('say "hi"', '"say ""hi"""')):
        number = source.row(lines[value])[0]
        assert f"\n{number},{shown}\n" in text


@pytest.mark.parametrize(
    ("option", "line"), [((), b'"gio_id"'), (("fileFormat=json",), b'{"gio_id":"6000000000000"}')]
)
def test_without_properties_there_is_the_number_only(option, line):
    data = fast(rows=2).source("growingio-cdp-tag", "", "tag_rfm", option).bytes()
    assert data.split(b"\n")[0] == line
    assert len(data.split(b"\n")) == (3 if option else 4)


async def test_headers_of_names_in_both_languages():
    async with fast(rows=0) as emu:
        keys = ["id_$basic_userId", "ids_$basic_userId", "usr_gender", "usr_$basic_name", "usr_x", "tag_rfm"]
        body = json.dumps({"properties": keys, "csvHeaderType": "name"})
        for language, names in (
            (None, "用户ID,用户ID,性别,姓名,x,会员等级"),
            ("CH", "用户ID,用户ID,性别,姓名,x,会员等级"),
            ("US", "User ID,User ID,Gender,Name,x,会员等级"),
        ):
            (uri,) = await uris(emu, body=body, **({"language": language} if language else {}))
            line = (await fetch(emu, uri)).body.decode()
            assert line == "".join(f'"{name}",' for name in ("gio_id," + names).split(","))[:-1] + "\n"
        options = {one.parameters[len(keys) :] for one in emu.cdp.exports()}
        assert options == {("csvHeaderType=name",), ("csvHeaderType=name", "language=US")}


def test_keys_of_columns_are_unique_whatever_is_asked_for():
    for form in ("reference", "examples"):
        for asked in (["ids_a", "id_a"], ["id_a", "ids_a"]):
            text = fast(form=form, rows=0).source("growingio-cdp-tag", "", "tag_rfm", asked).bytes()
            assert len(set(text.strip().split(b","))) == 3


def test_other_facts_are_other_files():
    emu = fast()
    kinds = [
        ("growingio-cdp-tag", "", "tag_rfm", ()),
        ("growingio-cdp-tag", "", "tag_rfm", ("usr_a",)),
        ("growingio-cdp-tag", "", "tag_rfm", ("usr_b",)),
        ("growingio-cdp-tag", "", "tag_rfm", ("fileFormat=json",)),
        ("growingio-cdp-tag", "", "tag_00007", ("usr_a",)),
        ("growingio-cdp-tag", "WlGk4Daj", "tag_rfm", ("usr_a",)),
        ("growingio-cdp-segment", "WlGk4Daj", "seg_51activity", ("usr_a",)),
        ("growingio-cdp-segment", "nR8mK2vX", "seg_51activity", ("usr_a",)),
    ]
    files = [emu.source(*facts) for facts in kinds]
    files += emu.sources(*kinds[1], version=1)
    assert len({file.etag for file in files}) == len(files)
    with pytest.raises(ValueError, match="'fileFormat=xml' is no option"):
        emu.source("growingio-cdp-tag", "", "tag_rfm", ["fileFormat=xml"])


def test_the_same_today_and_tomorrow():
    source = Emulator(Settings(seed=7)).source("growingio-cdp-tag", "", "tag_rfm", KEYS)
    assert (source.size, source.rows) == (56904, 1000)
    assert source.sha256 == "9795f79545e08fc1062ace45b104493e860483396e83026f65d625d507acbc29"


# Lists ------------------------------------------------------------------------------------------------


async def pages(emu, path, limit):
    found, offset = [], 0
    while True:
        page = (await ask(emu.base_url, f"{path}?limit={limit}&offset={offset}", headers(emu))).json()
        assert (page["offset"], page["limit"], page["hasPreviousPage"]) == (offset, limit, offset > 0)
        found += page["values"]
        offset += limit
        if not page["hasNextPage"]:
            assert len(found) == page["totalCount"]
            return found


@pytest.mark.parametrize("path", ["/v1/api/user_tags", f"{PROJECT}/user_tags", f"{SPACE}/segment_profiles"])
async def test_lists_come_in_pages_and_every_item_can_be_exported(path):
    async with fast(tags=9, segments=8, rows=1) as emu:
        found = await pages(emu, path, 4)
        assert found == await pages(emu, path, 1000)
        assert len({item["key"] for item in found}) == len(found) > 6
        for item in found:
            key = urllib.parse.quote(item["key"], safe="")
            (uri,) = await uris(emu, f"{path}/{key}/export_jobs")
            assert (await fetch(emu, uri)).status == 200
            assert urllib.parse.quote(f"{item['name']}_2022", safe="") in uri
        assert emu.seen.violations == []


async def test_items_of_lists_are_as_documented():
    async with fast() as emu:
        (tag,) = (await ask(emu.base_url, "/v1/api/user_tags?limit=1&offset=1", headers(emu))).json()[
            "values"
        ]
        assert ",".join(tag) == (
            "id,name,key,type,description,valueType,detector,creatorId,creator,createdAt,updaterId,updater,updatedAt"
        )
        page = await ask(emu.base_url, f"{PROJECT}/segment_profiles", headers(emu))
        assert page.body.decode().startswith(
            '{"offset":0.0,"limit":1000.0,"totalCount":57.0,"hasNextPage":false,"hasPreviousPage":false,"values":[{'
        )
        assert ",".join(page.json()["values"][0]) == (
            "id,name,key,createdBy,description,scheduler,detector,creatorId,creator,createdAt,updaterId,updater,updatedAt"
        )
        projects = (await ask(emu.base_url, "/v1/api/projects", headers(emu))).json()
        assert [list(project) for project in projects] == [["id", "name"]] * 2


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/api/user_tags?limit=1001", 400),
        ("/v1/api/user_tags?limit=0", 400),
        ("/v1/api/user_tags?limit=x", 400),
        ("/v1/api/user_tags?offset=-1", 400),
        ("/v1/api/user_tags?offset=0&offset=1", 400),
        ("/v1/api/user_tags?page=1", 400),
        ("/v1/api/user_tags?offset=999", 200),
        ("/v1/api/segment_profiles", 404),
        ("/v1/api/projects/nosuch00/user_tags", 500),
    ],
)
async def test_what_a_list_refuses(target, status):
    async with fast() as emu:
        assert (await ask(emu.base_url, target, headers(emu))).status == status


def test_ids_are_eight_letters_and_digits():
    ids = {make_id(f"{number}") for number in range(2000)}
    assert len(ids) == 2000
    assert all(re.fullmatch(r"[0-9A-Za-z]{8}", one) for one in ids)


# The token exchange of old ones -----------------------------------------------------------------------

FORM = {"grant_type": "client_credentials", "client_id": "api", "scope": "system"}


async def exchange_token(emu, secret, kind="application/x-www-form-urlencoded"):
    body = urllib.parse.urlencode({**FORM, "client_secret": secret}).encode()
    path = "/accounts/oauth/access_token"
    return await ask(emu.base_url, path, {"Content-Type": kind}, method="POST", body=body)


async def test_a_key_buys_a_token_for_a_time():
    async with fast(token_seconds=50.0, time_scale=0.02) as emu:
        token = (await exchange_token(emu, "emulator-api-key")).json()["access_token"]
        assert (await submit(emu, Authorization=f"Token {token}")).status == 200
        assert (await submit(emu, Authorization=f"Bearer {token}")).status == 401
        while (answer := await submit(emu, Authorization=f"Token {token}")).status == 200:
            await asyncio.sleep(0.01)
        assert answer.status == 401
        assert (await exchange_token(emu, "emulator-api-key")).json()["access_token"] != token
        assert emu.cdp.statistics()["tokens"] == 2
        assert (await exchange_token(emu, "wrong")).status == 401
        assert (await exchange_token(emu, "emulator-api-key", "application/json")).status == 400
        assert (await ask(emu.base_url, "/accounts/oauth/access_token")).status == 405
        assert "emulator-api-key" not in repr(emu.settings)


# The client's own words -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["encoded", "plus", "half", "raw"])
@pytest.mark.parametrize("scope", [{}, {"project": "WlGk4Daj"}, {"project": "WlGk4Daj", "space": "pQ7rS2tU"}])
async def test_what_the_client_asks_is_what_the_service_takes(spelling, scope):
    async def send(request):
        sent = {**request.headers, **cdp.authorize(emu.token, language="CH")}
        path = request.url.removeprefix(emu.base_url)
        answer = await ask(emu.base_url, path, sent, method=request.method, body=request.body)
        return Reply(Head(answer.status, answer.headers), answer.body)

    async with fast(uris=spelling) as emu:
        for key in ("tag_rfm", "tag_awkward"):
            for wish in ({}, {"csv_header": "name"}, {"file_format": "json"}):
                spec = cdp.tag_spec(key, properties=KEYS, **scope, **wish)
                job = cdp.read_submit(await send(cdp.ask_submit(emu.base_url, spec)), what=spec.name, now=0.0)
                for other in (False, True):
                    reply = await send(cdp.ask_result(emu.base_url, job, spec, other=other))
                    (uri,) = cdp.read_result(reply, what=spec.name, now=0.0).links
                link = cdp.make_link(emu.base_url, uri)
                answer = await ask(emu.base_url, link.removeprefix(emu.base_url))
                place = "/".join(scope.values())
                options = [
                    f"csvHeaderType={v}" if k == "csv_header" else f"fileFormat={v}" for k, v in wish.items()
                ]
                assert answer.body == emu.source("growingio-cdp-tag", place, key, [*KEYS, *options]).bytes()
        assert emu.seen.violations == []
        assert set(emu.cdp.made.values()) == {1}
