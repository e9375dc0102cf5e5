import asyncio
import random

import pytest

from tagferry.wire.turns import Turns

pytestmark = pytest.mark.anyio


async def test_two_urgent_ones_and_one_of_the_others_take_turns_and_each_lane_keeps_its_order():
    turns = Turns()
    urgent = [turns.join(urgent=True) for _ in range(3)]
    other = [turns.join(urgent=False) for _ in range(5)]
    called = [turns.call() for _ in range(8)]
    assert called == [*urgent[:2], other[0], urgent[2], *other[1:]]
    assert all(ticket.done() for ticket in called)
    assert turns.call() is None
    assert len(turns) == 0


@pytest.mark.parametrize(("urgent", "most"), [(True, 0), (False, 2)])
async def test_who_comes_to_an_empty_lane_waits_for_two_urgent_ones_at_most(urgent, most):
    turns = Turns()
    for _ in range(10):
        turns.join(urgent=not urgent)
    turns.call()
    late = turns.join(urgent=urgent)
    assert late in {turns.call() for _ in range(most + 1)}


async def test_who_leaves_is_not_called_and_is_told_whether_it_still_waited():
    turns = Turns()
    tickets = [turns.join(urgent=bool(number % 2)) for number in range(4)]
    assert turns.leave(tickets[0])
    assert not turns.leave(tickets[0])
    assert len(turns) == 3
    called = turns.call()
    assert called is not tickets[0]
    assert not turns.leave(called)


@pytest.mark.parametrize("seed", range(10))
async def test_whoever_stays_is_called_once_in_order_whatever_the_others_do(seed):
    chance, turns, waiting, called = random.Random(seed), Turns(), [], []
    joined = []
    for _ in range(500):
        match chance.choice(["join", "join", "leave", "call"]):
            case "join":
                ticket = turns.join(urgent=chance.random() < 0.5)
                waiting.append(ticket)
                joined.append(ticket)
            case "leave" if waiting:
                ticket = waiting.pop(chance.randrange(len(waiting)))
                ticket.cancel()
                assert turns.leave(ticket)
            case "call":
                ticket = turns.call()
                assert (ticket is None) == (not waiting)
                if ticket is not None:
                    waiting.remove(ticket)
                    called.append(ticket)
    while (ticket := turns.call()) is not None:
        waiting.remove(ticket)
        called.append(ticket)
    assert waiting == []
    assert len(set(called)) == len(called)


async def test_a_ticket_that_was_cancelled_but_has_not_left_yet_breaks_nobody():
    """Cancelling a task cancels what it awaits at once; the task leaves only when it runs again."""
    turns = Turns()

    async def wait(ticket):
        try:
            await ticket
        finally:
            turns.leave(ticket)

    tickets = [turns.join(urgent=False) for _ in range(3)]
    tasks = [asyncio.create_task(wait(ticket)) for ticket in tickets]
    await asyncio.sleep(0)
    tasks[0].cancel()
    called = [turns.call(), turns.call(), turns.call()]
    assert {*tickets[1:]} <= {*called}
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]
