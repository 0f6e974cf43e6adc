"""The learning rate as a function of samples seen: its shape, its closed forms, and open_clip's schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip_train.scheduler import const_lr, const_lr_cooldown, cosine_lr

from mammut_clip.config.run import ScheduleConfig
from mammut_clip.train.schedule import learning_rate

PEAK = 1e-3


@st.composite
def schedules(draw: st.DrawFn, kinds: tuple[str, ...] = ("cosine", "const", "const_cooldown")) -> tuple:
    """A budget and a schedule that fits into it, as RunConfig would let it pass."""
    total = draw(st.integers(2, 10**11))
    kind = draw(st.sampled_from(kinds))
    warmup = draw(st.integers(0, total - 1))
    cooldown = draw(st.integers(1, total - warmup)) if kind == "const_cooldown" else 0
    return total, ScheduleConfig(kind=kind, warmup=warmup, cooldown=cooldown)


def steepest(total: int, schedule: ScheduleConfig) -> float:
    """An upper bound of the change of the rate from one sample to the next."""
    slopes = [0.0]
    if schedule.warmup:
        slopes.append(PEAK / schedule.warmup)
    if schedule.kind == "cosine":
        slopes.append(PEAK * math.pi / 2 / (total - schedule.warmup))
    if schedule.cooldown:
        slopes.append(PEAK / schedule.cooldown)
    return max(slopes)


def points_of(total: int, schedule: ScheduleConfig) -> list[int]:
    """Where one part meets the next, and around."""
    corners = (0, schedule.warmup, total - schedule.cooldown, total)
    return sorted({point for corner in corners for point in (corner - 1, corner, corner + 1) if 0 <= point <= total})


@given(schedules(), st.data())
def test_the_rate_never_jumps_and_stays_between_zero_and_its_peak(drawn: tuple, data: st.DataObject) -> None:
    total, schedule = drawn
    limit = steepest(total, schedule) + 1e-15
    for point in [*points_of(total, schedule), data.draw(st.integers(0, total))]:
        rate = learning_rate(point, total, PEAK, schedule)
        assert 0 <= rate <= PEAK
        if point < total:
            assert abs(learning_rate(point + 1, total, PEAK, schedule) - rate) <= limit


@given(schedules(), st.data())
def test_it_rises_to_the_peak_and_then_never_again(drawn: tuple, data: st.DataObject) -> None:
    total, schedule = drawn
    first, second = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    rates = [learning_rate(point, total, PEAK, schedule) for point in (first, second)]
    if second <= schedule.warmup:
        assert rates[0] <= rates[1]
    if first >= schedule.warmup:
        assert rates[0] >= rates[1]
    assert learning_rate(schedule.warmup, total, PEAK, schedule) == PEAK


@given(schedules(), st.data())
def test_warm_up_is_linear_from_zero(drawn: tuple, data: st.DataObject) -> None:
    total, schedule = drawn
    point = data.draw(st.integers(0, schedule.warmup))
    expected = PEAK * point / schedule.warmup if schedule.warmup else PEAK
    assert learning_rate(point, total, PEAK, schedule) == pytest.approx(expected, rel=1e-12)


@given(schedules(("cosine", "const_cooldown")), st.data())
def test_after_the_warm_up_it_follows_its_formula_down_to_zero(drawn: tuple, data: st.DataObject) -> None:
    total, schedule = drawn
    point = data.draw(st.integers(schedule.warmup, total))
    if schedule.kind == "cosine":  # SGDR, equation 5 with eta_min = 0, by the half-angle formula
        expected = PEAK * math.cos(math.pi / 2 * (point - schedule.warmup) / (total - schedule.warmup)) ** 2
    else:
        expected = PEAK * min(1, (total - point) / schedule.cooldown)
    assert learning_rate(point, total, PEAK, schedule) == pytest.approx(expected, rel=1e-6, abs=1e-15 * PEAK)
    assert learning_rate(total, total, PEAK, schedule) == 0


@given(schedules(("const_cooldown",)), st.integers(1, 10**11), st.data())
def test_up_to_the_cooldown_every_budget_has_the_same_rates(drawn: tuple, longer: int, data: st.DataObject) -> None:
    """So a run that is branched off a constant one equals a run that was to be cooled down from the start."""
    total, schedule = drawn
    constant = ScheduleConfig(kind="const", warmup=schedule.warmup)
    for point in (data.draw(st.integers(0, total - schedule.cooldown)), total - schedule.cooldown):
        rate = learning_rate(point, total, PEAK, schedule)
        assert rate == learning_rate(point, total + longer, PEAK, constant)
    assert learning_rate(total - schedule.cooldown + 1, total, PEAK, schedule) < PEAK


@given(schedules(), st.integers(2, 10**4), st.data())
def test_only_shares_of_the_budget_matter(drawn: tuple, factor: int, data: st.DataObject) -> None:
    total, schedule = drawn
    longer = ScheduleConfig(kind=schedule.kind, warmup=schedule.warmup * factor, cooldown=schedule.cooldown * factor)
    point = data.draw(st.integers(0, total))
    rate = learning_rate(point, total, PEAK, schedule)
    assert learning_rate(point * factor, total * factor, PEAK, longer) == pytest.approx(rate, rel=1e-9, abs=1e-24)
    assert learning_rate(point, total, 3 * PEAK, schedule) == pytest.approx(3 * rate, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 32, 4096])
@pytest.mark.parametrize("warmup", [0, 20])
def test_it_equals_open_clips_at_every_step_of_every_batch_size(batch: int, warmup: int) -> None:
    """open_clip's warm-up is one step ahead: its first step has 1 / warmup of the peak, ours 0."""
    steps, cooldown = 200, 60
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    theirs = {
        "cosine": cosine_lr(optimizer, PEAK, warmup, steps),
        "const": const_lr(optimizer, PEAK, warmup, steps),
        "const_cooldown": const_lr_cooldown(optimizer, PEAK, warmup, steps, cooldown),
    }
    for kind, reference in theirs.items():
        length = cooldown * batch if kind == "const_cooldown" else 0
        schedule = ScheduleConfig(kind=kind, warmup=warmup * batch, cooldown=length)
        ours = [learning_rate(step * batch, steps * batch, PEAK, schedule) for step in range(steps)]
        assert ours[:warmup] == pytest.approx([0, *(reference(step) for step in range(warmup - 1))][:warmup])
        assert ours[warmup:] == pytest.approx([reference(step) for step in range(warmup, steps)], rel=1e-9)


def test_cosine_equals_torch() -> None:
    schedule = ScheduleConfig(kind="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for step in range(100):
        assert learning_rate(step * 100, 10_000, PEAK, schedule) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        reference.step()
