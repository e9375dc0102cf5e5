"""One batch of accounts, from the question to an outcome for each; what bad ones cost their neighbours."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import AuthError, ProtocolError, RefusedError, TagferryError, UnavailableError
from tagferry.events import BatchesHalved, OddAnswer, Retrying
from tagferry.lookups.batch import Asker
from tagferry.lookups.outcome import AccountError, AccountFailed, Missing, Tagged
from tagferry.lookups.service import LookupService
from tagferry.services import tencent_treatment as codes
from tagferry.services.tencent_answer import AccountFault, TagsAnswer, UserTags
from tagferry.services.tencent_codes import CODES, Treatment
from tagferry.wire.backoff import Backoff
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tests.lookups.world import make_accounts
from tests.virtual import VirtualClock, run_virtual

HUNDRED = make_accounts(100)


class Service:
    """A service whose accounts are all known, but for what it is told.

    Args:
        spoils: Codes of the accounts that spoil every call they are in.
        most: The most accounts of a call that it takes.
        faults: For single accounts, the codes that stand beside them in one answer after the other, the last
            one for ever; 0 is an answer.
        fails: Codes of whole calls, one after the other; 0 lets a call through.
    """

    def __init__(self, *, spoils=None, most=100, faults=None, fails=(), unknown=(), warnings=(), **policy):
        self.spoils = spoils or {}
        self.most = most
        self.faults = {account: list(codes) for account, codes in (faults or {}).items()}
        self.fails = list(fails)
        self.unknown = set(unknown)
        self.warnings = warnings
        self.calls = []
        self.events = []
        self.clock = VirtualClock()
        backoff = Backoff(
            policy=RetryPolicy(limits=codes.RETRY_LIMITS, **policy),
            budget=RetryBudget(),
            clock=self.clock,
            chance=lambda: 1.0,
        )
        self.asker = Asker(
            LookupService(
                name="tencent-im",
                kind="tencent-tags",
                ask=self.answer,
                batch=100,
                workers=100,
                rate=100.0,
                is_spoilt=codes.is_spoilt,
                is_too_large=codes.is_too_large,
                judge=codes.judge_account,
                hold=lambda _: None,
                settings={},
                backoff=backoff,
                emit=self.events.append,
            )
        )

    async def answer(self, accounts, tally):
        assert 1 <= len(accounts) <= 100
        self.calls.append(list(accounts))
        tally.requests += 1
        await asyncio.sleep(0.01)
        if code := self.fails.pop(0) if self.fails else 0:
            raise codes.error_of(code)
        if len(accounts) > self.most:
            raise codes.error_of(90018)
        for account in accounts:
            if code := self.spoils.get(account):
                raise code if isinstance(code, Exception) else codes.error_of(code)
        return self.tell(accounts)

    def tell(self, accounts):
        users, faults = [], []
        for account in accounts:
            ahead = self.faults.get(account, [0])
            if code := ahead.pop(0) if len(ahead) > 1 else ahead[0]:
                faults.append(AccountFault(account, code, "because"))
            elif account not in self.unknown:
                users.append(UserTags(account, (account,)))
        return TagsAnswer(users[::-1], faults, self.warnings)

    def ask(self, accounts=HUNDRED):
        return run_virtual(lambda: self.asker.ask(accounts))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def expect(accounts, failed=None, missing=()):
    """Outcomes, by the codes of accounts that failed."""
    return [
        AccountFailed(one, AccountError(failed[one], _message(failed[one])))
        if failed and one in failed
        else Missing(one)
        if one in missing
        else Tagged(one, (one,))
        for one in accounts
    ]


def _message(code):
    return codes.error_of(code).message if isinstance(code, int) else "bad"


def check(answers, accounts, failed=None, missing=()):
    assert answers.outcomes == expect(accounts, failed, missing)
    assert (answers.missing, answers.failed) == (len(missing), len(failed or {}))


# Accounts that spoil a call ---------------------------------------------------------------------------


def test_a_good_batch_is_one_call():
    service = Service(unknown=HUNDRED[3:5])
    check(service.ask(), HUNDRED, missing=HUNDRED[3:5])
    assert service.calls == [HUNDRED]
    assert service.events == []


@pytest.mark.parametrize("place", range(100))
def test_one_bad_account_among_a_hundred_is_found_with_fourteen_more_calls_at_most(place):
    bad = HUNDRED[place]
    service = Service(spoils={bad: 90012})
    check(service.ask(), HUNDRED, {bad: 90012})
    assert len(service.calls) <= 15
    assert service.asker.tally.requests == len(service.calls)
    # Each neighbour was answered for once.
    assert service.events == []


@pytest.mark.parametrize("code", [90003, 90012, 60015, 90035])
@pytest.mark.parametrize("places", [(0, 99), (0, 1), (49, 50), range(10), range(0, 100, 9)])
def test_several_bad_accounts_are_all_found(code, places):
    bad = {HUNDRED[place]: code for place in places}
    service = Service(spoils=bad)
    check(service.ask(), HUNDRED, bad)
    assert len(service.calls) <= 1 + 14 * len(bad)


def test_a_hundred_bad_accounts_cost_two_calls_each_and_no_more():
    bad = dict.fromkeys(HUNDRED, 90012)
    service = Service(spoils=bad)
    check(service.ask(), HUNDRED, bad)
    assert len(service.calls) == 199


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_any_bad_accounts_of_any_batch_are_found_in_two_calls_each_and_fourteen(places, size):
    accounts = HUNDRED[:size]
    bad = {HUNDRED[place]: 90012 for place in places if place < size}
    service = Service(spoils=bad)
    check(service.ask(accounts), accounts, bad)
    assert len(service.calls) <= 1 + min(2 * size, 14 * len(bad))


@pytest.mark.parametrize("code", [70107, 90048])
def test_codes_that_mean_unknown_spoil_a_call_and_make_their_account_missing(code):
    service = Service(spoils={HUNDRED[7]: code, HUNDRED[8]: 90012})
    answers = service.ask()
    check(answers, HUNDRED, {HUNDRED[8]: 90012}, missing=[HUNDRED[7]])


def test_an_answer_that_cannot_be_read_for_one_account_fails_no_other():
    """Such as tags in a shape that nobody documented, or a reply beyond all bounds."""
    bad = ProtocolError("bad", service="tencent-im")
    service = Service(spoils={HUNDRED[42]: bad})
    check(service.ask(), HUNDRED, {HUNDRED[42]: None})
    assert len(service.calls) <= 15


def test_an_answer_that_is_none_at_all_is_raised():
    bad = ProtocolError("bad", service="tencent-im", code=302)
    service = Service(spoils={HUNDRED[42]: bad})
    with pytest.raises(ProtocolError) as caught:
        service.ask()
    assert caught.value is bad
    assert len(service.calls) == 1


# When it is not for the accounts ----------------------------------------------------------------------


def test_three_hundred_refusals_without_a_single_answer_are_not_for_the_accounts():
    accounts = make_accounts(1000)
    service = Service(spoils=dict.fromkeys(accounts, 90012))

    async def main():
        for start in range(0, 1000, 100):
            await service.asker.ask(accounts[start : start + 100])

    with pytest.raises(RefusedError, match="300 accounts were refused one by one") as caught:
        run_virtual(main)
    assert (caught.value.code, caught.value.service) == (90012, "tencent-im")
    assert "of this application" in caught.value.hint
    assert len(service.calls) <= 600


def test_one_answer_is_enough_to_go_on_refusing_for_ever():
    accounts = make_accounts(1000)
    service = Service(spoils=dict.fromkeys(accounts[1:], 90012))

    async def main():
        for start in range(0, 1000, 100):
            check(
                await service.asker.ask(accounts[start : start + 100]),
                accounts[start : start + 100],
                dict.fromkeys(accounts[max(1, start) : start + 100], 90012),
            )

    run_virtual(main)


# Fault 75; the codes of the table that are for nobody in particular.
FATAL = [
    code
    for code, known in CODES.items()
    if known.treatment in {Treatment.CONFIG, Treatment.INPUT} and code != 90018
]


@pytest.mark.parametrize("code", [*FATAL, 60022, 99999, 12345])
def test_a_fatal_code_is_raised_at_once_and_nothing_is_sent_after_it(code):
    service = Service(fails=[code])
    with pytest.raises(TagferryError) as caught:
        service.ask()
    assert caught.value.code == code
    assert len(service.calls) == 1
    assert service.events == []


@pytest.mark.parametrize("code", [90001, 90009, 60020, 60021, 60010])
def test_a_fatal_code_in_the_middle_of_the_halves_ends_it_too(code):
    service = Service(spoils={HUNDRED[0]: 90012}, fails=[0, 0, code])
    with pytest.raises((RefusedError, AuthError)) as caught:
        service.ask()
    assert caught.value.code == code
    assert len(service.calls) == 3


def test_a_failure_that_no_retry_mended_is_raised():
    service = Service(fails=[91000])
    with pytest.raises(UnavailableError):
        service.ask()
    assert len(service.calls) == 1


# Calls that are too large -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "sizes"), [(50, [50]), (49, [50, 25]), (99, [50]), (1, [50, 25, 13, 7, 4, 2, 1])]
)
def test_batches_are_halved_until_they_pass_and_stay_so_for_the_rest_of_the_run(most, sizes):
    service = Service(most=most)
    check(service.ask(), HUNDRED)
    assert service.of(BatchesHalved) == [BatchesHalved(kind="tencent-tags", size=size) for size in sizes]
    first = len(service.calls)
    # The later ones never are too large.
    check(service.ask(), HUNDRED)
    assert all(len(call) <= most for call in service.calls[first:])
    assert len(service.of(BatchesHalved)) == len(sizes)


def test_calls_that_were_on_their_way_together_halve_once():
    service = Service(most=60)
    parts = [make_accounts(100, 100 * number) for number in range(20)]

    async def main():
        for part, answers in zip(parts, await asyncio.gather(*map(service.asker.ask, parts)), strict=True):
            check(answers, part)

    run_virtual(main)
    assert service.of(BatchesHalved) == [BatchesHalved(kind="tencent-tags", size=50)]
    assert len(service.calls) == 60


def test_a_single_account_that_is_too_many_is_fatal():
    service = Service(most=0)
    with pytest.raises(RefusedError) as caught:
        service.ask()
    assert caught.value.code == 90018
    assert service.of(BatchesHalved)[-1].size == 1
    assert len(service.calls) == 8


def test_too_large_and_spoilt_at_once():
    service = Service(most=30, spoils={HUNDRED[0]: 90012, HUNDRED[99]: 70107})
    check(service.ask(), HUNDRED, {HUNDRED[0]: 90012}, missing=[HUNDRED[99]])


# Accounts that are asked for again --------------------------------------------------------------------


@pytest.mark.parametrize("code", [91000, 70169, 70500, 60014, 60007, 60011])
def test_an_account_that_may_be_answered_later_is_asked_for_alone_until_it_is(code):
    service = Service(faults={HUNDRED[3]: [code, code, 0], HUNDRED[9]: [code, 0]})
    check(service.ask(), HUNDRED)
    assert service.calls == [HUNDRED, [HUNDRED[3], HUNDRED[9]], [HUNDRED[3]]]
    assert service.clock.slept == [0.5, 1.0]
    told = service.of(Retrying)
    assert [(event.operation, event.failures, event.delay) for event in told] == [
        ("tencent-tags", 1, 0.5),
        ("tencent-tags", 2, 1.0),
    ]
    assert told[0].error.code == code
    assert told[0].error.message == "no answer came for 2 accounts of a batch: because"


@pytest.mark.parametrize(("code", "times"), [(91000, 8), (60008, 3)])
def test_an_account_that_is_never_answered_fails_in_the_end_and_alone(code, times):
    service = Service(faults={HUNDRED[3]: [code]})
    answers = service.ask()
    assert answers.outcomes[3] == AccountFailed(HUNDRED[3], AccountError(code, "because"))
    assert (answers.missing, answers.failed) == (0, 1)
    assert service.calls == [HUNDRED, *[[HUNDRED[3]]] * times]


def test_with_no_retries_nobody_is_asked_for_again():
    service = Service(faults={HUNDRED[3]: [91000]}, retries=0)
    assert service.ask().failed == 1
    assert len(service.calls) == 1


def test_an_account_that_is_answered_later_with_another_code_has_that_one():
    service = Service(faults={"a": [91000, 90012], "b": [91000, 70107], "c": [91000, 70500, 0]})
    answers = service.ask(["a", "b", "c"])
    assert answers.outcomes == [
        AccountFailed("a", AccountError(90012, "because")),
        Missing("b"),
        Tagged("c", ("c",)),
    ]
    assert (answers.missing, answers.failed) == (1, 1)


def test_a_fatal_code_while_asking_again_is_raised():
    service = Service(faults={"a": [91000, 0]}, fails=[0, 90009])
    with pytest.raises(AuthError):
        service.ask(["a", "b"])
    assert service.calls == [["a", "b"], ["a"]]


def test_an_account_asked_for_again_may_still_spoil_its_call():
    service = Service(faults={"a": [91000, 0], "b": [91000, 0]})

    async def main():
        asking = asyncio.create_task(service.asker.ask(["a", "b", "c"]))
        await asyncio.sleep(0.1)
        service.spoils["b"] = 90012
        check(await asking, ["a", "b", "c"], {"b": 90012})

    run_virtual(main)


# What is odd ------------------------------------------------------------------------------------------


def test_an_oddity_is_told_once_however_often_it_comes():
    service = Service(warnings=("tags were numbers",))
    for _ in range(3):
        check(service.ask(), HUNDRED)
    assert service.events == [OddAnswer(kind="tencent-tags", what="tags were numbers")]


# All at once ------------------------------------------------------------------------------------------

FATES = st.sampled_from(
    [[0]] * 4 + [[91000, 0], [70500, 91000, 0], [90012], [70107], [91000, 90012], [60008], [0, 0], [0]]
)


@given(
    st.lists(st.tuples(FATES, st.sampled_from([0, 0, 0, 0, 90012, 70107])), min_size=1, max_size=100),
    st.sampled_from([100, 100, 60, 3]),
    st.lists(st.sampled_from(HUNDRED), max_size=5),
)
def test_whatever_the_service_does_each_account_has_one_outcome_and_the_totals_reconcile(
    fates, most, unknown
):
    accounts = HUNDRED[: len(fates)]
    service = Service(
        faults={one: fate for one, (fate, _) in zip(accounts, fates, strict=True)},
        spoils={one: code for one, (_, code) in zip(accounts, fates, strict=True) if code},
        unknown=unknown,
        most=most,
    )
    answers = service.ask(accounts)
    assert [one.account for one in answers.outcomes] == accounts
    assert answers.missing == sum(isinstance(one, Missing) for one in answers.outcomes)
    assert answers.failed == sum(isinstance(one, AccountFailed) for one in answers.outcomes)
    for one, (fate, code) in zip(answers.outcomes, fates, strict=True):
        last = code or fate[-1]
        if last == 70107 or (last == 0 and one.account in unknown):
            assert one == Missing(one.account)
        elif last:
            assert isinstance(one, AccountFailed)
            assert one.error.code == last
        else:
            assert one == Tagged(one.account, (one.account,))
