from datetime import UTC, datetime
from email.utils import format_datetime

import hypothesis
import hypothesis.strategies as st
import pytest

from tagferry.cli.diagnosis import (
    Diagnosis,
    Finding,
    is_configured,
    is_loopback,
    judge_certificate,
    judge_clock,
    judge_disk,
    judge_error,
    judge_files,
    judge_settings,
    read_skew,
)
from tagferry.errors import AuthError, ProtocolError, TagferryError, UnavailableError
from tagferry.layers import layer
from tagferry.wire.message import Head

NOW = 1_700_000_000.0
MIB = 2**20


def finding(verdict, code=0):
    return Finding(check="c", verdict=verdict, text="t", code=code)


def date(seconds):
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def skew(headers, sent=NOW, received=NOW):
    return read_skew(Head(200, headers), sent, received)


# The whole ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ([], 0, "all fine"),
        ([finding("ok"), finding("skip")], 0, "all fine, 1 check left out"),
        ([finding("warn")], 0, "1 warning"),
        ([finding("fail", 5), finding("fail", 4), finding("fail", 2)], 4, "3 failures"),
        ([finding("fail", 2), finding("fail", 5)], 5, "2 failures"),
        ([finding("fail", 7), finding("fail", 5), finding("warn")], 7, "2 failures, 1 warning"),
        ([finding("fail", 9), finding("fail", 7)], 9, "2 failures"),
        ([finding("fail", 2)], 2, "1 failure"),
    ],
)
def test_the_exit_code_is_that_of_the_first_failure_in_order(findings, code, summary):
    diagnosis = Diagnosis([("a", findings[:1]), ("b", findings[1:])])
    assert (diagnosis.exit_code, diagnosis.summary) == (code, summary)
    document = diagnosis.document()
    assert document["outcome"] == ("failed" if code else "complete")
    assert [one["verdict"] for one in document["checks"]] == [one.verdict for one in findings]


def test_the_document_has_all_that_is_known():
    found = Finding(check="clock", verdict="warn", text="slow", hint="set it")
    assert Diagnosis([("tencent", [found])]).document() == {
        "v": 1,
        "outcome": "complete",
        "checks": [
            {"subject": "tencent", "check": "clock", "verdict": "warn", "text": "slow", "hint": "set it"}
        ],
        "error": None,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthError("no", hint="h"), 4),
        (UnavailableError("no", hint="h"), 5),
        (ProtocolError("no", hint="h", retryable=True), 5),
        (TagferryError("no", hint="h"), 1),
    ],
)
def test_an_error_is_a_failure_with_its_exit_code(error, code):
    assert judge_error("credentials", error) == Finding(
        check="credentials", verdict="fail", text="no", hint="h", code=code
    )


# Settings -----------------------------------------------------------------------------------------------


def test_settings_are_shown_with_their_origin_and_without_secrets():
    environ = {
        "TAGFERRY_CDP_TOKEN": "CANARY-secret",
        "TAGFERRY_CDP_BASE_URL": "http://user:CANARY-pw@cdp.example.com?x=CANARY-q",
    }
    settings = layer(environ=environ)
    found = judge_settings(settings, "cdp")
    assert [one.check for one in found] == ["token", "base_url"]
    assert found[0].text == "(secret), from TAGFERRY_CDP_TOKEN"
    assert "cdp.example.com" in found[1].text
    assert not any("CANARY" in one.text for one in found)
    assert [one.text for one in judge_settings(settings, "growingio")] == [
        "https://www.growingio.com, from default"
    ]


def test_a_default_alone_sets_up_no_service():
    assert not is_configured(layer(environ={}), "growingio")
    assert is_configured(layer(environ={"TAGFERRY_GROWINGIO_BASE_URL": "http://h"}), "growingio")
    assert not is_configured(layer(environ={"TAGFERRY_GROWINGIO_BASE_URL": "http://h"}), "tencent")


# The clock ----------------------------------------------------------------------------------------------


@hypothesis.given(
    st.floats(-1e6, 1e6), st.floats(0, 10), st.floats(0, 1), st.floats(1.6e9, 1.9e9, allow_nan=False)
)
def test_a_skew_is_never_overstated(true_skew, took, share, sent):
    """The service writes its date at some time between sending and receiving, cut to a second."""
    written = int(sent + share * took + true_skew)
    found = skew({"date": date(written)}, sent, sent + took)
    assert abs(found) <= abs(true_skew) + 1e-3
    assert abs(found - true_skew) <= took + 1 + 1e-3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"date": date(NOW)}, 0.0),
        ({"date": date(NOW + 100)}, 100.0),
        ({"date": date(NOW - 101)}, -100.0),
        ({"date": date(NOW - 100), "age": "100"}, 0.0),
        ({"date": date(NOW), "age": "junk"}, 0.0),
        ({"date": date(NOW), "age": "9" * 30}, 0.0),
        ({"date": date(NOW).replace("GMT", "-0000")}, 0.0),
        ({}, None),
        ({"date": ""}, None),
        ({"date": "yesterday"}, None),
        ({"date": "Wed, 99 Nov 9999999 22:13:20 GMT"}, None),
    ],
)
def test_dates_as_servers_write_them(headers, expected):
    assert skew(headers) == expected


@pytest.mark.parametrize(
    ("seconds", "signs", "verdict", "parts"),
    [
        (None, True, "skip", ["no date"]),
        (0.0, True, "ok", ["within 1 s"]),
        (-12.4, False, "ok", ["within 12 s"]),
        (29.9, True, "ok", ["within 30 s"]),
        (30.0, True, "warn", ["30 s behind", "NTP", "signatures"]),
        (-3600.0, False, "warn", ["1:00:00 ahead of", "NTP"]),
    ],
)
def test_clocks(seconds, signs, verdict, parts):
    found = judge_clock(seconds, signs=signs)
    assert found.verdict == verdict
    for part in parts:
        assert part in f"{found.text} {found.hint}"
    assert ("signatures" in f"{found.hint}") == (signs and verdict == "warn")


# This machine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "writable", "verdict", "code"),
    [
        (50 * MIB, True, "fail", 9),
        (50 * MIB, False, "fail", 9),
        (500 * MIB, True, "warn", 0),
        (5000 * MIB, False, "warn", 0),
        (5000 * MIB, True, "ok", 0),
    ],
)
def test_disks(free, writable, verdict, code):
    found = judge_disk(free, writable=writable)
    assert (found.verdict, found.code) == (verdict, code)
    assert bool(found.hint) == (verdict != "ok")


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "ok"), (1024, "ok"), (512, "ok"), (511, "warn"), (256, "warn")]
)
def test_limits_of_open_files(limit, verdict):
    assert judge_files(limit).verdict == verdict


def test_certificates():
    assert judge_certificate(90.5) == ("ok", "certificate good for 90 days", None)
    verdict, text, hint = judge_certificate(1.2)
    assert (verdict, text) == ("warn", "certificate good for 1 day")
    assert hint


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("fe80::1%eth0", False), ("8.8.8.8", False)],
)
def test_addresses_of_this_machine(address, local):
    assert is_loopback(address) is local
