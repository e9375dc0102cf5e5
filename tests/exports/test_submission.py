"""Jobs are made once, whatever becomes of the answer and of the process, and what is written down is true."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tagferry import download_all
from tagferry.errors import DiskError, RefusedError, SubmitUnknownError, UnavailableError
from tagferry.events import Attached, Submitted
from tagferry.exports import submission as module
from tagferry.exports.job import Job
from tagferry.exports.record import Submission
from tagferry.exports.submission import Submissions
from tagferry.wire.message import Request
from tests.exports import cdp_world, test_cancel
from tests.exports.cdp_world import open_cdp
from tests.virtual import run_virtual

UNKNOWN = Submission()
"""What is written down while no answer is known."""


def lost():
    return SubmitUnknownError("whether it has begun is not known: cut", service="s", hint="look there")


class Book:
    """A record in memory; `held` keeps the writing threads waiting, `broken` makes them fail."""

    def __init__(self, submission=None):
        self.submission = submission
        self.notes = []
        self.broken = ()

    def note_submission(self, submission):
        if submission in self.broken:
            raise DiskError("cannot write the record", code="ENOSPC")
        self.notes.append(submission)
        self.submission = submission


class Late(float):
    """Seconds after which the answer is lost."""


class Service:
    """Makes jobs as it is told: "ok", "lost", "refused", "connect", or a number of seconds to take for it."""

    def __init__(self, *plan, most=100):
        self.plan = list(plan)
        self.arrived = 0
        self.events = []
        self.books_at_arrival = []
        self.submissions = Submissions("s", self.post, self.attach, most)

    def export(self, digest="d", job_id=None):
        backend = SimpleNamespace(emit=self.events.append)
        return SimpleNamespace(
            digest=digest, job_id=job_id, kind="k", id="x", name="tag x", backend=backend, book=None
        )

    async def post(self, export, intent):
        step = self.plan.pop(0) if self.plan else "ok"
        if step == "wait":
            await asyncio.sleep(100)  # for its turn
        await intent.declare()
        self.books_at_arrival.append(export.book.submission if export.book else None)
        if step == "connect":
            await intent.withdraw()
            raise UnavailableError("refused", code="connect")
        self.arrived += 1
        job_id = f"j{self.arrived}"
        if not isinstance(step, str):
            await asyncio.sleep(step)
        if step == "lost" or isinstance(step, Late):
            raise lost()
        if step == "refused":
            await intent.withdraw()
            raise RefusedError("no such key")
        return job_id

    def attach(self, export, job_id):
        return Job(job_id, Request(operation="k", method="GET", url=f"http://h/{job_id}"))

    async def job(self, export, book=None, **options):
        export.book = book
        return (await self.submissions.job(export, book, **options)).id


def test_a_job_is_made_once_and_written_down_before_and_after():
    service, book = Service(), Book()

    async def main():
        export = service.export()
        assert [await service.job(export, book) for _ in range(3)] == ["j1"] * 3

    run_virtual(main)
    assert service.arrived == 1
    assert service.books_at_arrival == [UNKNOWN]
    assert book.notes == [UNKNOWN, Submission("j1")]
    assert service.events == [Submitted(kind="k", id="x", job_id="j1")]


def test_a_job_without_a_book_is_made_once_in_the_life_of_a_client():
    service = Service()

    async def main():
        assert [await service.job(service.export()) for _ in range(3)] == ["j1"] * 3
        assert await service.job(service.export("other")) == "j2"

    run_virtual(main)
    assert service.arrived == 2


@pytest.mark.parametrize("found", [None, UNKNOWN, Submission("older")])
def test_a_job_that_is_attached_to_is_written_down_and_none_is_made(found):
    service, book = Service(), Book(found)

    async def main():
        export = service.export(job_id="given")
        assert await service.job(export, book) == "given"
        assert await service.job(export, book) == "given"
        assert await service.job(export) == "given"

    run_virtual(main)
    assert book.notes == [Submission("given")]
    assert service.arrived == 0


def test_a_job_of_an_earlier_run_is_taken_up():
    service, book = Service(), Book(Submission("older"))
    assert run_virtual(lambda: service.job(service.export(), book)) == "older"
    assert (service.arrived, book.notes) == (0, [])
    assert service.events == [Attached(kind="k", id="x", job_id="older")]


@pytest.mark.parametrize("anew", [False, True])
def test_what_is_not_known_since_an_earlier_run_is_said_and_nothing_is_sent(anew):
    # Whoever wants another one gives a book in which nothing is written.
    service, book = Service(), Book(UNKNOWN)

    async def main():
        for _ in range(2):
            with pytest.raises(
                SubmitUnknownError, match="export tag x is not known, since an earlier run"
            ) as e:
                await service.job(service.export(), book, anew=anew)
            assert "--job ID (attach)" in e.value.hint
            assert "--no-resume (resume=False)" in e.value.hint
            assert e.value.service == "s"

    run_virtual(main)
    assert (service.arrived, book.notes) == (0, [])


@pytest.mark.parametrize(("step", "error"), [("refused", RefusedError), ("connect", UnavailableError)])
def test_a_submission_that_came_to_nothing_is_struck_out_and_may_be_made_again(step, error):
    service, book = Service(step), Book()

    async def main():
        with pytest.raises(error):
            await service.job(service.export(), book)
        assert book.submission is None
        assert await service.job(service.export(), book)

    run_virtual(main)
    assert book.notes[:2] == [UNKNOWN, None]


def test_a_submission_without_a_book_that_came_to_nothing_may_be_made_again():
    service = Service("connect", "refused")

    async def main():
        with pytest.raises(UnavailableError):
            await service.job(service.export())
        with pytest.raises(RefusedError):
            await service.job(service.export())
        assert await service.job(service.export()) == "j2"

    run_virtual(main)


def test_a_lost_answer_is_said_at_once_and_again_until_somebody_settles_it():
    service, book = Service("lost"), Book()

    async def main():
        with pytest.raises(SubmitUnknownError, match="cut") as first:
            await service.job(service.export(), book)
        assert "--no-resume" in first.value.hint
        with pytest.raises(SubmitUnknownError, match="earlier run"):
            await service.job(service.export(), book)
        assert await service.job(service.export(job_id="j1"), book) == "j1"
        assert await service.job(service.export(), book) == "j1"

    run_virtual(main)
    assert service.arrived == 1
    assert book.notes == [UNKNOWN, Submission("j1")]


def test_without_a_book_a_lost_answer_is_said_and_who_asks_again_wants_another_one():
    service = Service("lost")

    async def main():
        with pytest.raises(SubmitUnknownError) as caught:
            await service.job(service.export())
        assert caught.value.hint == "look there"
        assert await service.job(service.export()) == "j2"

    run_virtual(main)


def test_equal_exports_at_the_same_time_are_one_job():
    service, books = Service(5), [Book() for _ in range(5)]

    async def main():
        found = await asyncio.gather(*(service.job(service.export(), book) for book in books))
        assert found == ["j1"] * 5

    run_virtual(main)
    assert service.arrived == 1
    assert [book.submission for book in books] == [Submission("j1")] * 5
    assert [book.notes for book in books[1:]] == [[Submission("j1")]] * 4
    assert service.submissions._queues == {}


def test_a_lost_answer_is_said_to_all_who_wanted_the_job_at_that_time():
    service, books = Service("lost"), [Book(), Book(), Book(Submission("older")), Book()]

    async def main():
        jobs = [service.job(service.export(), book) for book in books]
        return await asyncio.gather(*jobs, service.job(service.export()), return_exceptions=True)

    *first, fourth, fifth = run_virtual(main)
    assert service.arrived == 1
    # The third one has a job of its own.
    assert first[2] == "older"
    errors = [*first[:2], fourth, fifth]
    assert [type(error) for error in errors] == [SubmitUnknownError] * 4
    assert len({id(error) for error in errors}) == 4
    # Only who has asked has something to settle.
    assert [book.submission for book in books] == [UNKNOWN, None, Submission("older"), None]


def test_one_who_waits_for_the_job_of_another_may_be_stopped():
    service = Service(10)

    async def main():
        first = asyncio.create_task(service.job(service.export()))
        second = asyncio.create_task(service.job(service.export()))
        third = asyncio.create_task(service.job(service.export()))
        await asyncio.sleep(1)
        second.cancel()
        assert await asyncio.gather(first, third) == ["j1", "j1"]
        assert second.cancelled()

    run_virtual(main)
    assert service.arrived == 1
    assert service.submissions._queues == {}


# Stopped ----------------------------------------------------------------------------------------------


async def stop(service, export, book=None, after=1.0, times=1):
    """Stop the making of a job after some seconds; return how long the end took."""
    task = asyncio.create_task(service.job(export, book))
    await asyncio.sleep(after)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not task.done():
        if times:
            task.cancel()
            times -= 1
        await asyncio.wait([task], timeout=0.5)
    with pytest.raises(asyncio.CancelledError):
        await task
    return loop.time() - began


@pytest.mark.parametrize("book", [None, Book()])
def test_who_waits_for_his_turn_stops_at_once_and_has_sent_nothing(book):
    service = Service("wait")

    async def main():
        assert await stop(service, service.export(), book) == 0
        assert book is None or (book.submission is None and book.notes == [])
        assert await service.job(service.export(), book) == "j1"

    run_virtual(main)


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("booked", [True, False])
def test_an_answer_that_comes_soon_is_still_taken_when_the_work_is_stopped(times, booked):
    service, book = Service(3.5), Book() if booked else None

    async def main():
        assert await stop(service, service.export(), book, after=1, times=times) == pytest.approx(2.5)
        assert await service.job(service.export(), book) == "j1"

    run_virtual(main)
    assert service.arrived == 1
    assert book is None or book.notes == [UNKNOWN, Submission("j1")]


@pytest.mark.parametrize("times", [1, 20])
def test_an_answer_that_does_not_come_is_not_waited_for_and_then_nobody_knows(times):
    service, book = Service(60), Book()

    async def main():
        assert await stop(service, service.export(), book, times=times) == pytest.approx(module._GRACE)
        assert book.submission == UNKNOWN
        assert len(asyncio.all_tasks()) == 1
        with pytest.raises(SubmitUnknownError, match="earlier run"):
            await service.job(service.export(), book)

    run_virtual(main)
    assert service.arrived == 1


@pytest.mark.parametrize("step", [60, Late(2)])
def test_who_was_stopped_in_mid_air_is_told_so_once(step):
    service = Service(step)

    async def main():
        await stop(service, service.export())
        with pytest.raises(SubmitUnknownError, match="stopped before the answer came") as caught:
            await service.job(service.export())
        assert "attach" in caught.value.hint
        assert service.arrived == 1
        # Told, he wants another one.
        assert await service.job(service.export()) == "j2"

    run_virtual(main)


@pytest.mark.parametrize("way", ["another book", "anew", "attached"])
def test_what_was_stopped_in_mid_air_is_not_made_again_unseen_in_another_directory(way):
    service, book = Service(60), Book()

    async def main():
        await stop(service, service.export(), Book())
        match way:
            case "another book":
                with pytest.raises(SubmitUnknownError, match="stopped before"):
                    await service.job(service.export(), book)
                assert book.notes == []
            case "anew":
                assert await service.job(service.export(), book, anew=True) == "j2"
            case "attached":
                assert await service.job(service.export(job_id="j1"), book) == "j1"

    run_virtual(main)
    assert service.arrived == 1 + (way == "anew")


def test_equal_exports_are_told_when_the_one_who_asked_for_all_is_stopped():
    service = Service(60)

    async def main():
        first = asyncio.create_task(service.job(service.export()))
        second = asyncio.create_task(service.job(service.export()))
        await asyncio.sleep(1)
        first.cancel()
        with pytest.raises(SubmitUnknownError, match="stopped before"):
            await second
        assert first.cancelled()

    run_virtual(main)
    assert service.arrived == 1


def test_equal_exports_go_on_when_the_one_who_asked_for_all_is_stopped_before_it_was_sent():
    service = Service("wait")

    async def main():
        first = asyncio.create_task(service.job(service.export()))
        second = asyncio.create_task(service.job(service.export()))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == "j1"

    run_virtual(main)


@pytest.mark.parametrize("times", [1, 2])
def test_stopped_while_the_intent_is_written_nothing_is_sent_and_it_is_struck_out(times):
    service, book = Service(), Book()

    async def main():
        held, write = asyncio.Event(), book.note_submission
        loop, gate = asyncio.get_running_loop(), anyio.Event()

        def note(submission):
            if submission == UNKNOWN:
                loop.call_soon_threadsafe(held.set)
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            write(submission)

        book.note_submission = note
        task = asyncio.create_task(service.job(service.export(), book))
        await held.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert service.arrived == 0
    assert book.notes == [UNKNOWN, None]
    assert service.submissions._untold == set()


def test_a_work_group_that_ends_gets_its_cancellation_back():
    service = Service(60, 60)

    async def main():
        with anyio.move_on_after(1) as scope:
            await service.job(service.export())
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await service.job(service.export("other"))

    run_virtual(main)


def test_a_task_that_is_cancelled_from_outside_is_no_lost_task():
    """At its end `asyncio.run` cancels every task, also the one that makes the job."""
    service, book = Service(60), Book()

    async def main():
        task = asyncio.create_task(service.job(service.export(), book))
        await asyncio.sleep(1)
        for one in asyncio.all_tasks() - {asyncio.current_task()}:
            one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert book.submission == UNKNOWN


# Stopped at every await, over real sockets ------------------------------------------------------------


async def settle_and_finish(world, key):
    """Do what a user does after a run that was stopped, in a new process: it ends with a whole file.

    Returns:
        What was written down of the job; "done" if its file was there.
    """
    done = (world.out / f"growingio-cdp-tag-{key}.csv").exists()
    found = "done" if done else world.check_truth(key)
    async with world.client_of() as client:
        tag = client.tag_users(key)
        if found == UNKNOWN:
            before = len(world.emulator.seen)
            with pytest.raises(SubmitUnknownError):
                await tag.download(world.out, if_exists="skip")
            assert len(world.emulator.seen) == before
            if jobs := world.jobs(key):
                tag = client.attach(jobs[0], tag)
            world.check_tag(await tag.download(world.out, resume=bool(jobs)), key)
        else:
            world.check_tag(await tag.download(world.out, if_exists="skip"), key)
    assert len(world.jobs(key)) == 1
    return found


def order_faults(world, key):
    """What makes a run long: a job that is refused at first, is on its way for a while, and breaks off."""
    world.emulator.faults.clear()
    world.order("status=429", "delay=0.003", operation=f"{cdp_world.SUBMIT}:{key}")
    world.order("status=500", "status-word=RUNNING", operation=f"{cdp_world.POLL}:{key}")
    world.order("cut@300", operation=f"{cdp_world.DOWNLOAD}:{key}")


@pytest.mark.anyio
@pytest.mark.parametrize("grace", [3.0, 0.0])
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
async def test_a_cancellation_at_any_await_of_a_run_leaves_a_record_that_is_true(
    tmp_path, monkeypatch, grace, every
):
    monkeypatch.setattr(module, "_GRACE", grace)
    async with open_cdp(tmp_path) as world:
        order_faults(world, "tag_00004")
        total = await test_cancel.run(world.tag("tag_00004").download(world.out))
        assert total > 20
        for at in range(1, total + 1, every):
            key = f"tag_{at + 4:05d}"
            order_faults(world, key)
            await test_cancel.run(world.tag(key).download(world.out), at)
            world.emulator.faults.clear()
            await settle_and_finish(world, key)


@pytest.mark.anyio
async def test_a_cancellation_at_any_await_of_the_making_itself_leaves_a_record_that_is_true(
    tmp_path, monkeypatch
):
    real = Submissions._make
    steps = []

    async def make(submissions, export, making):
        one = test_cancel.Steps(real(submissions, export, making), at)
        steps.append(one)
        return await one

    monkeypatch.setattr(Submissions, "_make", make)
    async with open_cdp(tmp_path) as world:
        outcomes = set()
        for at in itertools.count(1):
            key = f"tag_{at + 4:05d}"
            order_faults(world, key)
            with suppress(asyncio.CancelledError):
                await world.tag(key).download(world.out)
            world.emulator.faults.clear()
            with monkeypatch.context() as patch:
                patch.setattr(Submissions, "_make", real)
                found = await settle_and_finish(world, key)
            outcomes.add("known" if isinstance(found, Submission) and found.job_id else found)
            if steps[-1].taken < at:
                break
        # And it may be known, when the stop came as its id was written.
        assert outcomes >= {None, UNKNOWN, "done"}
        assert at > 6


@pytest.mark.anyio
@pytest.mark.parametrize("grace", [3.0, 0.0])
@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.soak)])
async def test_a_cancellation_at_any_moment_of_many_leaves_records_that_are_true(
    tmp_path, monkeypatch, grace, rounds
):
    monkeypatch.setattr(module, "_GRACE", grace)
    dice = random.Random(20261124)
    async with open_cdp(tmp_path, replace(cdp_world.FAST, latency=0.004, jitter=0.004)) as world:

        async def fetch(tags):
            async with download_all(tags, world.out) as outcomes:
                return [outcome async for outcome in outcomes]

        tags = world.tags(5 * rounds)
        for round_ in range(rounds):
            some = tags[5 * round_ : 5 * round_ + 5]
            for tag in some:
                order_faults(world, tag.id)
            task = asyncio.create_task(fetch(some))
            await asyncio.sleep(dice.uniform(0, 0.12))
            for _ in range(dice.randrange(1, 3)):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            world.emulator.faults.clear()
            for tag in some:
                await settle_and_finish(world, tag.id)
        assert set(world.emulator.cdp.made.values()) == {1}


# The disk ---------------------------------------------------------------------------------------------


def test_what_cannot_be_written_down_is_not_sent():
    service, book = Service(), Book()
    book.broken = (UNKNOWN,)
    with pytest.raises(DiskError):
        run_virtual(lambda: service.job(service.export(), book))
    assert (service.arrived, book.notes) == (0, [])


def test_a_job_that_cannot_be_written_down_is_told_by_its_id():
    service, book = Service(), Book()
    book.broken = (Submission("j1"),)

    async def main():
        with pytest.raises(DiskError) as caught:
            await service.job(service.export(), book)
        assert "--job j1" in caught.value.hint
        assert book.submission == UNKNOWN
        book.broken = ()
        assert await service.job(service.export(), book) == "j1"

    run_virtual(main)
    assert service.arrived == 1
    assert service.events == [Submitted(kind="k", id="x", job_id="j1")]


def test_a_job_of_no_more_use_is_forgotten_but_not_a_newer_one():
    service, book = Service(), Book()

    async def main():
        export = service.export()
        first = await service.submissions.job(export, book)
        await service.submissions.forget(export, first, book)
        assert book.submission is None
        second = await service.submissions.job(export)
        assert second.id == "j2"
        # Somebody else had the first one for longer.
        await service.submissions.forget(export, first)
        assert await service.submissions.job(export) == second

    run_virtual(main)
    assert service.arrived == 2


def test_places_bound_how_many_jobs_are_under_way():
    service = Service(most=3)

    async def main():
        for _ in range(3):
            await service.submissions.places.acquire()
        with pytest.raises(anyio.WouldBlock):
            service.submissions.places.acquire_nowait()

    run_virtual(main)


# Everything that can happen, in any order ----------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


class Ledger(RuleBasedStateMachine):
    """Runs over one record, with crashes at every step; a user settles what is not known.

    The service has one job for each POST that arrived. What a run believes is what is written down.
    """

    def __init__(self):
        super().__init__()
        self.written = None  # survives every crash
        self.jobs = []
        self.allowed = 1  # jobs that somebody wanted
        self.arrived_unseen = False
        self.told = False

    @initialize()
    def start(self):
        self.restart()

    def restart(self):
        self.service = Service()
        self.service.post = self.post
        self.service.submissions = Submissions("s", self.post, self.service.attach, 10)

    @property
    def submission(self):
        return self.written

    def note_submission(self, submission):
        if self.fate == "crash before a note" or (
            self.fate == "crash before the id" and submission != UNKNOWN
        ):
            raise Crash
        self.written = submission
        if self.fate == "crash after the intent" or (
            self.fate == "crash after the id" and submission != UNKNOWN
        ):
            raise Crash

    async def post(self, export, intent):
        if self.fate == "stop before":
            raise asyncio.CancelledError
        await intent.declare()
        # Intent precedes POST.
        assert self.written == UNKNOWN
        if self.fate == "not sent":
            await intent.withdraw()
            raise UnavailableError("refused", code="connect")
        if self.fate == "refused":
            await intent.withdraw()
            raise RefusedError("no")
        if self.fate == "lost before it came":
            raise lost()
        self.jobs.append(f"j{len(self.jobs) + 1}")
        if self.fate == "lost":
            raise lost()
        if self.fate == "crash in the air":
            raise Crash
        if self.fate == "stop in the air":
            raise asyncio.CancelledError
        return self.jobs[-1]

    FATES = (
        "ok",
        "crash before a note",
        "crash after the intent",
        "crash in the air",
        "crash before the id",
        "crash after the id",
        "stop before",
        "stop in the air",
        "lost",
        "lost before it came",
        "refused",
        "not sent",
    )

    @rule(fate=st.sampled_from(FATES), again=st.integers(1, 3))
    def run(self, fate, again):
        self.fate = fate
        for _ in range(again):
            before, sent = self.written, len(self.jobs)
            try:
                job_id = run_virtual(lambda: self.service.job(self.service.export(), self))
            except SubmitUnknownError:
                # Said again and again, and nothing sent.
                assert before is None or (before == UNKNOWN == self.written and len(self.jobs) == sent)
            except (Crash, asyncio.CancelledError):
                self.restart()
            except (RefusedError, UnavailableError):
                assert self.written is None
                assert len(self.jobs) == sent
            else:
                # A run that succeeds again sends nothing again: replay is idempotent.
                assert self.written == Submission(job_id)
                assert job_id in self.jobs
                assert len(self.jobs) == sent or before is None

    @rule()
    def attach(self):
        """The user looks at the service, finds the job, and says so."""
        self.fate = "ok"
        if self.written == UNKNOWN and self.jobs:
            run_virtual(lambda: self.service.job(self.service.export(job_id=self.jobs[-1]), self))
            assert self.written == Submission(self.jobs[-1])

    @rule()
    def begin_anew(self):
        """The user has been told and wants another one: what is written down goes."""
        if self.written == UNKNOWN:
            self.written = None
            self.restart()
            self.allowed += 1

    @rule()
    def finish(self):
        """The files of the job are there: the record goes."""
        self.fate = "ok"
        if self.written is not None and self.written.job_id is not None:
            export = self.service.export()
            job = self.service.attach(export, self.written.job_id)
            run_virtual(lambda: self.service.submissions.forget(export, job, self))
            self.allowed += 1

    @invariant()
    def no_job_too_many(self):
        assert len(self.jobs) <= self.allowed

    @invariant()
    def what_is_written_down_is_true(self):
        if self.written is not None and self.written.job_id is not None:
            assert self.written.job_id in self.jobs
        if self.written is None and len(self.jobs) == self.allowed:
            raise AssertionError(f"forgotten: {self.jobs}")


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
