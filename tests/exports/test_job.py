"""What reports of a job mean to the one who waits."""

import pytest

from tagferry.errors import JobFailedError
from tagferry.exports.job import Job, JobReport, JobState, JobWatch, Ready
from tagferry.wire.message import Request

LINK = "https://gta.growingio.com/a.csv?sign=CANARY-link"
RUNNING = JobReport(state=JobState.RUNNING)
DONE = JobReport(state=JobState.DONE, links=(LINK,))
EMPTY = JobReport(state=JobState.DONE)
LATER = JobReport(state=JobState.FAILED, error=JobFailedError("later", retryable=True))
FATAL = JobReport(state=JobState.FAILED, error=JobFailedError("no"))
BARE = JobReport(state=JobState.FAILED)
ABSENT = JobReport(state=JobState.RUNNING, absent=True, error=JobFailedError("it knows nothing of the job"))

R, D, E, F = JobState.RUNNING, JobState.DONE, JobState.EMPTY, JobState.FAILED


@pytest.mark.parametrize(
    ("reports", "states"),
    [
        pytest.param([RUNNING] * 5 + [DONE], [R] * 5 + [D], id="doing-then-done"),
        pytest.param([DONE], [D], id="done-at-once"),
        pytest.param([EMPTY, EMPTY, EMPTY], [R, R, E], id="done-without-links-is-believed-at-the-third-look"),
        pytest.param([EMPTY, EMPTY, DONE], [R, R, D], id="links-may-come-late"),
        pytest.param(
            [EMPTY, RUNNING, EMPTY, RUNNING, EMPTY], [R, R, R, R, E], id="looks-count-over-a-step-back"
        ),
        pytest.param([LATER, LATER, LATER], [R, R, F], id="a-failure-that-says-later-has-two-second-chances"),
        pytest.param([LATER, RUNNING, LATER, DONE], [R, R, R, D], id="a-second-chance-may-work"),
        pytest.param([FATAL], [F], id="other-failures-are-final"),
        pytest.param([BARE], [F], id="a-failure-without-a-reason-is-final"),
        pytest.param([RUNNING, DONE], [R, D], id="done-after-running"),
        pytest.param([ABSENT] * 19 + [DONE], [R] * 19 + [D], id="a-new-job-may-be-absent-for-a-while"),
        pytest.param([ABSENT] * 20, [R] * 19 + [F], id="a-job-that-stays-absent-is-gone"),
        pytest.param(
            [ABSENT] * 19 + [RUNNING] + [ABSENT] * 20, [R] * 39 + [F], id="a-job-that-was-seen-is-there-again"
        ),
        pytest.param([RUNNING] + [ABSENT] * 20, [R] * 20 + [F], id="a-job-that-was-there-may-go"),
    ],
)
def test_a_row_of_reports_is_judged_as_the_service_documents_it(reports, states):
    watch = JobWatch()
    assert not watch.answered
    assert [watch.judge(report) for report in reports] == states
    assert watch.answered


def test_an_unknown_word_is_news_once():
    watch = JobWatch()
    assert [watch.is_news(word) for word in ("DATA_READY", "DATA_READY", "READY", "DATA_READY")] == [
        True,
        False,
        True,
        False,
    ]


def test_links_are_secret_in_every_repr():
    assert "CANARY" not in repr(DONE)
    assert "1 links" in repr(DONE)
    ready = Ready("j1", (LINK, LINK))
    assert "CANARY" not in f"{ready!r} {ready}"
    assert "2 hidden" in repr(ready)
    assert "'j1'" in repr(ready)


def test_a_job_says_its_id_and_how_it_is_asked_for():
    request = Request(operation="k", method="GET", url="http://cdp/v1/api/job/result/j1?CANARY=1")
    job = Job("j1", request, request)
    assert (job.id, job.request, job.other) == ("j1", request, request)
    assert Job("j1", request).other is None
    assert "j1" in repr(job)
    assert "CANARY" not in repr(job)
