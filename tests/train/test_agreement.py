"""How often ranks ask each other."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.distributed import Process
from mammut_clip.train.agreement import Agreement

ALONE = Process(0, 1, 0, torch.device("cpu"))
ONE_OF_MANY = Process(0, 4, 0, torch.device("cpu"))


@given(st.lists(st.integers(0, 64), max_size=4), st.integers(0, 10**9), st.floats(0, 100))
def test_one_process_learns_of_its_flags_at_once(flags: list[int], step: int, seconds: float) -> None:
    agreement = Agreement(ALONE)
    agreement.pace(seconds)
    assert agreement.reached(step, *flags) == tuple(flags)


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 10**9))
def test_about_every_second_is_asked_but_at_least_every_8_steps(seconds: float, start: int) -> None:
    agreement = Agreement(ONE_OF_MANY)
    agreement.pace(seconds)
    # No group exists here, so that asking fails: the steps at which nobody asks give zeros.
    asked = [step for step in range(start, start + 17) if not silent(agreement, step)]
    every = asked[1] - asked[0]
    assert all(step % every == 0 for step in asked)
    if seconds < 0.5:
        assert 2 <= every <= 8
        assert every == 8 or 0.5 < every * seconds <= 1.0
    else:
        assert every == 1
    if math.isnan(seconds):
        assert every == 1


def silent(agreement: Agreement, step: int) -> bool:
    try:
        return agreement.reached(step, 3, 1) == (0, 0)
    except ValueError:  # "Default process group has not been initialized"
        return False


def test_every_step_is_asked_until_the_pace_is_known() -> None:
    agreement = Agreement(ONE_OF_MANY)
    assert not any(silent(agreement, step) for step in range(10))
