import msgspec
import pytest

from tagferry.errors import ConfigError
from tagferry.lookups.plan import Checkpoint, Ending, Plan, Totals

SETTINGS = {"SDKAppID": "1400000000", "service": "timpush", "order": "as answered"}
PLAN = Plan(
    settings=SETTINGS, source="accounts.txt", stamp="9-1-", digest="abc", accounts=9, distinct=8, size=70
)


def test_the_same_settings_pass():
    PLAN.check_settings(dict(SETTINGS))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**SETTINGS, "SDKAppID": "1400000001"}, "SDKAppID 1400000000, and now it is 1400000001"),
        ({**SETTINGS, "order": "of the input"}, "order as answered, and now it is of the input"),
        ({**SETTINGS, "new": "1"}, "new None, and now it is 1"),
        ({"SDKAppID": "1400000000", "order": "as answered"}, "service timpush, and now it is None"),
    ],
)
def test_other_settings_are_named(settings, told):
    with pytest.raises(ConfigError) as caught:
        PLAN.check_settings(settings)
    assert caught.value.message == f"the unfinished fetch was begun with {told}"
    assert caught.value.hint == (
        "go on as it was begun, choose another output, or start over with --no-resume (resume=False)"
    )


@pytest.mark.parametrize(("accounts", "digest"), [(9, "abc"), (0, "of nothing")])
def test_the_same_input_passes_and_one_that_is_gone(accounts, digest):
    PLAN.check_input("accounts.txt", accounts, digest)


@pytest.mark.parametrize(
    ("accounts", "digest", "told"),
    [
        (10, "abc", "b.txt (9 accounts before, 10 now)"),
        (1, "abd", "b.txt (9 accounts before, 1 now)"),
        (9, "abd", "b.txt (as many accounts, but others or in another order)"),
    ],
)
def test_another_input_is_told(accounts, digest, told):
    with pytest.raises(ConfigError) as caught:
        PLAN.check_input("b.txt", accounts, digest)
    assert caught.value.message.endswith(told)
    assert caught.value.hint


@pytest.mark.parametrize(
    "document",
    [
        PLAN,
        msgspec.structs.replace(PLAN, stamp=None, retried="/elsewhere/x.dead.jsonl"),
        Checkpoint(totals=Totals()),
        Checkpoint(low=3, above=[5, 9], output_size=10, dead_size=2, totals=Totals(1, 2, 3, 4, 5, 6.5)),
        Ending(replace=True),
    ],
)
def test_documents_are_read_as_they_were_written(document):
    assert msgspec.json.decode(msgspec.json.encode(document), type=type(document)) == document


def test_checkpoints_share_nothing():
    one, other = Checkpoint(totals=Totals()), Checkpoint(totals=Totals())
    one.above.append(1)
    assert other.above == []
