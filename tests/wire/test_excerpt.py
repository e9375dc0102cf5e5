import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.wire.excerpt import excerpt


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        (b"plain", "plain"),
        ("过期时间应小于7天", "过期时间应小于7天"),
        ("过期".encode(), "过期"),
        ("two\r\nlines\tand  blanks", "two lines and blanks"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("bell\x00end", "bell\\x00end"),
        ("left\u202eright", "left\\u202eright"),
        (b"bad \xff utf-8", "bad \ufffd utf-8"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("\x00" * 60, "\\x00" * 49 + "\\x0" + "…"),
    ],
)
def test_foreign_text_becomes_one_printable_line(text, shown):
    assert excerpt(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://h/x?sign=CANARY&e=1",
        "see https://h/x?sign=CANARY for it",
        '"https://h/x?sign=CANARY"',
        r"https:\/\/h\/x?sign=CANARY",
        "HTTPS://H/x?sign=CANARY",
        "//h/x?sign=CANARY",
        "/buckets/x.csv?sign=CANARY",
        "https://user:CANARY@h/x",
        "https://CANARY@h/x",
        r"https:\/\/user:CANARY@h\/x",
        "Https://user:CANARY@h/x?sign=CANARY",
        '{"downloadLinks":["https://h/x?sign=CANARY',
        "https://h/x?a=b?sign=CANARY",
        "h.example.com?sign=CANARY",
        "https://h/x?CANARY",
    ],
)
def test_no_query_and_no_login_of_a_link_is_shown(text):
    assert "CANARY" not in excerpt(text)
    assert "CANARY" not in excerpt(text.encode())


@pytest.mark.parametrize(
    "text", ["really? yes", "why?", "what? (see the docs)", "a@b", "mail me@home.org now"]
)
def test_what_is_no_link_stays(text):
    assert excerpt(text) == text


def test_the_host_and_path_of_a_link_stay():
    assert excerpt("see https://h.com/x.csv?sign=s now") == "see https://h.com/x.csv?… now"


@given(st.one_of(st.text(), st.binary()), st.integers(1, 300))
def test_any_text_becomes_short_and_printable(text, limit):
    shown = excerpt(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@given(st.text(alphabet=st.sampled_from("\\/:?&=.aA1 \"'<>%#\n"), max_size=60), st.text(max_size=20))
def test_no_signature_is_shown_whatever_surrounds_it(before, after):
    assert "CANARY" not in excerpt(f"{before} https://h/x?sign=CANARY {after}")


def test_a_text_of_ten_megabytes_costs_nothing():
    assert len(excerpt(b"\x1b" * 10_000_000)) == 200
    assert len(excerpt("x" * 10_000_000)) == 200
