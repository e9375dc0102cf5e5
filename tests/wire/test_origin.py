import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tagferry.errors import ConfigError
from tagferry.wire.origin import check_base_url, check_proxy, host_of

SERVICE = "growingio-saas"
EXAMPLE = "https://www.growingio.com"


def check(url):
    return check_base_url(url, service=SERVICE, example=EXAMPLE)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://www.growingio.com", "https://www.growingio.com"),
        ("https://www.growingio.com/", "https://www.growingio.com"),
        ("https://www.growingio.com//", "https://www.growingio.com"),
        (" https://www.growingio.com\n", "https://www.growingio.com"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://cdp.example.com/api/v1/", "http://cdp.example.com/api/v1"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://[::1]:81", "http://[::1]:81"),
        ("https://my_host.example.com", "https://my_host.example.com"),
    ],
)
def test_a_base_url_is_kept_without_its_last_slash(url, kept):
    assert check(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://WWW.GrowingIO.com",
        "https://www.growingio.com:443",
        "https://www.growingio.com:443/",
        "https://www.growingio.com:",
    ],
)
def test_one_origin_has_one_spelling_so_that_its_quota_is_one(url):
    assert check(url) == "https://www.growingio.com"


def test_the_path_keeps_its_letters():
    assert check("HTTP://Host:80/Api/V1%2F") == "http://host/Api/V1%2F"


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "www.growingio.com",
        "ftp://www.growingio.com",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://h:0",
        "https://h:99999",
        "https://h:port",
        "https://[::1",
        "https://h?a=b",
        "https://h?",
        "https://h#part",
        "https://h#",
        "https://h/x?a",
        "https://user@h",
        "https://user:pw@h",
        "https://:pw@h",
        "https://@h",
        "https://good.com\\evil.com",
        "https://good.com\\@evil.com",
        "https://a b.com",
        "https://h/a b",
        "https://h/a\r\nX: y",
        "https://h\x00",
        "https://hö.com",
        "https://h%41",
        "https://h<x>",
    ],
)
def test_what_is_no_plain_address_is_refused_with_an_example(url):
    with pytest.raises(ConfigError, match="no plain http or https address") as caught:
        check(url)
    assert EXAMPLE in str(caught.value)
    assert caught.value.service == SERVICE
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("url", [None, 5, b"https://h"])
def test_what_is_no_text_is_refused(url):
    with pytest.raises(ConfigError):
        check(url)


@pytest.mark.parametrize(
    "url",
    ["https://user:CANARY-pw@h", "https://h?token=CANARY-q", "h.com?token=CANARY-q", "user:CANARY-pw@h?x"],
)
def test_a_refused_address_shows_no_login_and_no_query(url):
    with pytest.raises(ConfigError) as caught:
        check(url)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://www.growingio.com", "www.growingio.com"), ("http://[::1]:8", "::1"), ("x", "")],
)
def test_the_host_of_a_base_url(url, host):
    assert host_of(url) == host


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "https://h", "https://h/"]))
def test_any_text_is_refused_or_can_be_asked(rest, start):
    try:
        url = check(start + rest)
    except ConfigError:
        return
    sent = URL(f"{url}/v3/x?expire=5", encoded=True)
    assert sent.host
    assert sent.query_string == "expire=5"
    assert sent.raw_path.endswith("/v3/x")
    assert check(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://p:3128",
        "https://p.example.com",
        "http://user:p%40ss@p:1/",
        "http://[::1]:3128",
        "http://u:a:b@p:1",
    ],
)
def test_a_proxy_may_have_a_login_and_a_port(url):
    check_proxy(url, service=SERVICE)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "p:3128",
        "socks5://p:1",
        "http://",
        "http://p:0",
        "http://p:99999",
        "http://p/x",
        "http://p?a",
        None,
        5,
        "http://p\r\nX: y",
        "http://u:CANARY@",
        "http://u:CANARY@p:99999",
        "u:CANARY@p",
        "http://a b",
    ],
)
def test_what_is_no_proxy_is_refused_without_its_login(url):
    with pytest.raises(ConfigError, match="no plain http or https address") as caught:
        check_proxy(url, service=SERVICE)
    assert "3128" in caught.value.hint
    assert "CANARY" not in str(caught.value)
