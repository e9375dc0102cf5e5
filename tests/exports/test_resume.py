"""Bytes on disk and the offered body: a resumed file is one version of the source, or there is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tagferry.errors import (
    AuthError,
    IntegrityError,
    LinkExpiredError,
    ProtocolError,
    RefusedError,
    TagferryError,
    ThrottledError,
    UnavailableError,
)
from tagferry.exports.resume import Partial, Store, Verdict, ask_for_rest, plan_body
from tagferry.wire.message import Head

STORE = Store(service="s")
HALF = Partial(received=50, validator='"a"', total=100)
FULL = Partial(received=100, validator='"a"', total=100)
FITTING = {"etag": '"a"', "content-range": "bytes 50-99/100", "content-length": "50"}


def plan(partial: Partial, status: int, **headers: str):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return plan_body(partial, Head(status, fields), store=STORE, now=0.0)


def test_the_rest_is_asked_for_only_with_a_strong_validator():
    plain = {"Accept-Encoding": "identity"}
    assert ask_for_rest(Partial()) == plain
    assert ask_for_rest(Partial(validator='"a"')) == plain
    assert ask_for_rest(Partial(received=5)) == plain
    assert ask_for_rest(HALF) == {**plain, "Range": "bytes=50-", "If-Range": '"a"'}


@pytest.mark.parametrize("partial", [Partial(), HALF, FULL])
def test_a_whole_body_always_starts_over(partial):
    whole = plan(partial, 200, content_length="7", etag='"b"', x_amz_meta_md5_hash="A" * 32)
    assert (whole.verdict, whole.total, whole.validator, whole.md5) == (Verdict.RESTART, 7, '"b"', "a" * 32)


@pytest.mark.parametrize("etag", ['W/"a"', '""', "a", '"a', 'a"', "", '"', '"é"'])
def test_what_is_no_strong_validator_is_not_kept(etag):
    assert plan(Partial(), 200, content_length="7", etag=etag).validator is None


@pytest.mark.parametrize("md5", ["", "xyz", "a" * 31, "a" * 33, "g" * 32])
def test_what_is_no_md5_is_not_kept(md5):
    assert plan(Partial(), 200, content_length="7", x_amz_meta_md5_hash=md5).md5 is None


def test_a_fitting_range_is_appended():
    rest = plan_body(HALF, Head(206, FITTING), store=STORE, now=0.0)
    assert (rest.verdict, rest.total, rest.validator) == (Verdict.APPEND, 100, '"a"')
    chunked = {**FITTING, "transfer-encoding": "chunked"}
    del chunked["content-length"]
    assert plan_body(HALF, Head(206, chunked), store=STORE, now=0.0).verdict is Verdict.APPEND
    unsure = Partial(received=50, validator='"a"')
    assert plan_body(unsure, Head(206, FITTING), store=STORE, now=0.0).total == 100
    odd = {**FITTING, "content-range": "BYTES 50-99/100"}
    assert plan_body(HALF, Head(206, odd), store=STORE, now=0.0).verdict is Verdict.APPEND


@pytest.mark.parametrize(
    ("partial", "change"),
    [
        pytest.param(HALF, {"content-range": None}, id="missing-content-range"),
        pytest.param(HALF, {"content-range": "bytes 49-99/100"}, id="starts-elsewhere"),
        pytest.param(HALF, {"content-range": "bytes 50-98/100"}, id="ends-early"),
        pytest.param(HALF, {"content-range": "bytes 50-99/101"}, id="other-total"),
        pytest.param(HALF, {"content-range": "bytes 50-100/101"}, id="longer-source"),
        pytest.param(HALF, {"content-range": "bytes 50-99/*"}, id="unknown-total"),
        pytest.param(HALF, {"content-range": "bytes */100"}, id="no-extent"),
        pytest.param(HALF, {"content-range": "items 50-99/100"}, id="other-unit"),
        pytest.param(HALF, {"content-range": "bytes 50-99/100, bytes 0-1/100"}, id="two-ranges"),
        pytest.param(HALF, {"content-range": "bytes 50-9999999999999999999999/100"}, id="absurd"),
        pytest.param(HALF, {"content-range": "bytes \u0665\u0660-99/100"}, id="foreign-digits"),
        pytest.param(
            HALF,
            {"content-range": None, "content-type": "multipart/byteranges; boundary=x"},
            id="multipart",
        ),
        pytest.param(HALF, {"etag": '"b"'}, id="other-validator"),
        pytest.param(HALF, {"etag": None}, id="no-validator"),
        pytest.param(HALF, {"etag": 'W/"a"'}, id="weak-validator"),
        pytest.param(Partial(received=50), {"etag": None}, id="not-asked-for-without-validator"),
        pytest.param(Partial(), {"etag": None, "content-range": "bytes 0-49/50"}, id="not-asked-for"),
    ],
)
def test_a_range_that_does_not_fit_is_never_appended(partial, change):
    headers = {name: value for name, value in {**FITTING, **change}.items() if value is not None}
    assert plan_body(partial, Head(206, headers), store=STORE, now=0.0).verdict is Verdict.AGAIN


def test_an_unsatisfiable_range_is_the_end_only_where_size_and_validator_match():
    assert plan(FULL, 416, content_range="bytes */100").verdict is Verdict.COMPLETE
    assert plan(FULL, 416, content_range="bytes */100", etag='"a"').verdict is Verdict.COMPLETE
    for partial, headers in [
        (FULL, {}),
        (FULL, {"content_range": "bytes */99"}),
        (FULL, {"content_range": "bytes 0-99/100"}),
        (FULL, {"content_range": "bytes */*"}),
        (FULL, {"content_range": "bytes */100", "etag": '"b"'}),
        (HALF, {"content_range": "bytes */50"}),
        (Partial(received=100, total=100), {"content_range": "bytes */100"}),
        (Partial(received=100, validator='"a"'), {"content_range": "bytes */100"}),
    ]:
        assert plan(partial, 416, **headers).verdict is Verdict.AGAIN, (partial, headers)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_lapsed_link_says_so(status):
    with pytest.raises(LinkExpiredError) as caught:
        plan(HALF, status)
    assert caught.value.code == status


CDP = Store(service="s", lapsed=frozenset({404, 410}), json=True, hints={401: "show the token"})


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (404, LinkExpiredError, None),
        (410, LinkExpiredError, None),
        (400, RefusedError, None),
        (401, AuthError, "show the token"),
        (403, AuthError, None),
    ],
)
def test_a_store_with_manners_of_its_own(status, error, hint):
    with pytest.raises(error) as caught:
        plan_body(HALF, Head(status, {}), store=CDP, now=0.0)
    assert (caught.value.code, caught.value.hint) == (status, hint)


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON;charset=utf-8"])
def test_files_of_json_are_no_pages_but_other_pages_are(kind):
    whole = Head(200, {"content-type": kind, "content-length": "7"})
    assert plan_body(Partial(), whole, store=CDP, now=0.0).total == 7
    rest = Head(206, {**FITTING, "content-type": kind})
    assert plan_body(HALF, rest, store=CDP, now=0.0).verdict is Verdict.APPEND
    for page in ("text/html", "application/problem+json", "application/xml"):
        with pytest.raises(ProtocolError, match="page"):
            plan_body(Partial(), Head(200, {"content-type": page}), store=CDP, now=0.0)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (204, ProtocolError),
        (304, ProtocolError),
        (407, AuthError),
        (405, RefusedError),
        (408, UnavailableError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, ThrottledError),
    ],
)
def test_other_statuses_are_what_they_stand_for(status, error):
    with pytest.raises(error) as caught:
        plan(HALF, status, retry_after="7")
    assert caught.value.code == status
    assert caught.value.retry_after in {7, None}


@pytest.mark.parametrize(
    "kind",
    ["text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "application/xml", "application/json"],
)
@pytest.mark.parametrize("status", [200, 206])
def test_a_page_in_place_of_a_file_is_refused_and_may_go_away(kind, status):
    with pytest.raises(ProtocolError, match="page") as caught:
        plan_body(HALF, Head(status, {**FITTING, "content-type": kind}), store=STORE, now=0.0)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "kind", ["", "text/csv", "application/octet-stream", "application/gzip", "text/plain"]
)
def test_files_of_other_types_are_taken(kind):
    assert plan(Partial(), 200, content_length="7", content_type=kind).verdict is Verdict.RESTART


@pytest.mark.parametrize("coding", ["deflate", "br", "identity, gzip", "gzip, gzip", "x" * 1000])
def test_a_coding_that_was_not_asked_for_is_refused(coding):
    with pytest.raises(ProtocolError, match="Content-Encoding") as caught:
        plan(Partial(), 200, content_length="7", content_encoding=coding)
    assert len(str(caught.value)) < 200
    assert plan(Partial(), 200, content_length="7", content_encoding=" Identity ").total == 7


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", " GZIP "])
def test_a_gzip_coding_is_noted_because_its_end_has_to_be_proved(coding):
    assert plan(Partial(), 200, content_length="7", content_encoding=coding).gzipped
    coded = {**FITTING, "content-encoding": coding}
    assert plan_body(HALF, Head(206, coded), store=STORE, now=0.0).verdict is Verdict.AGAIN
    half = Partial(received=50, validator='"a"', total=100, gzipped=True)
    assert plan_body(half, Head(206, coded), store=STORE, now=0.0).gzipped
    assert plan_body(half, Head(206, FITTING), store=STORE, now=0.0).verdict is Verdict.AGAIN


def test_a_body_whose_cut_would_not_show_is_refused():
    with pytest.raises(IntegrityError, match="without a length"):
        plan(Partial(), 200)
    with pytest.raises(IntegrityError, match="without a length"):
        plan(HALF, 206, etag='"a"', content_range="bytes 50-99/100")
    assert plan(Partial(), 200, transfer_encoding="chunked").total is None
    # Where both are given the chunks count (RFC 9112, 6.3).
    assert plan(Partial(), 200, transfer_encoding="chunked", content_length="7").total is None


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "1, 1", "9" * 20, "\u0667", ""])
def test_a_bad_length_is_refused(length):
    with pytest.raises(IntegrityError):
        plan(Partial(), 200, content_length=length)


def test_a_reply_that_contradicts_itself_is_refused():
    with pytest.raises(IntegrityError, match="contradicts") as caught:
        plan_body(HALF, Head(206, {**FITTING, "content-length": "49"}), store=STORE, now=0.0)
    assert caught.value.retryable


headers = st.dictionaries(
    st.sampled_from(["content-range", "content-length", "etag", "content-type", "transfer-encoding"]),
    st.one_of(
        st.text(max_size=30), st.sampled_from(["bytes 50-99/100", "bytes */100", "50", '"a"', "chunked"])
    ),
)


@given(st.sampled_from([Partial(), HALF, FULL]), st.integers(100, 599), headers)
def test_any_reply_is_a_plan_or_an_error_of_ours(partial, status, fields):
    try:
        verdict = plan_body(partial, Head(status, fields), store=STORE, now=0.0).verdict
    except TagferryError:
        return
    if verdict is Verdict.APPEND:
        assert fields["content-range"].lower() == "bytes 50-99/100"
        assert fields["etag"].strip() == '"a"'
    if verdict is Verdict.COMPLETE:
        assert partial is FULL


# Few sizes, so that versions are often of one length: a splice of those is the hardest to see.
sizes = st.sampled_from([3, 6, 0])
kinds = st.sampled_from(["strong", "weak", "none"])


class ResumeAlgebra(RuleBasedStateMachine):
    """A source that changes, servers that lie, connections that break, and the loop that a download runs."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[tuple[bytes, str | None]] = []
        self.disk = b""
        self.validator: str | None = None
        self.total: int | None = None
        self.finished: bytes | None = None

    @initialize(size=sizes, kind=kinds)
    def first(self, size, kind):
        self.change(size, kind)

    @rule(size=sizes, kind=kinds)
    def change(self, size, kind):
        number = len(self.versions)
        etag = {"strong": f'"v{number}"', "weak": f'W/"v{number}"', "none": None}[kind]
        # Every version has letters of its own, so that a mixture shows.
        self.versions.append((bytes([97 + number % 26]) * size, etag))

    @precondition(lambda self: self.finished is None)
    @rule(
        answer=st.sampled_from(
            ["honest", "ignores-range", "ignores-if-range", "wrong-start", "wrong-total", "bare-206"]
        ),
        silent=st.booleans(),
        chunked=st.booleans(),
        version=st.integers(0, 2),
        cut=st.sampled_from([1, 2, None, 0, 5]),
    )
    def attempt(self, answer, silent, chunked, version, cut):
        partial = Partial(received=len(self.disk), validator=self.validator, total=self.total)
        asked = ask_for_rest(partial)
        body, etag = self.versions[-1 - version % len(self.versions)]
        head, sent = self.answer(answer, asked, body, etag, silent=silent, chunked=chunked)
        try:
            plan = plan_body(partial, head, store=STORE, now=0.0)
        except TagferryError:
            return
        if plan.verdict is Verdict.COMPLETE:
            self.finish(body)
            return
        if plan.verdict is not Verdict.APPEND:
            self.disk = b""
        self.validator, self.total = plan.validator, plan.total
        if plan.verdict is Verdict.AGAIN:
            self.validator = self.total = None
            return
        self.disk += sent if cut is None else sent[:cut]
        # A transport tells a body that broke off from a whole one by its length or its last chunk.
        if cut is None or cut >= len(sent):
            if plan.total is not None and len(self.disk) != plan.total:
                self.validator = None
                return
            self.finish(body)

    def answer(self, answer, asked, body, etag, *, silent, chunked):
        fields = {} if etag is None else {"etag": etag}
        start = int(asked["Range"][6:-1]) if "Range" in asked else None
        matches = etag is not None and etag.startswith('"') and asked.get("If-Range") == etag
        if answer == "bare-206":
            # Nobody asked for this range, or the server forgets to say which one it is.
            start, matches = len(self.disk), True
        ranged = start is not None and answer != "ignores-range" and (matches or answer == "ignores-if-range")
        if not ranged:
            return Head(200, self.framed(fields, body, chunked=chunked)), body
        if silent and answer != "honest":
            fields.pop("etag", None)
        if start >= len(body):
            return Head(416, {**fields, "content-range": f"bytes */{len(body)}"}), b""
        if answer == "wrong-start":
            start = start - 1 if start else 1
        total = len(body) + (answer == "wrong-total")
        sent = body[start:]
        if not (answer == "bare-206" and chunked):
            fields["content-range"] = f"bytes {start}-{total - 1}/{total}"
        return Head(206, self.framed(fields, sent, chunked=chunked)), sent

    @staticmethod
    def framed(fields, sent, *, chunked):
        return {
            **fields,
            **({"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(sent))}),
        }

    def finish(self, body):
        self.finished = self.disk
        assert self.disk in [version for version, _ in self.versions]
        assert self.disk == body, "the end was declared by a server that serves another version"

    @precondition(lambda self: self.finished is not None)
    @rule()
    def fetch_another(self):
        self.disk, self.validator, self.total, self.finished = b"", None, None, None


ResumeAlgebra.TestCase.settings = settings(max_examples=300, stateful_step_count=12, deadline=None)
TestResumeAlgebra = ResumeAlgebra.TestCase
