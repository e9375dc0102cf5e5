import itertools
import json
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from tagferry.errors import (
    AuthError,
    ConfigError,
    JobFailedError,
    ProtocolError,
    RefusedError,
    SubmitUnknownError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.exports.job import JobReport, JobState
from tagferry.services.growingio_cdp import (
    MAX_PROPERTIES,
    RATE,
    SEGMENT,
    SERVICE,
    TAG,
    TOKEN_HINT,
    ask_result,
    ask_submit,
    ask_token,
    authorize,
    check_job_id,
    check_language,
    check_scheme,
    make_link,
    read_result,
    read_submit,
    read_token,
    segment_spec,
    submit_unknown,
    tag_spec,
)
from tagferry.wire.message import Head, Reply

BASE = "http://cdp.example.com"
SUBMITTED = '{"id":"kqQeWeGr","name":"DES-202205240136-5818534160000"}'
URI = (
    "%2Fjobs%2Fresults%2FDES-202205240136-5818534160000%2Fzxm_%E7%94%A8%E6%88%B7_%E5%AD%97%E7%AC%A6%E4%B8%B2_"
    "%E5%8A%A0%E5%AF%86_2022-04-26_UserList.json"
)
FINISH = '{"stage":"FINISH","uris":["' + URI + '"]}'
WHAT = "tag tag_rfm"
NOW = 1_653_356_190.0


def reply(body, status=200, headers=None):
    return Reply(Head(status, headers or {}), body if isinstance(body, bytes) else body.encode())


def submitted(body, status=200, headers=None):
    return read_submit(reply(body, status, headers), what=WHAT, now=NOW)


def result(body, status=200, headers=None):
    return read_result(reply(body, status, headers), what=WHAT, now=NOW)


# What is to be exported -------------------------------------------------------------------------------


def test_a_tag_is_submitted_with_the_bytes_of_the_documents():
    spec = tag_spec("tag_rfm", properties=["ids_$basic_userId", "usr_gender", "tag_rfm"])
    request = ask_submit(BASE, spec)
    assert (request.method, request.url) == ("POST", f"{BASE}/v1/api/user_tags/tag_rfm/export_jobs")
    assert request.headers == {"Content-Type": "application/json"}
    assert request.body.decode() == (
        '{"properties":["ids_$basic_userId","usr_gender","tag_rfm"],"fileFormat":"csv","csvHeaderType":"key"}'
    )
    assert request.operation == "growingio-cdp-tag submit"


@pytest.mark.parametrize(
    ("spec", "path", "name"),
    [
        (tag_spec("tag_rfm"), "user_tags/tag_rfm", "tag tag_rfm"),
        (
            tag_spec("tag_rfm", project="WlGk4Daj"),
            "projects/WlGk4Daj/user_tags/tag_rfm",
            "tag tag_rfm of project WlGk4Daj",
        ),
        (
            tag_spec("tag_rfm", project="WlGk4Daj", space="pQ7rS2tU"),
            "projects/WlGk4Daj/spaces/pQ7rS2tU/user_tags/tag_rfm",
            "tag tag_rfm of space pQ7rS2tU of project WlGk4Daj",
        ),
        (
            segment_spec("seg_51activity", project="WlGk4Daj"),
            "projects/WlGk4Daj/segment_profiles/seg_51activity",
            "segment seg_51activity of project WlGk4Daj",
        ),
        (
            segment_spec("seg_51activity", project="WlGk4Daj", space="pQ7rS2tU"),
            "projects/WlGk4Daj/spaces/pQ7rS2tU/segment_profiles/seg_51activity",
            "segment seg_51activity of space pQ7rS2tU of project WlGk4Daj",
        ),
    ],
)
def test_every_scope_has_its_path_and_its_name(spec, path, name):
    assert ask_submit(BASE, spec).url == f"{BASE}/v1/api/{path}/export_jobs"
    assert spec.name == name
    assert spec.kind == (TAG if "user_tags" in path else SEGMENT)
    assert spec.ids == tuple(one for one in (spec.project, spec.space, spec.key) if one)


def test_json_has_no_header_type_and_names_are_asked_for_by_their_word():
    assert json.loads(ask_submit(BASE, tag_spec("t", file_format="json")).body) == {
        "properties": [],
        "fileFormat": "json",
    }
    assert json.loads(ask_submit(BASE, tag_spec("t", csv_header="name")).body)["csvHeaderType"] == "name"


def test_the_base_url_may_have_a_path():
    assert ask_submit("http://h:1/gio", tag_spec("t")).url == "http://h:1/gio/v1/api/user_tags/t/export_jobs"


@pytest.mark.parametrize(
    "key", ["tag_rfm", "标签_高价值", "tag_$x", "a.b", "a-b", "a(1)", "a=b", "a+b", "a<b>", "x" * 128]
)
def test_a_key_that_is_allowed_reaches_the_service_as_it_is(key):
    for spec in (tag_spec(key), segment_spec(key, project="p")):
        url = ask_submit(BASE, spec).url
        assert url.isascii()
        assert url.isprintable()
        assert not set(url) & set(' "<>|^`{}')
        assert unquote(url.split("/")[-2]) == key
        assert URL(url, encoded=True).raw_path.count("/") == url.removeprefix(BASE).count("/")


BAD_KEYS = [
    "",
    " ",
    "a b",
    "a,b",
    "a/b",
    "../x",
    ".",
    "..",
    "a?b",
    "a#b",
    "a&b",
    "a%41",
    "a;b",
    "a\\b",
    'a"b',
]
BAD_KEYS += ["a'b", "a\nb", "a\0b", "\u3000", "\x7f", "\x1b[31m", "\ud800", "x" * 129, None, 5, b"a"]


@pytest.mark.parametrize("bad", BAD_KEYS)
@pytest.mark.parametrize(
    ("ask", "says", "shows"),
    [
        (tag_spec, "tag key", "tag_rfm"),
        (lambda bad: segment_spec(bad, project="p"), "segment key", "seg_51activity"),
        (lambda bad: tag_spec("t", properties=["usr_a", bad]), "property", "usr_gender"),
    ],
)
def test_a_wrong_key_is_refused_with_its_name_its_value_the_limit_and_an_example(ask, says, shows, bad):
    with pytest.raises(ConfigError) as caught:
        ask(bad)
    text = str(caught.value)
    assert text.startswith(f"{says} ")
    assert f"{bad!r}"[:20].rstrip() in text
    assert "1 to 128 characters" in text
    assert shows in caught.value.hint
    assert (caught.value.service, text.isprintable()) == (SERVICE, True)


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "..", "a%2F", "é", "x" * 65, 5])
@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda bad: tag_spec("t", project=bad), "project id"),
        (lambda bad: tag_spec("t", project="p", space=bad), "space id"),
        (lambda bad: segment_spec("s", project=bad), "project id"),
        (lambda bad: segment_spec("s", project="p", space=bad), "space id"),
    ],
)
def test_a_wrong_id_is_refused_with_where_to_find_it(ask, says, bad):
    with pytest.raises(ConfigError) as caught:
        ask(bad)
    assert str(caught.value).startswith(f"{says} {bad!r}"[:60])
    assert "1 to 64 letters" in str(caught.value)
    assert "tagferry list growingio-cdp-projects" in caught.value.hint


def test_a_segment_needs_a_project_and_a_space_needs_one_too():
    with pytest.raises(ConfigError, match="project id None is not"):
        segment_spec("s", project=None)
    with pytest.raises(ConfigError, match=r"space 'x' needs its project.*--project"):
        tag_spec("t", space="x")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"file_format": "xml"}, "file format 'xml' is not one of csv and json"),
        ({"file_format": "CSV"}, "file format 'CSV' is not one of"),
        ({"file_format": None}, "file format None is not one of"),
        ({"csv_header": "id"}, "CSV header 'id' is not one of key and name"),
        ({"file_format": "json", "csv_header": "name"}, "CSV header 'name' means nothing to json"),
        ({"properties": "usr_a,usr_b"}, "not the text 'usr_a,usr_b'"),
        ({"properties": ["usr_a", "usr_b", "usr_a"]}, "property 'usr_a' is given twice"),
        ({"properties": [f"usr_{n}" for n in range(61)]}, "more than 60 properties"),
        ({"properties": (f"usr_{n}" for n in itertools.count())}, "more than 60 properties"),
    ],
)
def test_what_a_job_cannot_take_is_refused_with_the_next_step(options, says):
    for make in (lambda: tag_spec("t", **options), lambda: segment_spec("s", project="p", **options)):
        with pytest.raises(ConfigError) as caught:
            make()
        assert says in str(caught.value)
        assert caught.value.hint


def test_sixty_properties_in_their_order_are_not_too_many():
    keys = tuple(f"usr_{n}" for n in range(MAX_PROPERTIES))
    assert tag_spec("t", properties=iter(keys)).properties == keys
    # The documented call, in which json and the default header stand together.
    assert tag_spec("t", file_format="json", csv_header="key").file_format == "json"


def test_a_language_is_a_part_of_the_request_where_it_changes_the_file():
    names, keys = tag_spec("t", csv_header="name"), tag_spec("t")
    assert ask_submit(BASE, names, language="US").headers["language"] == "US"
    for request in (
        ask_submit(BASE, names),
        ask_submit(BASE, keys, language="US"),
        ask_submit(BASE, tag_spec("t", file_format="json"), language="US"),
    ):
        assert request.headers == {"Content-Type": "application/json"}


@given(st.text(max_size=9), st.lists(st.text(max_size=9), max_size=4), st.none() | st.text(max_size=9))
def test_any_values_are_refused_or_make_one_request(key, properties, project):
    failure = None
    try:
        request = ask_submit(BASE, tag_spec(key, properties=properties, project=project))
    except ConfigError as error:
        failure = error
    if failure is not None:
        assert str(failure).isprintable()
        return
    assert request.url.isascii()
    assert request.url.isprintable()
    path = [unquote(part) for part in urlsplit(request.url).path.split("/")]
    scope = ["projects", project] if project is not None else []
    assert path == ["", "v1", "api", *scope, "user_tags", key, "export_jobs"]
    assert json.loads(request.body)["properties"] == properties


# Who asks ---------------------------------------------------------------------------------------------


def test_the_credentials_and_the_language():
    assert authorize("t") == {"Authorization": "Bearer t"}
    assert authorize("t", "Token") == {"Authorization": "Token t"}
    assert authorize("t", "", "US") == {"Authorization": "t", "language": "US"}
    assert str(RATE) == "5/s"


def test_schemes_and_languages_are_checked_and_a_token_in_their_place_is_not_shown(canary):
    assert [check_scheme(word) for word in ("Bearer", "Token", "")] == ["Bearer", "Token", ""]
    assert [check_language(word) for word in (None, "CH", "US")] == [None, "CH", "US"]
    for bad in ("Bearer ", "a b", "é", None, 5, "x\n", f"Bearer {canary}"):
        with pytest.raises(ConfigError, match="Bearer, Token") as caught:
            check_scheme(bad)
        assert canary not in str(caught.value)
    for bad in ("zh", "ch", "", 5, ["CH"]):
        with pytest.raises(ConfigError, match="not one of CH and US"):
            check_language(bad)


def test_the_old_exchange_asks_with_a_form():
    request = ask_token(BASE, " key&1 ")
    assert (request.method, request.url) == ("POST", f"{BASE}/accounts/oauth/access_token")
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert dict(parse_qsl(request.body.decode())) == {
        "grant_type": "client_credentials",
        "client_id": "api",
        "client_secret": "key&1",
        "scope": "system",
    }
    assert "key" not in repr(request)
    for bad in ("", " ", None, 5):
        with pytest.raises(ConfigError, match="client secret is empty"):
            ask_token(BASE, bad)


def test_the_old_exchange_gives_a_token():
    body = '{"access_token":"4aaa22c7","token_type":"bearer","expires_in":1}'
    assert read_token(reply(body), now=NOW) == "4aaa22c7"


@pytest.mark.parametrize(
    ("body", "status", "kind", "says"),
    [
        (
            '{"error":"invalid_client","error_description":"Bad client credentials"}',
            401,
            AuthError,
            "Bad client",
        ),
        ('{"error":"invalid_client"}', 400, AuthError, "invalid_client"),
        ('{"message":"no"}', 403, AuthError, "no"),
        ("<html>", 401, AuthError, "no token: 401"),
        ("", 503, ThrottledError, "503"),
        ("", 502, UnavailableError, "502"),
        ("", 404, RefusedError, "404"),
        ('{"token":"CANARY-x"}', 200, ProtocolError, "without one"),
        ('{"access_token":""}', 200, ProtocolError, "without one"),
        ('{"access_token":5}', 200, ProtocolError, "without one"),
        ('"CANARY-x"', 200, ProtocolError, "without one"),
        ('{"access_token":"CANARY-x"', 200, ProtocolError, "without one"),
    ],
)
def test_the_old_exchange_without_a_token(body, status, kind, says):
    with pytest.raises(kind) as caught:
        read_token(reply(body, status), now=NOW)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert (caught.value.code, caught.value.service) == (status, SERVICE)
    assert "CANARY" not in str(caught.value)


# Submitting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "job"),
    [
        (SUBMITTED, "kqQeWeGr"),
        ('{"id":17,"name":"x"}', "17"),
        ('{"id":17.0}', "17"),
        ('{"id":"17"}', "17"),
        ('{"id":"VGFnVXNlckV4cG9ydEpvYkR0bzpBYlEzWEFwWQ==/+"}', "VGFnVXNlckV4cG9ydEpvYkR0bzpBYlEzWEFwWQ==/+"),
        ('{"id":"a","id":"b","stage":"FINISH","error":{"code":"","message":null}}', "b"),
        ("\ufeff" + SUBMITTED, "kqQeWeGr"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_submission_gives_the_id_of_its_job(body, job, status):
    assert submitted(body, status) == job


@pytest.mark.parametrize(
    "body", [b"Internal Server Error", b"internal server error\n", b" Internal Server Error "]
)
def test_a_plain_500_is_an_unknown_or_unauthorised_key_and_says_so(body):
    with pytest.raises(RefusedError, match="unknown or unauthorised key") as caught:
        submitted(body, 500)
    assert (caught.value.code, caught.value.retryable, caught.value.service) == (500, False, SERVICE)
    assert "tagferry list" in caught.value.hint
    assert WHAT in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "says"),
    [
        (400, '{"message":"最大查询60个","errors":[]}', RefusedError, False, "最大查询60个"),
        (401, '{"message":"Unauthorized","errors":[]}', AuthError, False, TOKEN_HINT),
        (403, "", AuthError, False, "may not export this"),
        (404, "", RefusedError, False, "no spaces"),
        (400, "", RefusedError, False, "check the properties"),
        (405, "", RefusedError, False, "check the base URL"),
        (413, "<html>413</html>", RefusedError, False, "fewer properties"),
        (415, "", RefusedError, False, "check the base URL"),
        (429, "", ThrottledError, True, "429"),
        (302, "", ProtocolError, False, "base URL"),
        (
            200,
            '{"id":null,"error":{"code":"E1","message":"no such tag"}}',
            RefusedError,
            False,
            "E1: no such tag",
        ),
        (200, '{"error":"denied"}', RefusedError, False, "denied"),
        (200, '{"data":null,"errors":[{"message":"boom"}]}', RefusedError, False, "boom"),
        (200, '{"value":true,"message":"not now"}', RefusedError, False, "not now"),
    ],
)
def test_a_refused_submission_made_no_job(status, body, kind, retryable, says):
    with pytest.raises(kind) as caught:
        submitted(body, status)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retryable) == (status, retryable)
    assert says in str(caught.value)
    assert WHAT in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, "null"),
        (200, "[]"),
        (200, "{}"),
        (200, SUBMITTED[:20]),
        (200, '{"id":""}'),
        (200, '{"id":true}'),
        (200, '{"id":-1}'),
        (200, '{"id":1.5}'),
        (200, '{"id":1e400}'),
        (200, '{"id":123456789012345678901234567890}'),
        (200, '{"id":".."}'),
        (200, '{"id":"a b"}'),
        (200, '{"id":["x"]}'),
        (200, "<html>please log in</html>"),
        (204, ""),
        (408, ""),
        (500, ""),
        (500, '{"message":"Request timeout","errors":[{"code":"request_timeout"}]}'),
        (500, "<html>Internal Server Error</html>"),
        (502, "<html>bad gateway</html>"),
        (503, "upstream connect error or disconnect/reset before headers"),
        (504, ""),
    ],
)
def test_an_answer_that_does_not_tell_whether_there_is_a_job_is_never_asked_again(status, body):
    with pytest.raises(SubmitUnknownError) as caught:
        submitted(body, status)
    assert (caught.value.code, caught.value.retryable, caught.value.service) == (status, False, SERVICE)
    assert WHAT in str(caught.value)
    assert "attach" in caught.value.hint


def test_a_503_with_a_wait_was_sent_on_purpose():
    with pytest.raises(ThrottledError) as caught:
        submitted("", 503, {"retry-after": "7"})
    assert (caught.value.retry_after, caught.value.retryable) == (7.0, True)


def test_the_unknown_outcome_says_why():
    error = submit_unknown(WHAT, "the connection broke")
    assert str(error).startswith(
        f"whether growingio-cdp has begun to export {WHAT} is not known: the connection"
    )
    assert error.code is None


# Results ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "first", "second"),
    [
        ({}, "/v1/api/job/result/kqQeWeGr", "/v1/api/job/result/kqQeWeGr"),
        ({"project": "P"}, "/v1/api/job/result/kqQeWeGr", "/v1/api/projects/P/job/result/kqQeWeGr"),
        (
            {"project": "P", "space": "S"},
            "/v1/api/projects/P/job/result/kqQeWeGr",
            "/v1/api/job/result/kqQeWeGr",
        ),
    ],
)
def test_a_result_is_asked_for_in_the_form_of_the_version_or_in_the_other_one(scope, first, second):
    spec = tag_spec("tag_rfm", **scope)
    request = ask_result(BASE, "kqQeWeGr", spec)
    assert (request.method, request.url, request.operation) == ("GET", BASE + first, TAG)
    assert (dict(request.headers), request.body) == ({}, b"")
    assert ask_result(BASE, "kqQeWeGr", spec, other=True).url == BASE + second


@pytest.mark.parametrize("job", ["kqQeWeGr", "17", "a/b", "a?b#c%41", "==+&", "..a", "x" * 200])
def test_an_id_that_is_allowed_reaches_the_service_as_it_is(job):
    url = ask_result(BASE, check_job_id(job), tag_spec("t")).url
    assert URL(url, encoded=True).raw_path.count("/") == 5
    assert unquote(url.rpartition("/")[2]) == job


@pytest.mark.parametrize("bad", ["", " ", "a b", "a\nb", "é", ".", "..", "x" * 201, None, 17])
def test_an_id_that_cannot_be_one_is_refused(bad):
    with pytest.raises(ConfigError, match=r"job id .* 1 to 200 printable.*kqQeWeGr"):
        check_job_id(bad)
    with pytest.raises(ConfigError):
        ask_result(BASE, bad, tag_spec("t"))


def test_a_finished_job_has_its_uris_byte_for_byte():
    assert result(FINISH) == JobReport(state=JobState.DONE, links=(URI,))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("NONE", JobState.RUNNING),
        ("READY", JobState.RUNNING),
        ("RUNNING", JobState.RUNNING),
        ("DATA_READY", JobState.RUNNING),
        ("FINISH", JobState.DONE),
        ("FINISHED", JobState.DONE),
        ("success", JobState.DONE),
        (" finish ", JobState.DONE),
        ("ERROR", JobState.FAILED),
        ("failed", JobState.FAILED),
    ],
)
def test_every_stage_is_known_in_any_case(word, state):
    report = result(json.dumps({"stage": word, "uris": [URI], "id": 5}))
    assert (report.state, report.unknown) == (state, None)
    assert report.links == ((URI,) if state is JobState.DONE else ())


@pytest.mark.parametrize("word", ["PAUSED", "", "完成", "FINISHING"])
def test_an_unknown_stage_means_running_and_is_named(word):
    assert result(json.dumps({"stage": word, "uris": [URI]})) == JobReport(
        state=JobState.RUNNING, unknown=word
    )


@pytest.mark.parametrize("body", ["null", " null\n"])
def test_null_is_a_job_that_has_no_result_yet(body):
    report = result(body)
    assert (report.state, report.absent, report.unknown) == (JobState.RUNNING, True, None)
    assert isinstance(report.error, JobFailedError)


@pytest.mark.parametrize(
    ("uris", "links"),
    [
        ('["a","b"]', ("a", "b")),
        ('["b","a","b"]', ("b", "a")),
        ('"a"', ("a",)),
        ('["a",null,""]', ("a",)),
        ("[]", ()),
        ("null", ()),
        ('""', ()),
    ],
)
def test_uris_in_order_and_once(uris, links):
    assert result(f'{{"stage":"FINISH","uris":{uris}}}').links == links
    assert result('{"stage":"FINISH"}').links == ()


@pytest.mark.parametrize("uris", ["5", "true", "[5]", '{"a":"b"}', '["a",["b"]]'])
def test_uris_of_another_form_are_an_error_that_names_it(uris):
    with pytest.raises(ProtocolError, match="uris of a form that is not documented"):
        result(f'{{"stage":"FINISH","uris":{uris}}}')


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("", "no reason given"),
        (',"uris":null,"error":null', "no reason given"),
        (',"error":{"code":"","message":null}', "no reason given"),
        (',"error":{"code":"E7","message":"坏了"}', "E7: 坏了"),
        (',"error":{"message":"坏了"}', "坏了"),
        (',"error":"坏了"', "坏了"),
        (',"message":"坏了"', "坏了"),
        (',"message":5,"error":[]', "no reason given"),
    ],
)
def test_a_failed_job_has_the_reason_if_there_is_one(fields, says):
    report = result(f'{{"stage":"ERROR"{fields}}}')
    assert report.state is JobState.FAILED
    assert isinstance(report.error, JobFailedError)
    assert str(report.error).startswith(f"growingio-cdp could not export {WHAT}: {says}")
    assert (report.error.code, report.error.retryable, report.error.service) == ("ERROR", False, SERVICE)


def test_a_reason_is_cut_and_cannot_play_with_the_terminal():
    text = str(result(json.dumps({"stage": "ERROR", "message": "\x1b]0;evil\x07" + "x" * 100_000})).error)
    assert text.isprintable()
    assert len(text) < 600


@pytest.mark.parametrize(
    "body",
    [
        "",
        "5",
        '"FINISH"',
        "[]",
        "{}",
        '{"stage":null}',
        '{"stage":5}',
        FINISH[:-20],
        "<html>log in</html>",
        b"\xff",
        "nul",
    ],
)
def test_an_answer_that_is_no_job_stage_may_come_from_a_portal_and_is_asked_for_again(body):
    with pytest.raises(ProtocolError, match="something else than a job stage") as caught:
        result(body)
    assert (caught.value.retryable, caught.value.code, caught.value.service) == (True, 200, SERVICE)


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "says"),
    [
        (400, '{"message":"bad id"}', RefusedError, False, "bad id"),
        (401, "", AuthError, False, TOKEN_HINT),
        (403, "", AuthError, False, "the token that submitted it"),
        (400, "", RefusedError, False, "check the job id"),
        (404, "", RefusedError, False, "knows no such job"),
        (413, "", RefusedError, False, "check the base URL"),
        (429, "", ThrottledError, True, "429"),
        (500, "Internal Server Error", UnavailableError, True, "Internal Server Error"),
        (502, "<html>bad gateway</html>", UnavailableError, True, "bad gateway"),
        (503, "", ThrottledError, True, "503"),
        (302, "", ProtocolError, False, "base URL"),
        (401, FINISH, AuthError, False, "401"),
    ],
)
def test_a_refused_result_is_classified_by_its_status(status, body, kind, retryable, says):
    with pytest.raises(kind) as caught:
        result(body, status)
    assert type(caught.value) is kind
    assert (caught.value.retryable, caught.value.code, caught.value.service) == (retryable, status, SERVICE)
    assert says in str(caught.value)
    assert WHAT in str(caught.value)


def test_nesting_of_any_depth_never_breaks_a_reader():
    for depth in [*range(1, 1100, 7), 100_000]:
        for name in ("uris", "error", "errors", "message", "id"):
            body = f'{{"stage":"ERROR","{name}":' + "[" * depth + "]" * depth + "}"
            for read in (result, submitted):
                try:
                    read(body)
                except (ProtocolError, SubmitUnknownError):
                    continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
ERRORS = st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON})
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "stage": st.sampled_from(["FINISH", "ERROR", "RUNNING", "x"]) | JSON,
        "uris": st.lists(st.text(max_size=9) | st.none()) | JSON,
        "id": st.text(max_size=9) | st.integers() | st.floats() | JSON,
        "error": ERRORS | JSON,
        "errors": st.lists(ERRORS | JSON, max_size=2) | JSON,
        "message": st.text(max_size=9) | JSON,
    },
).map(lambda answer: json.dumps(answer).encode())


@given(
    st.binary(max_size=200) | ANSWERS | JSON.map(lambda value: json.dumps(value).encode()),
    st.integers(100, 599),
)
@example(b'{"stage":"FINISH","uris":["\\ud800"]}', 200)
@example(b'{"id":"\\ud800"}', 200)
@example(b"null", 200)
@example(b"[" * 100_000, 200)
@example(b'{"id":1' + b"0" * 5000 + b"}", 200)
def test_any_bytes_are_a_value_or_an_error_of_ours(body, status):
    for read in (result, submitted, lambda body, status: read_token(reply(body, status), now=NOW)):
        failure = None
        try:
            value = read(body, status)
        except TagferryError as error:
            failure = error
        if failure is not None:
            assert str(failure).isprintable()
            assert str(failure).encode()
            continue
        assert 200 <= status < 300
        if isinstance(value, JobReport):
            assert (value.error is not None) == (value.state is JobState.FAILED or value.absent)
            for link in value.links:
                assert make_link(BASE, link).isascii() or link.startswith("http")
        elif read is submitted:
            assert check_job_id(value) == value


# Links ------------------------------------------------------------------------------------------------

SAMPLE = "/jobs/results/DES-202205240136-5818534160000/zxm_用户_字符串_加密_2022-04-26_UserList.json"


@pytest.mark.parametrize(
    ("uri", "sent"),
    [
        # Encoded as a whole, as in the REST pages: sent as it is, whatever is in it.
        (URI, URI),
        ("%2Fa%2Fb.csv", "%2Fa%2Fb.csv"),
        ("%2fa%2fb.csv", "%2fa%2fb.csv"),
        ("%2Fa%2F50%25.csv", "%2Fa%2F50%25.csv"),
        ("%2Fa%2F50%2525.csv", "%2Fa%2F50%2525.csv"),
        # A plus stands for a blank when a form encoder made it.
        ("%2Fa%2Fb+c.csv", "%2Fa%2Fb+c.csv"),
        ("%2Fa%2Fb%2Bc.csv", "%2Fa%2Fb%2Bc.csv"),
        ("%2Fa/b.csv", "%2Fa/b.csv"),
        # Encoded, but not all of it can be sent: only that is escaped.
        ("%2Fa%2F用户.csv", "%2Fa%2F%E7%94%A8%E6%88%B7.csv"),
        ("%2Fa%2Fb c&d#e.csv", "%2Fa%2Fb%20c%26d%23e.csv"),
        ("%2Fa%2F100%.csv", "%2Fa%2F100%25.csv"),
        ("%2Fa%2F100%2x", "%2Fa%2F100%252x"),
        # Half encoded: the slashes are raw, the names are not.
        ("/jobs/%E7%94%A8%E6%88%B7.csv", "/jobs/%E7%94%A8%E6%88%B7.csv"),
        ("/jobs/a%20b+c.csv", "/jobs/a%20b+c.csv"),
        ("jobs/%E7%94%A8.csv", "jobs/%E7%94%A8.csv"),
        # Raw, but nothing in it has to be encoded.
        ("/jobs/results/DET-202104131140-42035184000000/c6be148a-4697.csv",) * 2,
        ("/a/b!$'()*,:;@~.csv",) * 2,
        # Raw: encoded once, as a whole.
        (SAMPLE, URI),
        ("/a/用户.csv", "%2Fa%2F%E7%94%A8%E6%88%B7.csv"),
        ("/a/b c.csv", "%2Fa%2Fb%20c.csv"),
        ("/a/b+c.csv", "%2Fa%2Fb%2Bc.csv"),
        ("/a/b&c=d#e?f.csv", "%2Fa%2Fb%26c%3Dd%23e%3Ff.csv"),
        ("/a/100%.csv", "%2Fa%2F100%25.csv"),
        ("/a/用户%25.csv", "%2Fa%2F%E7%94%A8%E6%88%B7%2525.csv"),
        ("/a/\ud800.csv", "%2Fa%2F%3F.csv"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("//evil.example.com/a", "//evil.example.com/a"),
    ],
)
def test_a_uri_is_encoded_once_or_not_at_all(uri, sent):
    assert make_link(BASE, uri) == f"{BASE}/download?file={sent}"
    # Byte for byte on the wire, too.
    assert str(URL(make_link(BASE, uri), encoded=True)) == f"{BASE}/download?file={sent}"


def test_the_download_may_have_an_origin_of_its_own():
    assert (
        make_link("http://files.example.com:81/gio", "%2Fa")
        == "http://files.example.com:81/gio/download?file=%2Fa"
    )


@pytest.mark.parametrize("uri", ["http://h/a?b=%2F", "https://h/a b", "HTTPS://h/用户"])
def test_an_absolute_link_is_used_as_it_is(uri):
    assert make_link(BASE, uri) == uri


@given(st.text(min_size=1).map(lambda name: f"/jobs/results/DES-1/{name}"))
def test_the_server_finds_the_file_however_its_uri_was_spelt(path):
    # Only a raw path with escapes in its own name is ambiguous: it looks as if it were encoded.
    spellings = [quote(path, safe="")] + ([path] if "%" not in path else [])
    spellings += [quote(path, safe="/")] if "%" in quote(path, safe="/") else []
    for uri in spellings:
        link = make_link(BASE, uri)
        assert link.isascii()
        assert link.isprintable()
        query = urlsplit(link).query
        assert parse_qsl(query, keep_blank_values=True) == [("file", path)]
        # What is sent once can be made into a link again without a change.
        assert make_link(BASE, query.removeprefix("file=")) == link
