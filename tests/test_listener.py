"""Events go to the log and to the listener of a client, which breaks nothing but itself."""

import logging

import pytest

from tagferry import events
from tagferry.listener import listen


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG, logger="tagferry")


def test_a_listener_hears_everything_in_order_beside_the_log(caplog):
    heard = []
    emit = listen(heard.append)
    told = [events.LinkRenewed(kind="k", id="x"), events.Throttled(operation="o", wait=1.0)]
    for event in told:
        emit(event)
    assert heard == told
    assert len(caplog.records) == len(told)


def test_without_a_listener_there_is_the_log(caplog):
    listen(None)(events.LinkRenewed(kind="k", id="x"))
    assert [record.getMessage() for record in caplog.records] == ["LinkRenewed kind=k id=x"]


def test_a_listener_that_fails_breaks_nothing_but_is_named_in_the_log(caplog):
    def fail(event):
        raise RuntimeError("broken view")

    emit = listen(fail)
    emit(events.LinkRenewed(kind="k", id="x"))
    emit(events.LinkRenewed(kind="k", id="y"))
    failures = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in failures] == ["on_event failed for LinkRenewed"] * 2
    assert failures[0].exc_info


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_listener_can_still_stop_the_program(stop):
    def fail(event):
        raise stop

    with pytest.raises(stop):
        listen(fail)(events.LinkRenewed(kind="k", id="x"))
