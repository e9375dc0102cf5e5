import random
from collections import Counter

from tagferry.emulator.asked import EXAMPLES, Asked


def test_against_counting_by_hand():
    chance = random.Random(1)
    asked, counts, again = Asked(), Counter(), []
    # Enough of them that tables grow several times.
    for _ in range(2000):
        batch = [f"user{chance.randrange(150_000)}" for _ in range(100)]
        for name in batch:
            counts[name] += 1
            if counts[name] == 2:
                again.append(name)
        asked.add(batch)
    assert (asked.times, asked.accounts) == (counts.total(), len(counts))
    assert asked.repeated == len(again)
    assert asked.examples == again[:EXAMPLES]


def test_the_same_one_three_times_is_one():
    asked = Asked()
    # The hash of nothing is zero, which is no place to be.
    asked.add(["", "a", "", "b", ""])
    assert (asked.times, asked.accounts, asked.repeated, asked.examples) == (5, 3, 1, [""])
