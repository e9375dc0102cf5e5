import json

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
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.exports.job import JobReport, JobState
from tagferry.services.growingio_saas import (
    BASE_URL,
    RATE,
    SEGMENT,
    SERVICE,
    TAG,
    TOKEN_HINT,
    ask_segment_users,
    ask_tag_users,
    authorize,
    read_export,
)
from tagferry.wire.message import Head, Reply

DOING = '{"id":"random-id","status":"doing"}'
LINK = (
    "https://gta.growingio.com/buckets/segment-download-jobs/20191226/195ae9eb-4a89-457b-b8ce-fb8ca2539131/"
    "20191212-20191225_%E6%B8%A0%E9%81%93%E8%AF%84%E4%BC%B0.csv"
    "?sign=R9y9atNVIDqU74q34BX%2FgPJI%2Bo22stsGPWZHJ7Tin%2FE%3D&expires=1577344409140"
)
DONE = '{"id":"random-id","status":"done","downloadLinks":["' + LINK + '"],"errorMsg":""}'
FAILED = '{"id":"random-id","status":"failed","downloadLinks":[],"errorMsg":"过期时间应小于7天"}'
UNAUTHORIZED = '{"message":"Unauthorized","errors":[]}'
TIMED_OUT = (
    '{"message":"Request timeout","errors":[{"code":"request_timeout",'
    '"message":"Request timeout in 5000 milliseconds"}]}'
)
BAD_REQUEST = '{"message":"分群的类型和idtype不匹配","errors":[{"code":"bad_request","message":"错误访问"}]}'
FAIL = '{"status":"fail","message":"error message"}'
WHAT = "tag 5rREn4PL of project nxog09md"


def read(body, status=200, headers=None):
    data = body if isinstance(body, bytes) else body.encode()
    return read_export(Reply(Head(status, headers or {}), data), what=WHAT, now=1_577_344_409.0)


# What is asked ----------------------------------------------------------------------------------------


def test_a_segment_is_asked_for_with_the_bytes_of_the_documents():
    request = ask_segment_users(
        BASE_URL, "nxog09md", "nP2lpkX9", expire_minutes=5, parameters=["user_name", "project"]
    )
    assert request.url == (
        "https://www.growingio.com/v3/exporter/projects/nxog09md/segmentations/nP2lpkX9/users"
        "?expire=5&parameters=user_name,project"
    )
    assert (request.method, request.operation, request.body) == ("GET", SEGMENT, b"")
    assert dict(request.headers) == {}


def test_a_tag_is_asked_for_with_its_expiry_only():
    request = ask_tag_users(BASE_URL, "nxog09md", "5rREn4PL", expire_minutes=60)
    assert (
        request.url == "https://www.growingio.com/v3/exporter/projects/nxog09md/tags/5rREn4PL/users?expire=60"
    )
    assert (request.method, request.operation) == ("GET", TAG)


def test_a_segment_without_parameters_has_no_such_field():
    assert ask_segment_users(BASE_URL, "p", "s", expire_minutes=60).url.endswith("/users?expire=60")


def test_the_same_export_is_always_the_same_request_because_the_service_keys_its_job_on_it():
    asks = [
        ask_segment_users(BASE_URL, "p", "s", expire_minutes=9, parameters=iter(["b", "a"])) for _ in "12"
    ]
    assert asks[0] == asks[1]
    assert asks[0].url.endswith("parameters=b,a")


def test_the_base_url_may_have_a_path():
    assert ask_tag_users("http://h:1/a", "p", "t", expire_minutes=1).url == (
        "http://h:1/a/v3/exporter/projects/p/tags/t/users?expire=1"
    )


def test_the_token_goes_bare_and_alone_unless_there_is_a_client_id():
    assert authorize("token") == {"Authorization": "token"}
    assert authorize("token", "key") == {"Authorization": "token", "X-Client-Id": "key"}


def test_the_documented_rate_is_two_calls_a_second():
    assert str(RATE) == "2/s"


BAD_IDS = [
    "",
    " ",
    "a b",
    "a/b",
    "../x",
    "a?b",
    "a#b",
    "a%2Fb",
    "a\r\nb",
    "a\0b",
    "é",
    "标签",
    "a-b",
    "x" * 65,
    None,
    5,
]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize(
    ("ask", "says", "like"),
    [
        (lambda bad: ask_tag_users(BASE_URL, bad, "t", expire_minutes=5), "project UID", "nxog09md"),
        (lambda bad: ask_tag_users(BASE_URL, "p", bad, expire_minutes=5), "tag id", "5rREn4PL"),
        (lambda bad: ask_segment_users(BASE_URL, bad, "s", expire_minutes=5), "project UID", "nxog09md"),
        (lambda bad: ask_segment_users(BASE_URL, "p", bad, expire_minutes=5), "segment id", "nP2lpkX9"),
    ],
)
def test_a_wrong_id_is_refused_with_its_name_its_value_the_limit_and_where_to_find_it(ask, says, like, bad):
    with pytest.raises(ConfigError) as caught:
        ask(bad)
    assert str(caught.value).startswith(f"{says} {bad!r} is not made of 1 to 64 letters and digits")
    assert caught.value.hint == f"copy it from the console's address bar, like {like}"
    assert caught.value.service == SERVICE


@pytest.mark.parametrize("minutes", [0, -1, 10081, 10**30, 5.0, "5", None, True, float("nan")])
def test_a_wrong_expiry_is_refused_with_its_value_the_limits_and_what_suits(minutes):
    with pytest.raises(ConfigError) as caught:
        ask_tag_users(BASE_URL, "p", "t", expire_minutes=minutes)
    assert f"{minutes!r}" in str(caught.value)
    assert "1 to 10080 (7 days)" in str(caught.value)
    assert "60" in caught.value.hint


@pytest.mark.parametrize("minutes", [1, 5, 10080])
def test_the_bounds_of_the_expiry_are_left_to_the_service(minutes):
    assert ask_tag_users(BASE_URL, "p", "t", expire_minutes=minutes).url.endswith(f"?expire={minutes}")


BAD_KEYS = [
    "",
    " ",
    "a b",
    "a,b",
    "a&b",
    "a#b",
    "a?b",
    "a%41",
    "a+b",
    "a=b",
    "a/b",
    "a\\b",
    "a\nb",
    "a\tb",
    "a\0b",
]
BAD_KEYS += ["\u3000", "x" * 129, "\x7f", "\x1b[31m", "\ud800", None, 5, b"a"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_wrong_parameter_is_refused_with_its_value_and_an_example(key):
    with pytest.raises(ConfigError) as caught:
        ask_segment_users(BASE_URL, "p", "s", expire_minutes=5, parameters=["role", key])
    assert f"{key!r}" in str(caught.value)
    assert "open_id" in caught.value.hint


def test_a_parameter_that_comes_twice_is_refused():
    with pytest.raises(ConfigError, match=r"'role' is given twice.*once"):
        ask_segment_users(BASE_URL, "p", "s", expire_minutes=5, parameters=["role", "open_id", "role"])


def test_a_text_where_a_list_is_meant_is_refused():
    with pytest.raises(ConfigError, match=r"not the text 'open_id,role'.*parameters=\["):
        ask_segment_users(BASE_URL, "p", "s", expire_minutes=5, parameters="open_id,role")


@pytest.mark.parametrize(
    "key", ["open_id", "usr_$name", "id.x", "a-b", "a:b", "渠道", 'a"b', "a<b>", "a|b", "a^b", "a'b"]
)
def test_a_parameter_that_is_allowed_reaches_the_service_as_it_is(key):
    url = ask_segment_users(BASE_URL, "p", "s", expire_minutes=5, parameters=[key, "role"]).url
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(' "<>|^`{}')
    assert URL(url, encoded=True).query["parameters"] == f"{key},role"
    assert ",role" in url


@given(
    st.lists(st.text(max_size=10), max_size=4), st.integers(-5, 20000), st.sampled_from(["nxog09md", "a/b"])
)
def test_any_values_are_refused_or_make_one_request_line(keys, minutes, project):
    try:
        request = ask_segment_users(BASE_URL, project, "nP2lpkX9", expire_minutes=minutes, parameters=keys)
    except ConfigError:
        return
    assert request.url.isascii()
    assert request.url.isprintable()
    assert " " not in request.url
    url = URL(request.url, encoded=True)
    assert url.origin() == URL(BASE_URL)
    assert url.path == f"/v3/exporter/projects/{project}/segmentations/nP2lpkX9/users"
    assert dict(url.query) == {"expire": f"{minutes}"} | ({"parameters": ",".join(keys)} if keys else {})


# What is read -----------------------------------------------------------------------------------------


def test_a_job_that_runs():
    assert read(DOING) == JobReport(state=JobState.RUNNING)


def test_a_job_that_is_done_has_its_links_byte_for_byte():
    assert read(DONE) == JobReport(state=JobState.DONE, links=(LINK,))


def test_a_job_that_failed_has_the_service_s_reason():
    report = read(FAILED)
    assert report.state is JobState.FAILED
    assert report.links == ()
    assert isinstance(report.error, JobFailedError)
    assert str(report.error).startswith(f"growingio-saas could not export {WHAT}: 过期时间应小于7天")
    assert (report.error.code, report.error.service, report.error.retryable) == ("failed", SERVICE, False)


@pytest.mark.parametrize(
    ("message", "retryable"),
    [
        ("请求参数不合法,user_nam", False),
        ("过期时间应小于7天", False),
        ("下载失败,请稍后重试", True),
        ("Download failed, try again later", True),
        ("", False),
    ],
)
def test_only_a_failure_that_asks_for_another_try_is_worth_one(message, retryable):
    error = read(json.dumps({"id": "x", "status": "failed", "errorMsg": message})).error
    assert error.retryable is retryable
    assert ("again later" in error.hint) is retryable
    assert (message or "no reason given") in str(error)


@pytest.mark.parametrize(
    "field", ["", '"errorMsg":null,', '"errorMsg":5,', '"errorMsg":["x"],', '"message":"gone",']
)
def test_a_failure_without_a_usable_reason_is_still_one(field):
    report = read(f'{{{field}"status":"failed"}}')
    assert report.state is JobState.FAILED
    assert ("gone" if "gone" in field else "no reason given") in str(report.error)


def test_a_reason_is_cut_and_cannot_play_with_the_terminal_or_show_a_link():
    reason = f"\x1b]0;evil\x07 {LINK} " + "x" * 100_000
    error = read(json.dumps({"status": "failed", "errorMsg": reason})).error
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert "sign=" not in str(error)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("doing", JobState.RUNNING),
        ("DOING", JobState.RUNNING),
        ("RUNNING", JobState.RUNNING),
        ("done", JobState.DONE),
        (" Done\\n", JobState.DONE),
        ("FINISHED", JobState.DONE),
        ("failed", JobState.FAILED),
        ("ERROR", JobState.FAILED),
        ("NOT_EXISTS", JobState.FAILED),
    ],
)
def test_status_words_of_the_family_are_known_in_any_case(word, state):
    report = read(f'{{"status":"{word}","errorMsg":""}}')
    assert report.state is state
    assert report.unknown is None


@pytest.mark.parametrize("word", ["queued", "", "完成", "doneish", "fail"])
def test_an_unknown_status_word_means_running_and_is_named(word):
    assert read(json.dumps({"status": word, "downloadLinks": [LINK]})) == JobReport(
        state=JobState.RUNNING, unknown=word
    )


def test_an_unknown_status_word_is_shown_short_and_printable():
    assert read(json.dumps({"status": "\x1b" + "w" * 5000})).unknown == "\\x1b" + "w" * 35 + "…"


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        ('"downloadLinks":["a","b"]', ("a", "b")),
        ('"downloadLinks":"a"', ("a",)),
        ('"downloadLinks":{"visit":["a"],"pvar":[],"evar":["b","c"]}', ("a", "b", "c")),
        ('"downloadLinks":[["a"],["b"]]', ("a", "b")),
        ('"downlinks":["a"]', ("a",)),
        ('"downloadLinks":null,"downlinks":["a"]', ("a",)),
        ('"downloadLinks":["a"],"downlinks":["b"]', ("a",)),
        ('"downloadLinks":["a","b","a"]', ("a", "b")),
        ('"downloadLinks":["b","a"]', ("b", "a")),
        ('"downloadLinks":["a",null,""]', ("a",)),
        ('"downloadLinks":[]', ()),
        ('"downloadLinks":{}', ()),
        ('"downloadLinks":null', ()),
        ('"downloadLinks":""', ()),
        ('"errorMsg":""', ()),
        ('"downloadLinks":{"evar":[],"pvar":[],"visit":[]}', ()),
    ],
)
def test_links_are_found_in_every_form_of_the_family_in_order_and_once(fields, links):
    assert read(f'{{"status":"done",{fields}}}').links == links


@pytest.mark.parametrize("value", ["5", "true", "[5]", '{"a":{"b":1.5}}', '["a",false]'])
def test_links_of_another_form_are_an_error_that_names_it(value):
    with pytest.raises(ProtocolError, match="links of a form that is not documented"):
        read(f'{{"status":"done","downloadLinks":{value}}}')


def test_links_of_a_job_that_is_not_done_do_not_count():
    assert read(f'{{"status":"doing","downloadLinks":["{LINK}"]}}').links == ()


def test_nesting_of_any_depth_never_breaks_the_reader():
    # Every depth, since a reader that recurses fails only close to where the decoder does.
    for depth in [*range(1, 1100), 100_000]:
        body = '{"status":"done","downloadLinks":' + "[" * depth + '"a"' + "]" * depth + "}"
        try:
            assert read(body).links == ("a",)
        except ProtocolError:
            assert depth > 100


def test_unknown_fields_numbers_and_doubled_keys_do_not_matter():
    body = (
        '{"id":17,"status":"doing","status":"done","new":{"x":[1e400,-0]},"downloadLinks":["a"],"errorMsg":7}'
    )
    assert read(body) == JobReport(state=JobState.DONE, links=("a",))


def test_a_byte_order_mark_is_no_obstacle():
    assert read(b"\xef\xbb\xbf" + DOING.encode()).state is JobState.RUNNING


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "null",
        "5",
        '"doing"',
        "[]",
        "{}",
        '{"status":null}',
        '{"status":5}',
        '{"status":["done"]}',
        DONE[:-20],
        "<html><body>please log in</body></html>",
        b'{"status":"\xff"}',
        DONE.encode("utf-16"),
        '{"status":"done"} trailing',
        "NaN",
    ],
)
def test_an_answer_that_is_no_job_state_may_come_from_a_portal_and_is_asked_for_again(body):
    with pytest.raises(ProtocolError, match="something else than a job state") as caught:
        read(body)
    assert caught.value.retryable
    assert (caught.value.code, caught.value.service) == (200, SERVICE)
    assert WHAT in str(caught.value)
    assert "R9y9" not in str(caught.value)


def test_an_html_page_is_shown_in_part():
    with pytest.raises(ProtocolError, match="please log in") as caught:
        read("<html>\n<body>please log in</body></html>" + "x" * 10**6)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "says"),
    [
        (400, BAD_REQUEST, RefusedError, False, "分群的类型和idtype不匹配"),
        (400, FAIL, RefusedError, False, "error message"),
        (401, UNAUTHORIZED, AuthError, False, "Unauthorized"),
        (401, "", AuthError, False, "401"),
        (403, "", AuthError, False, "may not read this project"),
        (404, "", RefusedError, False, "address bar"),
        (405, "", RefusedError, False, "405"),
        (429, "", ThrottledError, True, "429"),
        (500, TIMED_OUT, UnavailableError, True, "Request timeout"),
        (502, "<html>bad gateway</html>", UnavailableError, True, "bad gateway"),
        (503, "", ThrottledError, True, "503"),
        (504, "", UnavailableError, True, "504"),
        (301, "", ProtocolError, False, "base URL"),
        (302, "", ProtocolError, False, "base URL"),
        (401, DONE, AuthError, False, "401"),
    ],
)
def test_a_refusal_is_classified_by_its_status_and_says_what_the_service_said(
    status, body, kind, retryable, says
):
    with pytest.raises(kind) as caught:
        read(body, status)
    error = caught.value
    assert type(error) is kind
    assert (error.retryable, error.code, error.service) == (retryable, status, SERVICE)
    assert says in str(error)
    assert WHAT in str(error)
    assert str(error).isprintable()
    assert "R9y9" not in str(error)


def test_a_refused_token_says_where_to_get_one():
    with pytest.raises(AuthError) as caught:
        read(UNAUTHORIZED, 401)
    assert caught.value.hint == TOKEN_HINT
    assert "TAGFERRY_GROWINGIO_TOKEN" in TOKEN_HINT


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (500, 7.0), (404, None)])
def test_the_wait_that_the_service_asks_for_is_kept(status, seconds):
    with pytest.raises(TagferryError) as caught:
        read("", status, {"retry-after": "7"})
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_status_of_success_is_read(status):
    assert read(DOING, status).state is JobState.RUNNING


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(["doing", "done", "failed", "FINISHED", "error", "x", ""]) | st.text(max_size=9)
ANSWERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("id", "downloadLinks", "downlinks", "errorMsg", "message"), JSON)
    | {"status": WORDS | JSON},
).map(lambda answer: json.dumps(answer).encode())


@given(
    st.binary(max_size=200) | ANSWERS | JSON.map(lambda value: json.dumps(value).encode()),
    st.integers(100, 599),
)
@example(b'{"status":"done","downloadLinks":["\\ud800"]}', 200)
@example(b'{"status":"\\ud800"}', 200)
@example(b'{"status":"failed","errorMsg":"\\udfff"}', 200)
@example(b"[" * 100_000, 200)
@example(b'{"status":' * 5_000, 500)
def test_any_bytes_are_a_report_or_an_error_of_ours(body, status):
    failure = None
    try:
        report = read(body, status)
    except TagferryError as error:
        failure = error
    if failure is not None:
        assert str(failure).isprintable()
        assert str(failure).encode()
        return
    assert 200 <= status < 300
    assert isinstance(report, JobReport)
    assert (report.error is not None) == (report.state is JobState.FAILED)
    assert all(isinstance(link, str) and link for link in report.links)
    for link in report.links:
        link.encode()


@pytest.mark.parametrize("cut", range(1, len(DONE)))
def test_a_truncated_answer_is_never_done(cut):
    with pytest.raises(ProtocolError, match="something else than a job state"):
        read(DONE[:cut])
