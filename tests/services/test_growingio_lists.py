import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagferry.emulator import CDPSettings, Emulator, Settings
from tagferry.errors import (
    AuthError,
    ConfigError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.services import growingio_cdp as cdp
from tagferry.services import growingio_saas as saas
from tagferry.services.growingio_lists import (
    PAGE_SIZE,
    SEGMENTS_RATE,
    VARIABLES_RATE,
    Listed,
    Page,
    ask_cdp_projects,
    ask_cdp_segments,
    ask_cdp_tags,
    ask_segments,
    ask_variables,
    read_cdp_projects,
    read_cdp_segments,
    read_cdp_tags,
    read_segments,
    read_variables,
)
from tagferry.wire.message import Head, Reply
from tests.emulator.raw import ask

BASE = "http://cdp.example.com"
NOW = 1_653_356_190.0
SEGMENTS = (
    '[{"id":"nP2lpkX9","name":"Segmentation Name","userType":"u","userNum":1230,"updatedAt":"2016-08-03"},'
    '{"id":"aB3dE5fG","name":"","userType":"cs1","userNum":1230.0,"updatedAt":"2016-08-03"}]'
)
VARIABLES = (
    '[{"id":"j9yDX123","key":"ml02","name":"ml测试02","description":"","isSystem":false,"projectId":"nxog1234",'
    '"createdAt":1615360319000,"updatedAt":1619159037000,"creator":"zhanghao","updater":"杨强",'
    '"attribution":"mostRecent","valueType":"string"}]'
)
TAG = (
    '{"id":"WlGk4Daj","name":"GrowingIO","key":"tag_example_api","type":"AGGREGATED","description":"API示例",'
    '"valueType":{"type":"DOUBLE","isArray":false},'
    '"detector":{"stage":"FINISH","detectedAt":"2022-01-01T01:01:00.000Z"},"creatorId":"KzpNzpkv",'
    '"creator":"管理员","createdAt":"2022-01-01T00:00:00.000Z","updaterId":"KzpNzpkv","updater":"管理员",'
    '"updatedAt":"2022-01-01T01:00:00.000Z"}'
)
SEGMENT = (
    '{"id":"WlGk4Daj","name":"GrowingIO","key":"seg_example_api","createdBy":"DIRECT","description":"API示例",'
    '"scheduler":"DAILY","detector":{"stage":"ERROR","detectedAt":null},"updatedAt":"2022-01-01T01:00:00.000Z"}'
)


def reply(body, status=200, headers=None):
    return Reply(Head(status, headers or {}), body if isinstance(body, bytes) else body.encode())


def page(values=TAG, *, offset="0.0", total="143.0", more="false"):
    return reply(
        f'{{"offset":{offset},"limit":1000.0,"totalCount":{total},"hasNextPage":{more},"hasPreviousPage":false,'
        f'"values":[{values}]}}'
    )


READERS = {
    "growingio-segments": lambda reply: read_segments(reply, now=NOW),
    "growingio-variables": lambda reply: read_variables(reply, "login", now=NOW),
    "growingio-cdp-tags": lambda reply: read_cdp_tags(reply, now=NOW),
    "growingio-cdp-segments": lambda reply: read_cdp_segments(reply, now=NOW),
    "growingio-cdp-projects": lambda reply: read_cdp_projects(reply, now=NOW),
}


# What is asked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "operation", "path"),
    [
        (ask_segments(BASE, "nxog09md"), "growingio-segments", "/projects/nxog09md/segmentations.json"),
        (
            ask_variables(BASE, "nxog09md", "login"),
            "growingio-variables",
            "/v1/api/projects/nxog09md/vars/peoples",
        ),
        (
            ask_variables(BASE, "nxog09md", "visitor"),
            "growingio-variables",
            "/v1/api/projects/nxog09md/vars/visitors",
        ),
        (ask_cdp_projects(BASE), "growingio-cdp-projects", "/v1/api/projects"),
        (ask_cdp_tags(BASE), "growingio-cdp-tags", "/v1/api/user_tags?limit=1000&offset=0"),
        (
            ask_cdp_tags(BASE, project="P", offset=2000),
            "growingio-cdp-tags",
            "/v1/api/projects/P/user_tags?limit=1000&offset=2000",
        ),
        (
            ask_cdp_tags(BASE, project="P", space="S"),
            "growingio-cdp-tags",
            "/v1/api/projects/P/spaces/S/user_tags?limit=1000&offset=0",
        ),
        (
            ask_cdp_segments(BASE, project="P", offset=1),
            "growingio-cdp-segments",
            "/v1/api/projects/P/segment_profiles?limit=1000&offset=1",
        ),
        (
            ask_cdp_segments(BASE, project="P", space="S"),
            "growingio-cdp-segments",
            "/v1/api/projects/P/spaces/S/segment_profiles?limit=1000&offset=0",
        ),
    ],
)
def test_every_list_is_asked_for_where_the_documents_have_it(request_, operation, path):
    assert (request_.method, request_.operation, request_.url) == ("GET", operation, BASE + path)
    assert request_.body == b""


def test_limits_are_the_documented_ones():
    assert (PAGE_SIZE, str(SEGMENTS_RATE), str(VARIABLES_RATE)) == (1000, "2/s", "10/s")


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "..", "a-b", "é", "x" * 65, None, 5])
def test_a_wrong_project_is_refused_with_where_to_find_it(bad):
    for make in (lambda: ask_segments(BASE, bad), lambda: ask_variables(BASE, bad, "login")):
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value).startswith(f"project UID {bad!r}"[:60])
        assert "address bar" in caught.value.hint


def test_scopes_of_the_cdp_are_checked():
    with pytest.raises(ConfigError, match="project id 'a/b'"):
        ask_cdp_tags(BASE, project="a/b")
    with pytest.raises(ConfigError, match="needs its project"):
        ask_cdp_tags(BASE, space="S")
    with pytest.raises(ConfigError, match="space id"):
        ask_cdp_segments(BASE, project="P", space="")


# What is read -----------------------------------------------------------------------------------------


def test_the_segments_of_saas():
    first, second = read_segments(reply(SEGMENTS), now=NOW).items
    assert first == Listed(
        kind=saas.SEGMENT,
        id="nP2lpkX9",
        key="nP2lpkX9",
        name="Segmentation Name",
        type="u",
        count=1230,
        updated="2016-08-03",
    )
    # Without a name, the key has to do.
    assert (second.name, second.count, second.type) == ("aB3dE5fG", 1230, "cs1")


@pytest.mark.parametrize("users", ["login", "visitor"])
def test_the_variables_of_saas(users):
    assert read_variables(reply(VARIABLES), users, now=NOW) == Page(
        (
            Listed(
                kind="growingio-variable",
                id="j9yDX123",
                key="ml02",
                name="ml测试02",
                type=users,
                value_type="string",
                updated="2021-04-23T06:23:57+00:00",
            ),
        )
    )


def test_the_tags_of_the_cdp():
    assert read_cdp_tags(page(), now=NOW) == Page(
        (
            Listed(
                kind=cdp.TAG,
                id="WlGk4Daj",
                key="tag_example_api",
                name="GrowingIO",
                type="AGGREGATED",
                value_type="DOUBLE",
                updated="2022-01-01T01:01:00.000Z",
                state="FINISH",
                description="API示例",
            ),
        )
    )
    (listed,) = read_cdp_tags(page(TAG.replace("false", "true")), now=NOW).items
    assert listed.value_type == "DOUBLE[]"


def test_the_segments_of_the_cdp():
    (listed,) = read_cdp_segments(page(SEGMENT), now=NOW).items
    assert (listed.kind, listed.key, listed.type) == (cdp.SEGMENT, "seg_example_api", "DIRECT")
    # It was never computed, so the time of its latest change is what there is.
    assert (listed.state, listed.updated) == ("ERROR", "2022-01-01T01:00:00.000Z")


def test_the_projects_of_the_cdp():
    (listed,) = read_cdp_projects(reply('[{"id":"WlGk4Daj","name":"演示项目"}]'), now=NOW).items
    assert listed == Listed(kind="growingio-cdp-project", id="WlGk4Daj", key="WlGk4Daj", name="演示项目")


def test_an_empty_list_is_one():
    for name, read in READERS.items():
        paged = name in {"growingio-cdp-tags", "growingio-cdp-segments"}
        assert read(page("", total="0.0") if paged else reply("\ufeff[]")) == Page(())


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ('"id":5,"key":"k"', {"id": "5", "name": "k"}),
        ('"id":5.0,"key":7,"name":8', {"id": "5", "key": "7", "name": "8"}),
        ('"id":"i","key":"k","type":null,"createdBy":"DIRECT"', {"type": "DIRECT"}),
        ('"id":"i","key":"k","type":["x"],"valueType":"INT"', {"type": None, "value_type": "INT"}),
        ('"id":"i","key":"k","valueType":{"isArray":true}', {"value_type": None}),
        ('"id":"i","key":"k","detector":"x","updatedAt":""', {"state": None, "updated": None}),
        ('"id":"i","key":"k","userNum":true', {"count": None}),
        ('"id":"i","key":"k","userNum":1.5', {"count": None}),
        ('"id":"i","key":"k","userNum":1e300', {"count": None}),
        ('"id":"i","key":"k","updatedAt":0', {"updated": "1970-01-01T00:00:00+00:00"}),
        ('"id":"i","key":"k","updatedAt":9e18', {"updated": None}),
        ('"id":"i","key":"k","new":{"a":[1]}', {"id": "i"}),
    ],
)
def test_items_with_other_types_of_fields(fields, facts):
    (listed,) = read_cdp_tags(page(f"{{{fields}}}"), now=NOW).items
    assert {name: getattr(listed, name) for name in facts} == facts


# Pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "found", "following"),
    [
        (0, page(more="true"), 1),
        (0, page(f"{TAG},{TAG}", more="true"), 2),
        (7, page(offset="7.0", more="true"), 8),
        (7, page(offset="7", more="false"), None),
        (7, page(offset="null", more="true"), 8),
        # The count of some lists is that of the page, so it does not end them.
        (200, page(offset="200.0", total="1.0", more="true"), 201),
        # Nothing more can come.
        (143, page("", offset="143.0", more="true"), None),
    ],
)
def test_a_list_goes_on_until_there_is_no_next_page(offset, found, following):
    assert read_cdp_tags(found, offset=offset, now=NOW).next == following
    assert read_cdp_segments(found, offset=offset, now=NOW).next == following


@pytest.mark.parametrize(
    ("offset", "found", "says"),
    [
        (0, page(more="null"), "whether there is another page"),
        (0, page(more='"true"'), "whether there is another page"),
        (1000, page(offset="0.0", more="true"), "the page at 0 in place of 1000"),
        (1000, page(offset="0.0"), "the page at 0 in place of 1000"),
        (0, page("", more="true"), "promises more after 0"),
        (0, page("", total="null", more="true"), "promises more after 0"),
        (999_999, page(offset="999999.0", more="true"), "has no end"),
    ],
)
def test_a_list_that_would_never_end_or_lose_items_is_refused(offset, found, says):
    with pytest.raises(ProtocolError, match=says) as caught:
        read_cdp_tags(found, offset=offset, now=NOW)
    assert not caught.value.retryable


# What is not a list -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "body",
    [
        "null",
        "5",
        '"x"',
        "{}",
        '{"values":null}',
        '{"values":{}}',
        '{"message":"no"}',
        "[5]",
        "[[]]",
        "[null]",
    ],
)
def test_json_of_another_shape_is_an_error_with_the_next_step(name, body):
    with pytest.raises(ProtocolError, match=f"answered {name} with something else than documented") as caught:
        READERS[name](reply(body))
    assert "check the base URL" in caught.value.hint
    assert (caught.value.code, caught.value.retryable) == ("list", False)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", ["", "<html>log in</html>", SEGMENTS[:-3], b"\xff", "[" * 100_000])
def test_no_json_may_come_from_a_portal_and_is_asked_for_again(name, body):
    with pytest.raises(ProtocolError, match="it is no JSON but") as caught:
        READERS[name](reply(body))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("fields", "missing"),
    [('"key":"k"', "id"), ('"id":"","key":"k"', "id"), ('"id":"i"', "key"), ('"id":"i","key":""', "key")],
)
def test_an_item_that_nothing_can_be_done_with_is_an_error(fields, missing):
    with pytest.raises(ProtocolError, match=f"an item without {missing}"):
        read_cdp_tags(page(f"{TAG},{{{fields}}}"), now=NOW)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, RefusedError, False),
        (401, AuthError, False),
        (403, AuthError, False),
        (404, RefusedError, False),
        (429, ThrottledError, True),
        (500, UnavailableError, True),
        (503, ThrottledError, True),
        (302, ProtocolError, False),
    ],
)
def test_a_refused_list_is_classified_by_its_status(name, status, kind, retryable):
    with pytest.raises(kind) as caught:
        READERS[name](reply("internal error", status, {"retry-after": "7"}))
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retryable) == (status, retryable)
    assert f"answered {status} to {name}: internal error" in str(caught.value)
    service = cdp if "cdp" in name else saas
    assert caught.value.service == service.SERVICE
    if status == 401:
        assert caught.value.hint == service.TOKEN_HINT
    if status in {400, 404, 500} and service is cdp:
        assert "project" in caught.value.hint
    with pytest.raises(kind, match=f"answered {status} to {name}"):
        READERS[name](reply("", status))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"message":"Unauthorized","errors":[]}', "Unauthorized"),
        ('{"message":"","errors":[{"code":"bad","message":"错误"}]}', "bad: 错误"),
        ('{"errors":null}', '{"errors":null}'),
    ],
)
def test_a_refused_list_says_what_the_service_said(name, body, said):
    with pytest.raises(AuthError) as caught:
        READERS[name](reply(body, 401))
    assert caught.value.message.endswith(f"answered 401 to {name}: {said}")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", ["Internal Server Error", " internal server error\n"])
def test_a_plain_500_of_the_cdp_is_about_what_is_unknown_and_not_asked_again(name, body):
    of_cdp = "cdp" in name
    with pytest.raises(RefusedError if of_cdp else UnavailableError) as caught:
        READERS[name](reply(body, 500))
    assert (caught.value.code, caught.value.retryable) == (500, not of_cdp)
    if of_cdp:
        assert f"refused {name}: unknown, or not for this token" in str(caught.value)
        assert "try again later" in caught.value.hint


@pytest.mark.parametrize("name", [name for name in READERS if "cdp" in name])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_list_that_the_cdp_refuses_says_what_to_check(name, status):
    with pytest.raises((RefusedError, AuthError)) as caught:
        READERS[name](reply("", status))
    assert caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "id",
    "key",
    "name",
    "type",
    "userType",
    "createdBy",
    "valueType",
    "userNum",
    "updatedAt",
    "detector",
)
ITEMS = st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), max_size=4)
PAGES = st.fixed_dictionaries(
    {"values": ITEMS | JSON}, optional=dict.fromkeys(("offset", "totalCount", "hasNextPage"), JSON)
)


@given((ITEMS | PAGES | JSON).map(json.dumps) | st.binary(max_size=99), st.integers(100, 599))
@example('[{"id":"\\ud800","key":"k"}]', 200)
def test_any_bytes_are_a_page_or_an_error_of_ours(body, status):
    for read in READERS.values():
        failure = None
        try:
            found = read(reply(body, status))
        except TagferryError as error:
            failure = error
        if failure is not None:
            assert str(failure).isprintable()
            continue
        assert 200 <= status < 300
        assert all(item.id and item.key and item.name for item in found.items)
        assert found.next is None or found.next > 0


# Against the service ----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(("tags", "pages"), [(1, 1), (1000, 1), (1001, 2), (2345, 3)])
async def test_all_pages_of_a_list_have_all_its_items_once(tags, pages):
    async with Emulator(Settings(cdp=CDPSettings(tags=tags))) as emu:
        items, offset, asked = [], 0, 0
        while offset is not None:
            request = ask_cdp_tags(emu.base_url, offset=offset)
            path = request.url.removeprefix(emu.base_url)
            answer = await ask(emu.base_url, path, cdp.authorize(emu.token))
            found = read_cdp_tags(reply(answer.body, answer.status), offset=offset, now=NOW)
            items += found.items
            offset, asked = found.next, asked + 1
        assert len({item.key for item in items}) == len(items) == tags
        assert asked == pages


@pytest.mark.anyio
async def test_every_list_of_the_service_can_be_read():
    async with Emulator(Settings(quota_per_second=1000, documented_lists=True)) as emu:

        async def get(request, headers):
            path = request.url.removeprefix(emu.base_url)
            answer = await ask(emu.base_url, path, headers)
            return reply(answer.body, answer.status)

        cdp_headers, saas_headers = cdp.authorize(emu.token), saas.authorize(emu.token)
        (project, _) = read_cdp_projects(
            await get(ask_cdp_projects(emu.base_url), cdp_headers), now=NOW
        ).items
        request = ask_cdp_segments(emu.base_url, project=project.key)
        segments = read_cdp_segments(await get(request, cdp_headers), now=NOW).items
        assert "seg_51activity" in {segment.key for segment in segments}
        found = await get(ask_segments(emu.base_url, "nxog09md"), saas_headers)
        assert [segment.type for segment in read_segments(found, now=NOW).items] == ["u", "cs1"]
        found = await get(ask_variables(emu.base_url, "nxog09md", "visitor"), saas_headers)
        assert [one.key for one in read_variables(found, "visitor", now=NOW).items] == ["ml02"]
