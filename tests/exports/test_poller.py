"""Waiting for jobs, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import anyio
import pytest

from tagferry.errors import JobFailedError, RefusedError, ThrottledError, UnavailableError
from tagferry.events import Polled, UnknownStatus
from tagferry.exports.export import Export
from tagferry.exports.job import Job, JobReport, JobState
from tagferry.exports.poller import Poller
from tagferry.exports.schedule import PollSchedule
from tagferry.exports.service import ExportService
from tagferry.exports.slots import Admission, Slots
from tagferry.wire.backoff import Backoff
from tagferry.wire.limiter import Limiter
from tagferry.wire.message import Request
from tagferry.wire.quota import Quota, Rate
from tagferry.wire.retry import RetryBudget, RetryPolicy
from tests.virtual import VirtualClock, run_virtual

LINK = "https://gta.growingio.com/a.csv?sign=1"
FRESH = "https://gta.growingio.com/a.csv?sign=2"
DOING = JobReport(state=JobState.RUNNING)
DONE = JobReport(state=JobState.DONE, links=(LINK,))
EMPTY = JobReport(state=JobState.DONE)
LATER = JobReport(state=JobState.FAILED, error=JobFailedError("later", retryable=True))
FATAL = JobReport(state=JobState.FAILED, error=JobFailedError("no such tag"))
OUTAGE = UnavailableError("no answer")


class Service:
    """A fake service: answers in a row for each export, the last one for ever."""

    def __init__(
        self, *answers, schedule: PollSchedule | None = None, limiter: Limiter | None = None
    ) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str, bool]] = []
        self.events: list = []
        self.clock = VirtualClock()
        self.limiter = limiter
        chance = random.Random(3).random
        self.backend = ExportService(
            name="s",
            dialect="saas",
            ask_job=self.ask,
            transport=None,  # type: ignore[arg-type]
            private=False,
            schedule=schedule or PollSchedule(),
            backoff=Backoff(policy=RetryPolicy(), budget=RetryBudget(), clock=self.clock, chance=chance),
            stall_timeout=30,
            emit=self.events.append,
            writer="w",
        )
        self.poller = Poller(self.backend)

    async def wait(self, export, **options):
        return await self.poller.wait(export, Job(None, export.request), **options)

    async def renew(self, dead):
        export = self.export()
        return await self.poller.renew(export, Job(None, export.request), dead)

    async def ask(self, job, what, urgent):
        request = job.request
        if self.limiter is not None:
            async with self.limiter.permit(urgent=urgent):
                await anyio.sleep(0.02)
        else:
            await anyio.sleep(0.01)
        self.asked.append((anyio.current_time(), request.url, urgent))
        answer = self.reply(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reply(self, request):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def export(self, name: str = "x") -> Export:
        request = Request(operation="k", method="GET", url=f"https://api/{name}")
        return Export(
            service="s",
            kind="k",
            id=name,
            name=f"tag {name}",
            stem=f"k-{name}",
            ending=".csv",
            request=request,
            backend=self.backend,
            poller=self.poller,
        )


def wait(service: Service, name: str = "x"):
    return run_virtual(lambda: service.wait(service.export(name)))


@pytest.mark.parametrize(
    ("answers", "links", "asks"),
    [
        ([DOING, DOING, DONE], (LINK,), 3),
        ([DONE], (LINK,), 1),
        ([EMPTY], (), 3),
        ([EMPTY, EMPTY, DONE], (LINK,), 3),
        ([DOING, EMPTY, DOING, EMPTY, EMPTY], (), 5),
        ([LATER, DOING, LATER, DONE], (LINK,), 4),
        ([DOING, OUTAGE, ThrottledError("429"), DONE], (LINK,), 4),
        ([JobReport(state=JobState.RUNNING, unknown="DATA_READY"), DONE], (LINK,), 2),
    ],
)
def test_a_job_is_followed_to_its_end(answers, links, asks):
    service = Service(*answers)
    assert wait(service) == links
    assert len(service.asked) == asks
    states = [event.state for event in service.events if isinstance(event, Polled)]
    assert states[-1] == ("done" if links else "empty")
    assert service.poller._flights == {}


@pytest.mark.parametrize(
    ("answers", "asks"), [([FATAL], 1), ([DOING, FATAL], 2), ([LATER], 3), ([LATER, DOING, LATER, LATER], 4)]
)
def test_a_job_that_failed_raises_what_the_service_said(answers, asks):
    service = Service(*answers)
    with pytest.raises(JobFailedError):
        wait(service)
    assert len(service.asked) == asks
    assert service.events[-1].state == "failed"
    assert service.poller._flights == {}


def test_the_delays_are_those_of_the_schedule_and_bounded():
    service = Service(*[DOING] * 40, DONE)
    wait(service)
    slept = service.clock.slept
    assert len(slept) == 40
    assert all(1 <= delay <= 30 for delay in slept)
    assert all(after <= max(3 * before, 1) for before, after in itertools.pairwise(slept))
    assert max(slept) > 15
    assert [event.delay for event in service.events if event.delay is not None] == slept


def test_no_delay_is_much_longer_than_a_fifth_of_what_the_job_has_taken():
    service = Service(*[DOING] * 60, DONE)
    wait(service)
    age = 0.0
    for delay in service.clock.slept:
        assert delay <= max(3, 0.2 * age)
        age += delay + 0.01
    assert age > 150
    # And where the age allows more, the jitter uses it.
    assert max(service.clock.slept) > 20


def test_an_unknown_word_is_running_and_told_once():
    word = JobReport(state=JobState.RUNNING, unknown="DATA_READY")
    other = JobReport(state=JobState.RUNNING, unknown="READY")
    service = Service(word, word, other, word, DONE)
    wait(service)
    news = [event.word for event in service.events if isinstance(event, UnknownStatus)]
    assert news == ["DATA_READY", "READY"]


def test_an_outage_before_the_first_answer_is_raised():
    with pytest.raises(UnavailableError):
        wait(service := Service(OUTAGE))
    assert len(service.asked) == 1


def test_an_outage_after_the_first_answer_is_survived_for_as_long_as_it_lasts():
    service = Service(DOING, *[OUTAGE] * 200, DONE)
    assert wait(service) == (LINK,)
    assert len(service.asked) == 202


def test_a_refusal_is_raised_at_any_time():
    service = Service(DOING, RefusedError("no"))
    with pytest.raises(RefusedError):
        wait(service)


def test_only_the_first_question_is_urgent():
    service = Service(DOING, DOING, DONE)
    wait(service)
    assert [urgent for _, _, urgent in service.asked] == [True, False, False]


def test_equal_exports_in_flight_are_one_job():
    service = Service(*[DOING] * 5, DONE)

    async def main():
        return await asyncio.gather(*(service.wait(service.export()) for _ in range(20)))

    assert run_virtual(main) == [(LINK,)] * 20
    assert len(service.asked) == 6
    assert service.poller._flights == {}


def test_a_failure_is_told_to_everyone_who_waits_for_the_same_job_each_with_an_exception_of_its_own():
    service = Service(DOING, FATAL)

    async def main():
        waits = (service.wait(service.export()) for _ in range(5))
        return await asyncio.gather(*waits, return_exceptions=True)

    errors = run_virtual(main)
    assert [str(error) for error in errors] == ["no such tag"] * 5
    assert len({id(error) for error in errors}) == 5
    assert len(service.asked) == 2


def test_an_export_that_is_asked_for_later_is_asked_for_anew():
    service = Service(DONE)
    wait(service)
    wait(service)
    assert len(service.asked) == 2


@pytest.mark.parametrize("when", [0.0, 0.005, 1.0, 7.0])
def test_when_the_one_who_asks_is_cancelled_another_takes_over(when):
    service = Service(*[DOING] * 8, DONE)

    async def main():
        tasks = [asyncio.create_task(service.wait(service.export())) for _ in range(3)]
        await anyio.sleep(when)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        return done[1:]

    assert run_virtual(main) == [(LINK,)] * 2
    assert service.poller._flights == {}


def test_a_renewal_does_not_take_the_same_dead_link():
    service = Service(DONE, DONE, DOING, DONE, JobReport(state=JobState.DONE, links=(FRESH,)))
    assert run_virtual(lambda: service.renew(LINK)) == (FRESH,)
    assert len(service.asked) == 5
    assert all(urgent for _, _, urgent in service.asked)
    # Asking again does not make the service renew sooner, so it is not hammered.
    assert all(delay >= 1 for delay in service.clock.slept)


def test_a_renewal_that_finds_the_job_failed_or_empty_says_so():
    with pytest.raises(JobFailedError):
        run_virtual(lambda: Service(FATAL).renew(LINK))
    assert run_virtual(lambda: Service(EMPTY).renew(LINK)) == ()


def test_a_job_is_not_asked_about_while_enough_finished_ones_wait_for_a_place():
    service = Service(DONE)

    async def main():
        slots = Slots(1)
        async with anyio.create_task_group() as tasks:

            async def deliver(number):
                admission = Admission(slots)
                await service.wait(service.export(f"x{number}"), admission=admission)
                async with admission:
                    await anyio.sleep(100)

            for number in range(30):
                tasks.start_soon(deliver, number)
            await anyio.sleep(1)
            # One is being downloaded, eight know that they are done, and nobody else asks.
            assert len(service.asked) == 9
            await anyio.sleep(100)
            assert len(service.asked) == 10

    run_virtual(main)
    assert len(service.asked) == 30


@pytest.mark.parametrize("answer", [DOING, OUTAGE])
def test_a_job_that_is_not_done_holds_nobody_else_back(answer):
    service = Service(DOING, DOING, answer, DONE)

    async def main():
        slots = Slots(1)
        slots._free = 1
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                admission = Admission(slots)

                async def deliver(number=number, admission=admission):
                    try:
                        await service.wait(service.export(f"x{number}"), admission=admission)
                    except UnavailableError:
                        return
                    finally:
                        admission.done()

                tasks.start_soon(deliver)
        assert slots._free == 1

    run_virtual(main)


def test_a_cancelled_wait_for_an_admission_loses_none():
    async def main():
        slots = Slots(1)
        slots._free = 1
        first = Admission(slots)
        await first.ask(urgent=False)
        await first.ask(urgent=False)
        others = [Admission(slots) for _ in range(3)]
        tasks = [asyncio.create_task(other.ask(urgent=False)) for other in others]
        await asyncio.sleep(1)
        tasks[0].cancel()
        await asyncio.sleep(1)
        # The second one is called and cancelled in the same moment.
        first.done()
        tasks[1].cancel()
        await asyncio.wait_for(tasks[2], 5)
        others[2].done()
        others[2].done()
        assert slots._free == 1
        assert [task.cancelled() for task in tasks] == [True, True, False]

    run_virtual(main)


class ManyJobs(Service):
    """A thousand jobs that never end, and one that is done at its third answer."""

    counts: Counter[str]

    def reply(self, request):
        self.counts[request.url] += 1
        return DONE if request.url.endswith("new") and self.counts[request.url] >= 3 else DOING


def test_a_thousand_old_jobs_do_not_starve_a_new_one():
    clock = VirtualClock()
    service = ManyJobs(limiter=Limiter(Quota(Rate(2)), clock))
    service.counts = Counter()
    times: dict[str, float] = {}

    async def main():
        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(service.wait, service.export(f"old{number}"))
            await anyio.sleep(1500)
            times["begun"] = anyio.current_time()
            await service.wait(service.export("new"))
            times["done"] = anyio.current_time()
            tasks.cancel_scope.cancel()

    run_virtual(main)
    asked = [at for at, url, _ in service.asked if url.endswith("new")]
    assert asked[0] - times["begun"] < 3, "a first question waits behind re-polls"
    # At 2/s a round of all takes 1000 / 2 s; a cap on the delay comes on top.
    round_trip = 1001 / 1.9 + 30
    assert asked[2] - times["begun"] < 2 * round_trip + 3
    assert min(service.counts[f"https://api/old{number}"] for number in range(1000)) >= 2
    # And the promise of the limiter holds meanwhile.
    stamps = sorted(at for at, _, _ in service.asked)
    assert all(later - early > 1 for early, later in zip(stamps, stamps[2:], strict=False))
