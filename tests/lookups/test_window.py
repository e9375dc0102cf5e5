import asyncio

import pytest

from tagferry.lookups.watermark import Watermark
from tagferry.lookups.window import Window
from tests.virtual import run_virtual


def test_what_is_near_enough_goes_at_once_and_the_rest_when_the_slowest_moves():
    async def main():
        window = Window(Watermark(), 3)
        gone = []

        async def go(number):
            await window.wait(number)
            gone.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(go(number))
            await asyncio.sleep(1)
            assert gone == [0, 1, 2]
            window.done(1)
            window.done(2)
            await asyncio.sleep(1)
            # Only the slowest one counts.
            assert gone == [0, 1, 2]
            window.done(0)
            await asyncio.sleep(1)
            assert gone == [0, 1, 2, 3, 4, 5]
            assert window.marks.low == 3

    run_virtual(main)


def test_one_that_was_cancelled_holds_up_nobody():
    async def main():
        window = Window(Watermark(), 1)
        tasks = [asyncio.create_task(window.wait(1)) for _ in range(3)]
        await asyncio.sleep(1)
        tasks[0].cancel()
        window.done(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]

    run_virtual(main)


def test_when_the_slowest_never_moves_the_rest_waits():
    with pytest.raises(TimeoutError):
        run_virtual(lambda: Window(Watermark(5), 2).wait(7), limit=1000)
    run_virtual(lambda: Window(Watermark(5), 2).wait(6))
