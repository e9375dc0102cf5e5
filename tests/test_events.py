import logging
import typing

import msgspec
import pytest

from tagferry import events
from tagferry.errors import UnavailableError

ERROR = UnavailableError("no answer from h", hint="check the network")
KINDS = {
    events.Polled: ({"kind": "growingio-tag", "id": "x", "state": "running", "delay": 1.25}, "DEBUG"),
    events.UnknownStatus: ({"kind": "growingio-tag", "id": "x", "word": "queued"}, "WARNING"),
    events.Retrying: ({"operation": "growingio-tag", "failures": 1, "delay": 0.5, "error": ERROR}, "WARNING"),
    events.Throttled: ({"operation": "growingio-tag", "wait": 7.0}, "WARNING"),
    events.Progress: ({"kind": "k", "id": "x", "part": 1, "parts": 2, "received": 5, "total": 10}, "DEBUG"),
    events.Resumed: ({"kind": "k", "id": "x", "part": 1, "offset": 5}, "INFO"),
    events.TransferBroken: (
        {"kind": "k", "id": "x", "part": 1, "received": 5, "delay": 0.5, "error": ERROR},
        "WARNING",
    ),
    events.LinkRenewed: ({"kind": "k", "id": "x"}, "INFO"),
    events.Attached: ({"kind": "k", "id": "x", "job_id": "j"}, "INFO"),
    events.Submitted: ({"kind": "k", "id": "x", "job_id": "j"}, "INFO"),
    events.InsecureAddress: ({"service": "s", "address": "http://cdp.example.com"}, "WARNING"),
    events.FetchPlanned: (
        {
            "kind": "k",
            "output": "tags.jsonl",
            "accounts": 3,
            "distinct": 2,
            "left": 2,
            "calls": 1,
            "seconds": 0.01,
        },
        "INFO",
    ),
    events.Fetching: (
        {
            "kind": "k",
            "output": "tags.jsonl",
            "distinct": 2,
            "tagged": 1,
            "missing": 0,
            "failed": 1,
            "requests": 3,
            "throttled": 1,
        },
        "DEBUG",
    ),
    events.Checkpointed: ({"kind": "k", "output": "tags.jsonl", "accounts": 2}, "DEBUG"),
    events.Converting: ({"output": "tags.parquet"}, "INFO"),
    events.ConvertProgress: ({"output": "out/x.parquet", "read": 5, "total": 10}, "DEBUG"),
    events.OddAnswer: ({"kind": "k", "what": "tags were numbers"}, "WARNING"),
    events.BatchesHalved: ({"kind": "k", "size": 50}, "WARNING"),
    events.PartRestarted: ({"kind": "k", "id": "x", "part": 1, "dropped": 5}, "INFO"),
    events.PartSaved: ({"kind": "k", "id": "x", "part": 1, "size": 10}, "INFO"),
}


def below(kind):
    return {kind for one in kind.__subclasses__() for kind in {one, *below(one)}}


def test_every_event_is_public_documented_and_in_this_table():
    assert below(events.Event) == set(KINDS)
    for kind in KINDS:
        assert kind.__name__ in events.__all__
        assert kind.__doc__
        assert set(KINDS[kind][0]) == set(kind.__struct_fields__)


def test_public_names_are_sorted():
    assert sorted(events.__all__) == events.__all__


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_frozen_and_its_facts_are_named(kind):
    event = kind(**KINDS[kind][0])
    for name in kind.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, name, None)
    with pytest.raises(TypeError):
        kind(*KINDS[kind][0].values())
    with pytest.raises(TypeError):
        kind()


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_one_line_in_the_log_with_its_level_and_its_facts(kind, caplog):
    facts, level = KINDS[kind]
    events.log_event(kind(**facts))
    (record,) = (record for record in caplog.records if record.name == "tagferry")
    assert record.levelname == level
    line = record.getMessage()
    assert line.startswith(f"{kind.__name__} ")
    assert "\n" not in line
    for name, value in facts.items():
        assert f"{name}={f'{value:.1f}' if isinstance(value, float) else value}" in line


def test_a_fact_that_is_none_is_left_out_of_the_log(caplog):
    events.log_event(events.Polled(kind="k", id="x", state="done", delay=None))
    assert "delay" not in caplog.records[-1].getMessage()


def test_nothing_is_formatted_for_a_level_that_nobody_hears(caplog):
    class Costly:
        def __str__(self):
            raise AssertionError("formatted")

    caplog.set_level(logging.ERROR, logger="tagferry")
    events.log_event(events.Throttled(operation=typing.cast("str", Costly()), wait=None))
    assert caplog.records == []


def test_events_can_be_told_apart_and_compared():
    one = events.LinkRenewed(kind="k", id="x")
    assert one == events.LinkRenewed(kind="k", id="x")
    assert one != events.LinkRenewed(kind="k", id="y")
    assert msgspec.structs.asdict(one) == {"kind": "k", "id": "x"}
