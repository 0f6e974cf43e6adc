import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.run import ScheduleConfig
from mammut_clip.train.schedule import learning_rate

TOTAL, PEAK = 10_000, 1e-3


@given(st.integers(0, TOTAL), st.sampled_from(["cosine", "const"]), st.integers(0, TOTAL))
def test_the_rate_stays_between_zero_and_its_peak(samples: int, kind: str, warmup: int) -> None:
    rate = learning_rate(samples, TOTAL, PEAK, ScheduleConfig(kind=kind, warmup=warmup))
    assert 0 <= rate <= PEAK * (1 + 1e-12)


def test_warm_up_is_linear_from_zero() -> None:
    schedule = ScheduleConfig(kind="const", warmup=1000)
    assert [learning_rate(s, TOTAL, PEAK, schedule) for s in (0, 250, 1000, 9999)] == [0, PEAK / 4, PEAK, PEAK]


def test_cosine_equals_torch() -> None:
    schedule = ScheduleConfig(kind="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for step in range(100):
        assert learning_rate(step * 100, TOTAL, PEAK, schedule) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        reference.step()


def test_cooldown_falls_linearly_to_zero() -> None:
    schedule = ScheduleConfig(kind="const_cooldown", cooldown=2000)
    rates = [learning_rate(s, TOTAL, PEAK, schedule) for s in (0, 8000, 9000, 10_000)]
    assert rates == pytest.approx([PEAK, PEAK, PEAK / 2, 0])
