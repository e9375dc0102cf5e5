import msgspec
import pytest

from tagferry.wire.message import Head, Reply, Request

LINK = "https://gta.growingio.com/buckets/a%2Fb.csv?sign=CANARY-sign%2F&expires=1#CANARY-part"


def test_a_request_shows_its_operation_and_place_but_no_query_and_no_headers():
    request = Request(
        operation="download",
        method="GET",
        url=LINK,
        headers={"Authorization": "CANARY-token"},
        body=b"CANARY-b",
    )
    assert repr(request) == "Request(download: GET https://gta.growingio.com/buckets/a%2Fb.csv)"
    assert str(request) == repr(request)
    assert request.url == LINK


def test_a_head_shows_its_status_only():
    assert repr(Head(302, {"location": "https://x/?CANARY-q", "set-cookie": "CANARY-c"})) == "Head(302)"


def test_a_reply_shows_its_status_and_size_only():
    assert repr(Reply(Head(200, {}), b"CANARY-body")) == "Reply(200, 11 bytes)"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":"1"}', None),
        (b"<html>", None),
        (b"\xff", None),
        (b'{"\xff":1}', None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_reply_is_decoded_if_it_is_of_the_type(body, value):
    assert Reply(Head(200, {}), body).decode(msgspec.json.Decoder(dict[str, int])) == value


def test_words_are_frozen():
    request = Request(operation="o", method="GET", url="http://x/")
    with pytest.raises(AttributeError):
        request.url = "http://y/"  # type: ignore[misc]


def test_a_request_has_no_headers_and_no_body_unless_given():
    request = Request(operation="o", method="GET", url="http://x/")
    assert (dict(request.headers), request.body) == ({}, b"")
