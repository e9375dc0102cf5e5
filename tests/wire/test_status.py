import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import AuthError, ProtocolError, RefusedError, ThrottledError, UnavailableError
from tagferry.wire.message import Head
from tagferry.wire.status import refusal

NOW = 1_577_344_409.0


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (301, ProtocolError, False),
        (302, ProtocolError, False),
        (304, ProtocolError, False),
        (307, ProtocolError, False),
        (400, RefusedError, False),
        (401, AuthError, False),
        (403, AuthError, False),
        (404, RefusedError, False),
        (405, RefusedError, False),
        (407, AuthError, False),
        (408, UnavailableError, True),
        (409, RefusedError, False),
        (410, RefusedError, False),
        (425, UnavailableError, True),
        (429, ThrottledError, True),
        (451, RefusedError, False),
        (500, UnavailableError, True),
        (502, UnavailableError, True),
        (503, ThrottledError, True),
        (504, UnavailableError, True),
        (599, UnavailableError, True),
    ],
)
def test_each_status_has_its_error(status, kind, retryable):
    error = refusal(Head(status, {}), "it said no", service="growingio-saas", now=NOW)
    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.message, error.service, error.code) == ("it said no", "growingio-saas", status)
    assert error.retry_after is None


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_wait_that_the_server_asks_for_is_kept(status):
    error = refusal(Head(status, {"retry-after": "7"}), "m", service="s", now=NOW)
    assert error.retry_after == 7.0


def test_a_date_is_counted_from_the_time_that_is_given():
    head = Head(503, {"retry-after": "Thu, 26 Dec 2019 07:13:39 GMT"})
    assert refusal(head, "m", service="s", now=NOW).retry_after == 10.0


def test_a_redirect_says_to_look_at_the_base_url():
    assert "base URL" in str(refusal(Head(301, {"location": "x"}), "m", service="s", now=NOW))


@given(st.integers(0, 999), st.text(max_size=30))
def test_any_status_has_an_error_and_only_busy_and_broken_servers_are_asked_again(status, after):
    error = refusal(Head(status, {"retry-after": after}), "m", service="s", now=NOW)
    assert error.retryable == (status >= 500 or status in {408, 425, 429})
    assert error.code == status
