"""Download links are followed byte for byte, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tagferry.errors import ProtocolError
from tagferry.exports.link import MAX_REDIRECTS, check_link, follow_redirect

SAAS = (
    "https://gta.growingio.com/buckets/segment-download-jobs/20191226/0b3a/20191212-20191225_"
    "%E6%B8%A0%E9%81%93%E8%AF%84%E4%BC%B0.csv?sign=R9y9at%2FgPJI%2B8%3D&expires=1577344409000"
)
GOOD = [
    SAAS,
    "https://cdp.example.com/download?file=%2Fjobs%2Fa%2Fpart-00000.csv",
    "https://gta.growingio.com//double//slash/../x/./y",
    "https://gta.growingio.com/%2e%2e/a%2Fb?x=+%20&y=&z&=&&u=1;2",
    "http://gta.growingio.com:8080/a+b?c=+",
    "https://gta.growingio.com/?a=%zz&b=%",
    "https://gta.growingio.com/a?sign=a/b+c==",
    "https://gta.growingio.com/(a)'b'!*,;$@:",
    "https://8.8.8.8/x",
    "https://[2606:4700:4700::1111]/x",
]


@pytest.mark.parametrize("link", GOOD)
def test_a_documented_link_is_sent_byte_for_byte(link):
    url = check_link(link, private=False, service="s")
    assert str(url) == link
    target = link.partition("://")[2]
    assert url.raw_path_qs == target[target.index("/") :]


@given(st.text("abz09%2Fe.+/=&?-_~!$'()*,;:@", max_size=60))
def test_no_spelling_of_path_and_query_is_changed(rest):
    # An empty query is the one thing that yarl cannot keep: "/x?" becomes "/x".
    link = f"https://gta.growingio.com/{rest.rstrip('?')}"
    assert str(check_link(link, private=False, service="s")) == link


NO_DOWNLOAD = {
    "file:///etc/passwd": "http",
    "ftp://gta.growingio.com/x": "http",
    "data:text/csv,a": "http",
    "gopher://gta.growingio.com/x": "http",
    "javascript:alert(1)": "http",
    "gta.growingio.com/x": "http",
    "//gta.growingio.com/x": "http",
    "": "http",
    "https://user:pw@gta.growingio.com/x": "login",
    "https://user@gta.growingio.com/x": "login",
    "https://gta.growingio.com%2F10.0.0.1/x": "host",
    "https://gta.growingio.com\\@10.0.0.1/x": "URL",
    "https:///x": "host",
    "https://:443/x": "host",
    "https://gta.growingio.com:0/x": "host",
    "https://gta.growingio.com/a\\b": "host",
    "https://[fe80::1%25eth0]/x": "host",
    "https://gta.growingio.com:99999/x": "URL",
    "https://gta.growingio.com:x/x": "URL",
    "https://[::1/x": "URL",
    "https://gta.growingio.com/a\r\nHost: x": "control",
    "https://gta.growingio.com/a\nb": "control",
    "https://gta.growingio.com/a\tb": "control",
    "https://gta.growingio.com/a b": "control",
    "https://gta.growingio.com/a\x00b": "control",
    "https://gta.growingio.com/a\x7fb": "control",
    " https://gta.growingio.com/a": "control",
    # NFKC makes a loopback address and a dot of these.
    "https://\uff11\uff12\uff17.0.0.1/x": "host",
    "https://127\u30020\u30020\u30021/x": "host",
    "https://\u2460\u2461\u2466.0.0.1/x": "host",
}


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(("link", "why"), NO_DOWNLOAD.items())
def test_what_is_no_download_link_is_refused_whatever_is_allowed(link, why, private):
    with pytest.raises(ProtocolError, match=why) as caught:
        check_link(link, private=private, service="growingio-saas")
    assert (caught.value.service, caught.value.code, caught.value.retryable) == (
        "growingio-saas",
        "bad-link",
        False,
    )


PRIVATE = [
    "localhost",
    "LOCALHOST",
    "x.localhost",
    "localhost.",
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fc00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[ff02::1]",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_followed_only_for_a_private_service(host):
    link = f"http://{host}/x?y=%2F"
    with pytest.raises(ProtocolError, match="private"):
        check_link(link, private=False, service="s")
    assert str(check_link(link, private=True, service="s")) == link


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "017700000001", "127.1", "0x7f000001", "0177.0.0.1", "127.0.0.1."]
)
@pytest.mark.parametrize("private", [False, True])
def test_an_address_in_disguise_is_always_refused(host, private):
    with pytest.raises(ProtocolError):
        check_link(f"http://{host}/x", private=private, service="s")


@pytest.mark.parametrize("link", [*NO_DOWNLOAD, "http://10.0.0.1/?sign=CANARY-x"])
def test_a_refused_link_is_not_shown(link):
    with pytest.raises(ProtocolError) as caught:
        check_link(link, private=False, service="s")
    assert len(link) < 12 or link not in f"{caught.value} {caught.value!r}"


FROM = URL("https://gta.growingio.com/a/b?sign=x%2Fy", encoded=True)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://store.example.com/o?sig=a%2Fb%2B&e=", "https://store.example.com/o?sig=a%2Fb%2B&e="),
        ("/c%2Fd?e=%2f", "https://gta.growingio.com/c%2Fd?e=%2f"),
        ("c?e=+", "https://gta.growingio.com/a/c?e=+"),
        ("?z=%2F", "https://gta.growingio.com/a/b?z=%2F"),
        ("//store.example.com/%2e", "https://store.example.com/%2e"),
    ],
)
def test_a_redirect_leads_where_it_says(location, target):
    assert str(follow_redirect(FROM, location, hops=0, private=False, service="s")) == target


@pytest.mark.parametrize(
    ("location", "code"),
    [
        (None, "redirect"),
        ("", "redirect"),
        ("http://gta.growingio.com/a", "redirect"),
        ("//gta.growingio.com/a\r\nX: y", "redirect"),
        ("/a b", "redirect"),
        ("https://127.0.0.1/a", "bad-link"),
        ("//10.0.0.1/a", "bad-link"),
        ("http://2130706433/", "bad-link"),
        ("ftp://gta.growingio.com/a", "bad-link"),
        ("https://u:p@gta.growingio.com/", "bad-link"),
        ("https://gta.growingio.com:99999/", None),
        ("https://[::1/", None),
    ],
)
def test_a_redirect_is_checked_like_a_link(location, code):
    with pytest.raises(ProtocolError) as caught:
        follow_redirect(FROM, location, hops=0, private=False, service="s")
    assert code in {None, caught.value.code}
    assert not caught.value.retryable


def test_a_redirect_from_http_to_https_is_fine():
    url = URL("http://gta.growingio.com/a")
    assert (
        str(follow_redirect(url, "https://gta.growingio.com/a", hops=0, private=False, service="s"))
        == "https://gta.growingio.com/a"
    )
    assert follow_redirect(url, "/b", hops=0, private=False, service="s").scheme == "http"


def test_redirects_are_followed_a_few_times_only():
    for hops in range(MAX_REDIRECTS):
        follow_redirect(FROM, "/next", hops=hops, private=False, service="s")
    with pytest.raises(ProtocolError, match="more than 5 times"):
        follow_redirect(FROM, "/next", hops=MAX_REDIRECTS, private=False, service="s")
