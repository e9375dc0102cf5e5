import pytest

from tagferry.emulator.faults import WORDS, FaultQueue, read_plan

OPERATIONS = frozenset({"growingio-saas.poll", "growingio-saas.download"})


def one(text):
    plan, times = read_plan(text)
    (fault,) = plan.faults
    return fault.word, fault.at, fault.value, dict(fault.options), times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status=503", ("status", 0, "503", {"retry-after": ""}, 1)),
        ("status=429 retry-after=-1 x3", ("status", 0, "429", {"retry-after": "-1"}, 3)),
        ("cut@65536", ("cut", 65536, "65536", {}, 1)),
        ("stall@1000 for=5", ("stall", 1000, "1000", {"for": "5"}, 1)),
        ("drip@0 bytes=2 every=0.1", ("drip", 0, "0", {"bytes": "2", "every": "0.1"}, 1)),
        ('body={"a": 1} & cut@5 x2', ("body", 0, '{"a": 1} & cut@5', {}, 2)),
        ("body=", ("body", 0, "", {}, 1)),
        ("failed=下载出错，请您稍后重试", ("failed", 0, "下载出错，请您稍后重试", {}, 1)),
        (
            "header=Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",
            ("header", 0, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", {}, 1),
        ),
        ("delay=0.5", ("delay", 0, "0.5", {}, 1)),
        ("redirect-loop", ("redirect-loop", 0, "", {}, None)),
        ("redirect-loop x3", ("redirect-loop", 0, "", {}, 3)),
        ("pass x*", ("pass", 0, "", {}, None)),
    ],
)
def test_the_grammar(text, expected):
    assert one(text) == expected


def test_several_faults_strike_together():
    plan, times = read_plan("no-etag & cut@10 & header=A:b & c x2")
    assert [fault.word for fault in plan.faults] == ["no-etag", "cut", "header"]
    assert times == 2
    assert "cut" in plan
    assert "reset" not in plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty fault"),
        ("x2", "unknown fault 'x2'"),
        ("explode", "unknown fault 'explode'; known: bad-chunk, body"),
        ("cut", "cut is written cut@N"),
        ("cut=5", "cut is written cut@N"),
        ("cut@-5", "cut needs a number that is not negative, not '-5'"),
        ("cut@five", "not 'five'"),
        ("html=1", "html is written html alone"),
        ("status@503", "status is written status=N"),
        ("status=99", "status is from 200 to 599"),
        ("status=600", "status is from 200 to 599"),
        ("status=503 after=2", "status has no option 'after=2'; its options: retry-after"),
        ("html now", "html has no option 'now'; its options: none"),
        ("stall@1 for=long", "stall needs a number"),
        ("drip@1 bytes=1.5", "drip needs a number"),
        ("delay=soon", "delay needs a number"),
        ("header=Nothing", "header is written header=Name:Value"),
        ("etag=", "etag needs a text"),
        ("links=", "links needs a number"),
    ],
)
def test_what_it_refuses(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        read_plan(text)


def test_every_word_says_what_it_does():
    assert all(word.says for word in WORDS.values())


def test_a_queue_for_each_operation_consumed_one_by_one():
    queue = FaultQueue(OPERATIONS)
    queue.add("growingio-saas.poll", "status=503 x2")
    queue.add("growingio-saas.poll", "html")
    queue.add("growingio-saas.poll:5rREn4PL", "close")
    assert queue.unused() == [
        "growingio-saas.poll: status=503 x2",
        "growingio-saas.poll: html",
        "growingio-saas.poll:5rREn4PL: close",
    ]
    words = [queue.take("growingio-saas.poll", "nP2lpkX9").faults[0].word]
    words += [queue.take("growingio-saas.poll", "5rREn4PL").faults[0].word for _ in range(3)]
    assert words == ["status", "close", "status", "html"]
    assert queue.take("growingio-saas.poll", "5rREn4PL").faults == ()
    assert queue.all_used


def test_one_for_ever_is_used_once_it_struck():
    queue = FaultQueue(OPERATIONS)
    queue.add("growingio-saas.download", "status=500 x*")
    assert not queue.all_used
    # This is what pytest shows of `assert emulator.faults.all_used`.
    assert repr(queue) == "FaultQueue(unused=['growingio-saas.download: status=500 x*'])"
    assert all("status" in queue.take("growingio-saas.download") for _ in range(5))
    assert queue.all_used
    queue.clear()
    assert queue.take("growingio-saas.download").faults == ()


@pytest.mark.parametrize(
    ("operation", "fault", "message"),
    [
        (
            "growingio-saas.upload",
            "close",
            "unknown operation 'growingio-saas.upload'; known: growingio-saas.d",
        ),
        ("growingio-saas.poll", "etag=a", "etag is a fault of download, not of growingio-saas.poll"),
        ("growingio-saas.download", "links=2", "links is a fault of poll"),
    ],
)
def test_what_the_queue_refuses(operation, fault, message):
    queue = FaultQueue(OPERATIONS)
    with pytest.raises(ValueError, match=message):
        queue.add(operation, fault)
    assert queue.all_used
