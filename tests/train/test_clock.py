"""What is due when: every point of the clock is met once, whatever the batch."""

from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.train.clock import Clock


def walked(batch: int, steps: int) -> list[Clock]:
    """The clock after each step."""
    clocks = []
    for step in range(steps):
        clock = Clock(step * batch, steps * batch, batch)
        clock.advance()
        clocks.append(clock)
    return clocks


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 200))
def test_every_multiple_is_met_by_the_step_that_reaches_it(batch: int, steps: int, every: int) -> None:
    met = [clock.samples_seen for clock in walked(batch, steps) if clock.passes_multiple(every)]
    reached = {-(-point // batch) * batch for point in range(every, steps * batch + 1, every)}
    assert met == sorted(reached)


@given(st.integers(1, 60), st.integers(1, 40), st.lists(st.integers(1, 2000), max_size=8))
def test_every_point_is_met_by_the_step_that_reaches_it(batch: int, steps: int, points: list[int]) -> None:
    met = [clock.samples_seen for clock in walked(batch, steps) if clock.passes_any(points)]
    assert met == sorted({-(-point // batch) * batch for point in points if point <= steps * batch})


def test_the_end_and_the_number_of_the_step() -> None:
    clocks = walked(batch=64, steps=3)
    assert [clock.ended for clock in clocks] == [False, False, True]
    assert [clock.step for clock in clocks] == [1, 2, 3]
    assert not any(clock.passes_multiple(None) for clock in clocks)
