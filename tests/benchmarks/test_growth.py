"""What one more costs."""

from benchmarks.figures import Usage
from benchmarks.growth import Size, Step, aims_of


def size(count, cpu, megabytes=50):
    return Size(count, "exports", [Usage(1.0, used, megabytes * 1e6) for used in cpu])


IMPORTS = Size(0, "", [Usage(0.2, 0.2, 40e6)])


def test_one_more_is_the_difference_of_medians_over_that_of_sizes():
    step = Step(size(10, [1.0, 9.0, 2.0]), size(110, [4.0, 3.0, 99.0], megabytes=51))
    assert step.cpu == 0.02
    assert step.memory == 10_000
    assert (step.before.text, step.after.text, IMPORTS.text) == (
        "10 exports",
        "110 exports",
        "the imports alone",
    )


def test_an_aim_compares_each_step_with_the_one_before_and_names_the_peak():
    sizes = [IMPORTS, size(10, [0.3]), size(1000, [10.2]), size(10_000, [200.2], megabytes=151)]
    steps = list(map(Step, sizes, sizes[1:]))
    found = [(aim.verdict, round(aim.value, 2)) for aim in aims_of([steps], judged=True)]
    assert found == [("met", 1.0), ("MISSED", 2.11), ("MISSED", 151.0)]
    assert {aim.verdict for aim in aims_of([steps], judged=False)} == {"not judged"}


def test_a_step_that_took_less_than_nothing_is_not_compared_with():
    sizes = [IMPORTS, size(10, [0.1]), size(100, [10.0])]
    assert aims_of([list(map(Step, sizes, sizes[1:]))], judged=True) == []
