import json
from itertools import repeat

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from tagferry.errors import (
    AuthError,
    ConfigError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.services.tencent_answer import AccountFault, TagsAnswer, UserTags, read_tags
from tagferry.services.tencent_codes import Treatment
from tagferry.services.tencent_im import (
    BATCH,
    COMMANDS,
    KIND,
    RATE,
    REGIONS,
    SERVICE,
    ask_tags,
    base_url_of,
    check_identifier,
    check_sdkappid,
    check_service,
    make_signer,
)
from tagferry.wire.message import Head, Reply
from tagferry.wire.secret import Secret
from tests.standing import assert_no_secret

CHINA = "https://console.tim.qq.com"
BOM = b"\xef\xbb\xbf"
SUCCESS = """{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,
 "UserTags":[{"To_Account":"u001","Tags":["vip","beta"]},{"To_Account":"u002","Tags":["vip"]}]}"""
PARTIAL = """{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,
 "UserTags":[{"To_Account":"u001","Tags":["黄金会员"]},{"To_Account":"u002","Tags":["月卡"]}],
 "ErrorList":[{"ErrorCode":70107,"To_Account":"ghost"}]}"""


def read(body, status=200, headers=None, **more):
    data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return read_tags(Reply(Head(status, headers or {}), data), now=1_700_000_000.0, **more)


def error_from(body, status=200, **more):
    with pytest.raises(TagferryError) as caught:
        read(body, status, **more)
    assert caught.value.service == SERVICE
    assert caught.value.__context__ is None
    return caught.value


def ok(**members):
    return json.dumps({"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0, **members})


def tags_of(tags):
    """The tags that are read from one account's member "Tags", and the warnings."""
    answer = read(ok(UserTags=[{"To_Account": "u", "Tags": tags}]))
    (user,) = answer.users
    assert user.account == "u"
    return user.tags, answer.warnings


# Where and who ----------------------------------------------------------------------------------------


def test_the_documented_hosts():
    assert next(iter(REGIONS)) == "china"
    assert {name: URL(url).host for name, url in REGIONS.items()} == {
        "china": "console.tim.qq.com",
        "singapore": "adminapisgp.im.qcloud.com",
        "seoul": "adminapikr.im.qcloud.com",
        "tokyo": "adminapijpn.im.qcloud.com",
        "frankfurt": "adminapiger.im.qcloud.com",
        "silicon-valley": "adminapiusa.im.qcloud.com",
        "jakarta": "adminapiidn.im.qcloud.com",
        "mumbai": "adminapiind.im.qcloud.com",
        "saudi-arabia": "adminapiksa.im.qcloud.com",
    }
    assert {URL(url).scheme for url in REGIONS.values()} == {"https"}


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("china", "china"),
        (" China ", "china"),
        ("SILICON_VALLEY", "silicon-valley"),
        ("Silicon Valley", "silicon-valley"),
    ],
)
def test_a_region_may_be_written_in_other_ways(name, region):
    assert base_url_of(name) == REGIONS[region]


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("singapur", "singapore"),
        ("tokio", "tokyo"),
        ("chnia", "china"),
        ("us", "silicon-valley"),
        ("south korea", "seoul"),
        ("Germany", "frankfurt"),
    ],
)
def test_an_unknown_region_is_refused_with_the_likely_one_and_all_others(name, guess):
    with pytest.raises(ConfigError, match="is not known") as caught:
        base_url_of(name)
    assert caught.value.hint.startswith(f"did you mean {guess}? there are china, singapore, ")


@pytest.mark.parametrize("name", ["", "mars-and-venus", "x" * 1000])
def test_a_region_like_no_other_is_refused_with_the_list(name):
    with pytest.raises(ConfigError) as caught:
        base_url_of(name)
    assert caught.value.hint.startswith("there are china, ")
    assert "base URL" in caught.value.hint
    assert len(caught.value.message) < 100


def test_the_documented_numbers():
    assert (str(RATE), BATCH) == ("100/s", 100)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_known_service_is_taken(name):
    assert check_service(name) == name


@pytest.mark.parametrize("name", ["", "push", "TIMPUSH", None, 5, ["timpush"]])
def test_another_service_is_refused_with_the_choice(name):
    with pytest.raises(ConfigError) as caught:
        check_service(name)
    assert str(caught.value) == f"service {name!r} is not known; choose all_member_push or timpush"


@pytest.mark.parametrize("value", [1400000000, "1400000000", " 1400000000\n", "01400000000"])
def test_an_sdkappid_is_a_number_or_its_digits(value):
    assert check_sdkappid(value) == 1400000000


@pytest.mark.parametrize(
    "value",
    ["", "abc", "-1", "1e9", "1_000", "１２３", 0, -5, 10**19, "9" * 5000, 1.4e9, None, True],
)
def test_another_sdkappid_is_refused(value):
    with pytest.raises(ConfigError, match="is no positive whole number") as caught:
        check_sdkappid(value)
    assert "1400000000" in caught.value.hint
    assert len(str(caught.value)) < 120


def test_a_secret_in_the_place_of_the_sdkappid_is_not_shown(canary):
    with pytest.raises(ConfigError) as caught:
        check_sdkappid(canary)
    assert_no_secret(canary, caught.value, with_locals=False)


@pytest.mark.parametrize("value", ["administrator", "管理员01", "@RBT#001", "a b"])
def test_an_identifier_is_a_name(value):
    assert check_identifier(f" {value}\n") == value


@pytest.mark.parametrize("value", ["", " ", None, 5, b"admin"])
def test_no_identifier_is_refused(value):
    with pytest.raises(ConfigError, match="identifier is empty or no text") as caught:
        check_identifier(value)
    assert "app administrator" in caught.value.hint


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\udcff", "a\x7fb", "a\x85b"])
def test_an_identifier_that_could_forge_a_line_of_what_is_signed_is_refused(value):
    with pytest.raises(ConfigError, match="has characters that no name has"):
        check_identifier(value)


# Accounts ---------------------------------------------------------------------------------------------

ACCOUNTS = [
    "xiaojun012",
    "管理员",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "@RBT#001",
    " with blanks ",
    "x" * 5000,
    "👩\u200d🚀",
    "a\u2028b",
    "\u3000",
    'quote"\\',
    "é",
]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_is_sent_as_it_is(account):
    request = ask_tags(CHINA, "timpush", [account])
    assert json.loads(request.body.decode()) == {"To_Account": [account]}


# What is asked ----------------------------------------------------------------------------------------


def test_the_tags_are_asked_for_with_the_bytes_of_the_documents():
    request = ask_tags(CHINA, "all_member_push", ["xiaojun012", "xiaojun013"])
    assert request.url == "https://console.tim.qq.com/v4/all_member_push/im_get_tag"
    assert (request.method, request.operation) == ("POST", KIND)
    assert dict(request.headers) == {"Content-Type": "application/json"}
    assert request.body == b'{"To_Account":["xiaojun012","xiaojun013"]}'


def test_the_successor_has_another_path():
    assert ask_tags("http://h:1/a", "timpush", ("u",)).url == "http://h:1/a/v4/timpush/get_tag"


def test_accounts_go_as_utf_8_which_is_half_as_long_as_with_escapes():
    body = ask_tags(CHINA, "timpush", ["管" * 10] * 100).body
    assert "管".encode() in body
    assert len(body) < 3500


def test_a_signed_request_has_the_documented_query():
    sign = make_signer(1400000000, "administrator", repeat(0.5).__next__)
    request = ask_tags(CHINA, "all_member_push", ["u"])
    signed = sign(request, "eJyr*a-b_")
    assert signed.url == (
        "https://console.tim.qq.com/v4/all_member_push/im_get_tag?sdkappid=1400000000&identifier=administrator"
        "&usersig=eJyr*a-b_&random=2147483648&contenttype=json"
    )
    assert (signed.method, signed.operation, signed.headers, signed.body) == (
        request.method,
        request.operation,
        request.headers,
        request.body,
    )
    assert "?" not in request.url


@pytest.mark.parametrize(
    ("chance", "label"), [(0.0, "0"), (0.999999999999, "4294967295"), (1.0, "4294967295")]
)
def test_the_label_covers_32_bits_and_no_more(chance, label):
    signed = make_signer(1, "a", lambda: chance)(ask_tags(CHINA, "timpush", ["u"]), "s")
    assert URL(signed.url).query["random"] == label


def test_every_attempt_has_a_fresh_label():
    sign = make_signer(1, "a", iter([0.1, 0.2]).__next__)
    request = ask_tags(CHINA, "timpush", ["u"])
    assert len({sign(request, "s").url for _ in range(2)}) == 2


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(identifier=NAMES, user_sig=NAMES)
@example(identifier="管理员 &=#?%+/01", user_sig="a%2A&b=c#d e+/=")
def test_anything_in_identifier_and_user_sig_arrives_as_it_was(identifier, user_sig):
    signed = make_signer(7, identifier, lambda: 0.0)(ask_tags(CHINA, "timpush", ["u"]), user_sig)
    assert signed.url.isascii()
    # As it is sent: the transport takes the URL as encoded already.
    assert dict(URL(signed.url, encoded=True).query) == {
        "sdkappid": "7",
        "identifier": identifier,
        "usersig": user_sig,
        "random": "0",
        "contenttype": "json",
    }


def test_a_signed_request_can_be_printed(canary):
    request = ask_tags(CHINA, "timpush", ["u"])
    signed = make_signer(1, "a", lambda: 0.0)(request, Secret(canary))
    assert canary in signed.url
    assert_no_secret(canary, signed)


# What is answered -------------------------------------------------------------------------------------


def test_the_documented_success():
    assert read(SUCCESS) == TagsAnswer(
        [UserTags("u001", ("vip", "beta")), UserTags("u002", ("vip",))], [], ()
    )


def test_the_documented_partial_success():
    answer = read(PARTIAL)
    assert answer.users == [UserTags("u001", ("黄金会员",)), UserTags("u002", ("月卡",))]
    assert answer.faults == [AccountFault("ghost", 70107, "the account is not imported")]


def test_the_answer_of_the_attribute_sibling_is_one_without_any_account():
    body = """{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,
 "UserAttrs":[{"To_Account":"a","Attrs":{"city":"x"}},{"To_Account":"c","Attrs":{}},{"To_Account":"b","Attrs":{"city":"y"}}]}"""
    assert read(body) == TagsAnswer([], [])


def test_the_envelope_of_the_vendors_own_sample_has_no_error_info():
    assert read('{"ActionStatus":"OK","ErrorCode":0,"UserTags":[]}') == TagsAnswer([], [])


@pytest.mark.parametrize(
    ("body", "kind", "code", "says"),
    [
        (
            (
                '{"ActionStatus":"FAIL","ErrorInfo":"Fail to Parse json data of body, Please check it",'
                '"ErrorCode":90001}'
            ),
            RefusedError,
            90001,
            "(Fail to Parse json data of body, Please check it)",
        ),
        (
            '{"ActionStatus":"FAIL","ErrorInfo":"invalid To_Account","ErrorCode":90012}',
            RefusedError,
            90012,
            "an account is not registered (invalid To_Account)",
        ),
        (
            '{"ActionStatus":"FAIL","ErrorCode":60002,"ErrorInfo":"HTTP parse Error"}',
            RefusedError,
            60002,
            "(HTTP parse Error)",
        ),
        (
            (
                '{"ActionStatus":"FAIL","ErrorCode":60008,'
                '"ErrorInfo":"service timeout or request format error,please check and try again"}'
            ),
            UnavailableError,
            60008,
            "(service timeout or request format error,please check and try again)",
        ),
        (
            '{"ActionStatus":"FAIL","ErrorCode":60015,"ErrorInfo":"body account invalid"}',
            RefusedError,
            60015,
            "(body account invalid)",
        ),
        (
            '{"ActionStatus":"FAIL","ErrorCode":70032,"ErrorInfo":""}',
            AuthError,
            70032,
            "the UserSig is not accepted",
        ),
        (
            '{"ActionStatus":"FAIL","ErrorInfo":"freq limit","ErrorCode":60007}',
            ThrottledError,
            60007,
            "too often (freq limit)",
        ),
    ],
)
def test_the_failures_that_were_seen(body, kind, code, says):
    error = error_from(body)
    assert (type(error), error.code) == (kind, code)
    assert error.message.endswith(says)


def test_a_lock_out_asks_for_a_minute():
    error = error_from('{"ActionStatus":"FAIL","ErrorCode":70050}')
    assert (type(error), error.retryable, error.retry_after) == (AuthError, False, 60.0)


def test_the_user_may_choose_what_a_code_is():
    body = '{"ActionStatus":"FAIL","ErrorCode":61234}'
    assert isinstance(error_from(body), RefusedError)
    assert isinstance(error_from(body, overrides={61234: Treatment.THROTTLE}), ThrottledError)


@pytest.mark.parametrize(
    "body",
    [
        '{"ActionStatus":"OK","ErrorCode":60007,"UserTags":[]}',
        '{"ActionStatus":"FAIL","ErrorCode":"60007"}',
        '{"ActionStatus":"FAIL","ErrorCode":60007.0}',
        '{"ErrorCode":60007,"UserTags":[]}',
        '{"ActionStatus":null,"ErrorInfo":null,"ErrorCode":60007}',
        '{"ErrorInfo":{"a":[1]},"ErrorCode":60007,"UserTags":""}',
    ],
)
def test_a_code_is_a_failure_whatever_stands_beside_it(body):
    error = error_from(body)
    assert (type(error), error.code) == (ThrottledError, 60007)
    assert error.message.endswith("this command is called too often")


@pytest.mark.parametrize(
    "envelope",
    [
        '"ActionStatus":"OK","ErrorCode":0',
        '"ActionStatus":"ok","ErrorCode":0',
        '"ActionStatus":" Ok ","ErrorCode":"0"',
        '"ActionStatus":"OK"',
        '"ActionStatus":"OK","ErrorCode":null,"ErrorInfo":null',
        '"ErrorCode":0',
        '"ActionStatus":null,"ErrorCode":0.0',
        '"ActionStatus":"","ErrorCode":0',
        '"ActionStatus":"OK","ErrorCode":0,"ErrorList":null',
        '"ActionStatus":"OK","ErrorCode":0,"ErrorList":[],"ErrorDisplay":"","RequestId":"x","New":{"a":[null]}',
    ],
)
def test_a_success_is_known_by_either_sign(envelope):
    body = "{" + envelope + ',"UserTags":[{"To_Account":"u","Tags":["a"],"More":1}]}'
    for start in (b"", BOM, b" \n"):
        assert read(start + body.encode()) == TagsAnswer([UserTags("u", ("a",))], [], ())


@pytest.mark.parametrize(
    "body",
    [
        '{"ActionStatus":"FAIL","ErrorCode":0}',
        '{"ActionStatus":"fail"}',
        '{"ActionStatus":"Fail","ErrorCode":"0","UserTags":[]}',
        '{"ActionStatus":"BUSY","ErrorCode":0}',
    ],
)
def test_a_failure_without_a_code_may_be_tried_again(body):
    error = error_from(body)
    assert (type(error), error.code, error.retryable) == (UnavailableError, "no-code", True)
    assert "without a code" in error.message


def test_a_failure_without_a_code_says_what_the_service_said():
    assert error_from('{"ActionStatus":"FAIL","ErrorInfo":"try later"}').message.endswith(
        "answered FAIL without a code: try later"
    )


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "null",
        "0",
        '"OK"',
        "1e400",
        '{"actionstatus":"OK","errorcode":0}',
        '{"ActionStatus":null,"ErrorCode":null}',
        '{"ActionStatus":" "}',
        '{"ActionStatus":5,"ErrorCode":0}',
        '{"ActionStatus":"OK","ErrorCode":true}',
        '{"ActionStatus":"OK","ErrorCode":"x"}',
        '{"ActionStatus":"OK","ErrorCode":0.5}',
        '{"ActionStatus":"OK","ErrorCode":2147483648}',
        '{"ActionStatus":"OK","ErrorCode":' + "9" * 4000 + "}",
        '{"ActionStatus":"OK","ErrorCode":' + "9" * 5000 + "}",
        '{"ActionStatus":["OK"],"ErrorCode":0}',
        '{"UserTags":[{"To_Account":"u","Tags":["a"]}]}',
    ],
)
def test_a_reply_that_says_neither_yes_nor_no_may_be_tried_again(body):
    error = error_from(body)
    assert (type(error), error.code, error.retryable) == (ProtocolError, "no-envelope", True)
    assert "something else than a result" in error.message


def test_a_reply_without_an_envelope_shows_what_the_service_said():
    assert error_from('{"ErrorInfo":"hello"}').message.endswith(": hello")


# Tags in other shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "expected", "warnings"),
    [
        (["a", "b"], ["a", "b"], ()),
        ([], [], ()),
        (["a", "a", ""], ["a", "a", ""], ()),
        (None, [], ()),
        ("", [], ("tags were one text",)),
        ("vip", ["vip"], ("tags were one text",)),
        ({}, [], ("tags were an object",)),
        ({"0": "b", "1": "a"}, ["b", "a"], ("tags were an object",)),
        ([1, "2", 1.5, True, False], ["1", "2", "1.5", "True", "False"], ("tags were numbers",)),
        ([10**300], [str(10**300)], ("tags were numbers",)),
    ],
)
def test_tags_in_a_shape_that_leaves_no_doubt_are_read(tags, expected, warnings):
    assert tags_of(tags) == (tuple(expected), warnings)


def test_absent_tags_are_none():
    assert read(ok(UserTags=[{"To_Account": "u"}])).users == [UserTags("u", ())]


def test_every_oddity_is_named_once():
    odd = [{"To_Account": "u", "Tags": tags} for tags in ("a", "b", [1], [2], {"x": "y"}, None, ["z"])]
    answer = read(ok(UserTags=odd))
    assert answer.warnings == ("tags were an object", "tags were numbers", "tags were one text")
    assert [user.tags for user in answer.users] == [("a",), ("b",), ("1",), ("2",), ("y",), (), ("z",)]


@pytest.mark.parametrize(
    "tags", [5, True, [None], [["a"]], [{"a": "b"}], {"a": 1}, {"a": ["b"]}, {"a": None}]
)
def test_tags_in_a_shape_that_may_mean_anything_are_refused_with_their_place(tags):
    error = error_from(ok(UserTags=[{"To_Account": "u", "Tags": []}, {"To_Account": "v", "Tags": tags}]))
    assert (type(error), error.retryable) == (ProtocolError, False)
    assert "`$.UserTags[1].Tags" in error.message


@pytest.mark.parametrize(
    "members",
    [
        {"UserTags": {}},
        {"UserTags": "x"},
        {"UserTags": [None]},
        {"UserTags": [["u", "a"]]},
        {"UserTags": [{"Tags": []}]},
        {"UserTags": [{"To_Account": 5, "Tags": []}]},
        {"UserTags": [{"To_Account": None, "Tags": []}]},
        {"ErrorList": {}},
        {"ErrorList": [{"ErrorCode": 5}]},
        {"ErrorList": [{"To_Account": "u", "ErrorCode": "x"}]},
        {"ErrorList": [{"To_Account": "u", "ErrorCode": 2**40}]},
    ],
)
def test_an_account_that_cannot_be_told_is_no_answer(members):
    error = error_from(ok(**{"UserTags": [], **members}))
    assert (type(error), error.retryable) == (ProtocolError, False)
    assert "a form that is not documented" in error.message


@pytest.mark.parametrize("users", ["", ',"UserTags":null'])
def test_no_list_of_accounts_is_an_answer_about_nobody(users):
    assert read('{"ActionStatus":"OK","ErrorCode":0' + users + "}") == TagsAnswer([], [])


def test_an_account_that_comes_twice_stays_twice():
    twice = [{"To_Account": "u", "Tags": ["a"]}, {"To_Account": "u", "Tags": ["b"]}]
    assert read(ok(UserTags=twice)).users == [UserTags("u", ("a",)), UserTags("u", ("b",))]


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"ErrorCode": 70107, "ErrorInfo": "no such user"}, 70107, "no such user"),
        ({"ErrorCode": 70107, "ErrorInfo": ""}, 70107, "the account is not imported"),
        ({"ErrorCode": "70107", "ErrorInfo": None}, 70107, "the account is not imported"),
        ({"ErrorCode": 61234}, 61234, "a code that is in no table of the service"),
        ({"ErrorCode": None}, 0, "no reason given"),
        ({}, 0, "no reason given"),
        ({"ErrorCode": 1, "ErrorInfo": "a\n\x07"}, 1, r"a \x07"),
        ({"ErrorCode": 1, "ErrorInfo": "b " * 500}, 1, "b " * 99 + "b…"),
    ],
)
def test_a_fault_has_a_code_and_a_reason_that_can_be_printed(fault, code, message):
    for users in ([], None):
        answer = read(ok(UserTags=users, ErrorList=[{"To_Account": "u", **fault}]))
        assert answer == TagsAnswer([], [AccountFault("u", code, message)])


# What is no answer of the service ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        SUCCESS.encode()[:-1],
        SUCCESS.encode("utf-16"),
        b'{"ActionStatus":"OK","ErrorCode":0,"UserTags":[{"To_Account":"\xff","Tags":[]}]}',
        b'{"ActionStatus":"OK","ErrorCode":0,"UserTags":[{"To_Account":"u","Tags":["\\ud800"]}]}',
        b'{"New":' + b"[" * 100_000,
        b'{"ActionStatus":"OK","ErrorCode":0,"UserTags":[],"New":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_may_be_tried_again(body):
    for start in (b"", BOM):
        error = error_from(start + body)
        assert (type(error), error.code, error.retryable) == (UnavailableError, 200, True)
        assert "answered 200 with no JSON" in error.message
        assert len(error.message) < 300


def test_the_message_shows_the_beginning_of_the_body():
    assert error_from("<html>Log in</html>").message.endswith("no JSON: <html>Log in</html>")
    assert error_from("").message.endswith("no JSON: no body")


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (204, ProtocolError, False),
        (302, ProtocolError, False),
        (400, RefusedError, False),
        (401, AuthError, False),
        (403, AuthError, False),
        (404, RefusedError, False),
        (405, RefusedError, False),
        (408, UnavailableError, True),
        (413, RefusedError, False),
        (425, UnavailableError, True),
        (429, ThrottledError, True),
        (500, UnavailableError, True),
        (502, UnavailableError, True),
        (503, ThrottledError, True),
        (504, UnavailableError, True),
        (599, UnavailableError, True),
    ],
)
def test_a_status_other_than_200_is_not_the_service_speaking(status, kind, retryable):
    for body in ("<html>...Bad Gateway...</html>", SUCCESS):
        error = error_from(body, status)
        assert (type(error), error.code, error.retryable) == (kind, status, retryable)
        assert f"answered HTTP {status} to a look-up of tags: " in error.message
    assert error_from("", status).message.endswith("look-up of tags")


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 413])
def test_a_status_that_will_not_change_by_itself_has_a_hint(status):
    assert error_from("", status).hint


def test_a_wait_that_a_gateway_asks_for_is_known():
    assert error_from("", 429, headers={"retry-after": "7"}).retry_after == 7.0


# Secrets ----------------------------------------------------------------------------------------------

ECHOES = [
    "GET {url} was refused",
    "{url}",
    "v4/timpush/get_tag?sdkappid=1&usersig={sig}&random=1",
    "...&usersig={sig}&random=1",
    "identifier=a&amp;usersig={sig}&amp;random=1",
    "usersig%3D{sig}%26random%3D1",
    'bad "usersig": "{sig}"',
    "UserSig: {sig}",
    "the signature {sig} is not valid",
    "{sig}",
    "x" * 4080 + " {sig}",
    "x " * 90 + "{sig}",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("short", [False, True])
def test_a_user_sig_that_a_reply_repeats_is_not_shown(echo, short, canary):
    # A short one can be told by its name only.
    sig = canary[:20] if short and "usersig" in echo.lower() else canary
    url = make_signer(1, "a", lambda: 0.0)(ask_tags(CHINA, "timpush", ["u"]), sig).url
    text = echo.format(url=url, sig=sig)
    failure = json.dumps({"ActionStatus": "FAIL", "ErrorCode": 70003, "ErrorInfo": text})
    no_code = json.dumps({"ActionStatus": "FAIL", "ErrorInfo": text})
    no_envelope = json.dumps({"ErrorInfo": text})
    for body, status in ((text, 200), (text, 502), (failure, 200), (no_code, 200), (no_envelope, 200)):
        assert_no_secret(sig, error_from(body, status))
    broken = ok(UserTags=[{"To_Account": "u", "Tags": {text: 5}}], Note=text)
    assert_no_secret(sig, error_from(broken))
    assert_no_secret(sig, error_from(text.encode() + b"\xff"))
    answer = read(ok(UserTags=[], ErrorList=[{"To_Account": "u", "ErrorCode": 1, "ErrorInfo": text}]))
    assert_no_secret(sig, answer)


def test_a_uuid_in_a_reply_is_shown():
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert uuid in error_from(f'{{"ErrorCode":90012,"ErrorInfo":"{uuid}"}}').message


# Properties -------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["To_Account", "Tags", "ErrorCode"]), inner, max_size=4)
    ),
    max_leaves=10,
)
CODE = st.sampled_from([0, 0, 0, "0", None, 60007, 70107, "x"]) | JSON
REPLY = st.fixed_dictionaries(
    {},
    optional={
        "ActionStatus": st.sampled_from(["OK", "OK", "ok", "FAIL", None]) | JSON,
        "ErrorCode": CODE,
        "ErrorInfo": JSON,
        "UserTags": JSON
        | st.lists(
            st.fixed_dictionaries(
                {"To_Account": st.text() | JSON, "Tags": st.lists(st.text() | st.integers()) | JSON}
            )
        ),
        "ErrorList": JSON
        | st.lists(st.fixed_dictionaries({"To_Account": st.text(), "ErrorCode": CODE, "ErrorInfo": JSON})),
    },
)


def check_outcome(body, status=200):
    try:
        answer = read(body, status)
    except TagferryError as error:
        shown = str(error)
    else:
        check_answer(answer)
        shown = "an answer"
    assert shown.isprintable()


def check_answer(answer):
    for user in answer.users:
        assert isinstance(user.account, str)
        assert type(user.tags) is tuple
        assert all(type(tag) is str for tag in user.tags)
    for fault in answer.faults:
        assert type(fault.account) is type(fault.message) is str
        assert type(fault.code) is int
    msgspec.json.encode(answer)


@given(value=REPLY | JSON, ascii_only=st.booleans(), start=st.sampled_from([b"", BOM]))
def test_any_json_is_an_answer_or_an_error_of_ours(value, ascii_only, start):
    check_outcome(start + json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@given(body=st.binary(), status=st.just(200) | st.integers(100, 599))
def test_any_bytes_are_an_answer_or_an_error_of_ours(body, status):
    check_outcome(body, status)


@given(place=st.integers(0, len(PARTIAL.encode()) - 1), byte=st.integers(0, 255))
def test_a_damaged_reply_is_an_answer_or_an_error_of_ours(place, byte):
    data = bytearray(PARTIAL.encode())
    data[place] = byte
    check_outcome(bytes(data))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    people=st.dictionaries(TEXT, st.none() | st.integers(1, 99999) | st.lists(TEXT)),
    extra=st.dictionaries(TEXT.map("x".__add__), JSON, max_size=2),
    ascii_only=st.booleans(),
    rest=st.randoms(use_true_random=False),
)
def test_accounts_come_back_however_the_service_splits_them(people, extra, ascii_only, rest):
    """Each account is in the tags, in the faults, or nowhere; either way of reading finds the same."""
    users = [{"To_Account": name, "Tags": tags} for name, tags in people.items() if isinstance(tags, list)]
    faults = [
        {"To_Account": name, "ErrorCode": code} for name, code in people.items() if isinstance(code, int)
    ]
    rest.shuffle(users)
    members = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0, "UserTags": users, **extra}
    if faults:
        members["ErrorList"] = faults
    shuffled = list(members.items())
    rest.shuffle(shuffled)
    body = json.dumps(dict(shuffled), ensure_ascii=ascii_only, allow_nan=True)
    if "NaN" in body or "Infinity" in body or "\\ud" in body:
        body = json.dumps({key: value for key, value in shuffled if key not in extra})
    answer = read(body)
    assert {user.account: user.tags for user in answer.users} == {
        name: tuple(tags) for name, tags in people.items() if isinstance(tags, list)
    }
    assert {fault.account: fault.code for fault in answer.faults} == {
        name: code for name, code in people.items() if isinstance(code, int)
    }
    assert answer.warnings == ()
    assert [user.account for user in answer.users] == [user["To_Account"] for user in users]
    assert read(BOM + body.encode()) == answer
