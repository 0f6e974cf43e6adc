"""The update of a step: against PyTorch's own clipping and stepping, and with gradients that are not finite."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel
from mammut_clip.train.update import LossIsNotFiniteError, Update

ALONE = Process(0, 1, 0, torch.device("cpu"))


def config_of(optimizer: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": "toy-XS",
        "samples_seen": 60,
        "global_batch_size": 6,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3, **(optimizer or {})},
    }
    return validate(RunConfig, values | changes, "test")


def start(config: RunConfig) -> tuple[nn.Module, torch.optim.Optimizer, Update]:
    model = build_parallel(config.model.architecture, config, ALONE)
    optimizer = make_optimizer(model, config.optimizer)
    return model, optimizer, Update(model, optimizer, config, ALONE)


def give_gradients(model: nn.Module, seed: int, bad: float | None = None) -> None:
    """Random gradients of every parameter; in the last one of all, one is `bad`."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    if bad is not None:
        assert parameter.grad is not None
        parameter.grad.view(-1)[-1] = bad


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Copies of parameters and of the optimizer's state; some optimizers count steps in their groups."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    counts = [group["step"] for group in optimizer.param_groups if "step" in group]
    return [torch.as_tensor(value).detach().clone() for value in [*model.parameters(), *states, *counts]]


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "fused": {},
    "not clipped": {"clip_grad_norm": None},
    "asks": {"name": "lion"},
    "keeps no step count on a tensor": {"name": "lamb"},
}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_gradients_that_are_not_finite_change_nothing(options: dict[str, Any], bad: float) -> None:
    """Nor do they leave a trace: the steps after are those of a run that never met them."""
    config = config_of(options)
    model, optimizer, update = start(config)
    other_model, other_optimizer, other = start(config)
    for seed in (1, 2):
        for each, one in ((model, update), (other_model, other)):
            give_gradients(each, seed)
            one.apply(1e-3)
    before = everything(model, optimizer)
    give_gradients(model, 3, bad)
    norm = update.apply(1e-3)
    assert not norm.isfinite()
    assert all(parameter.grad is None for parameter in model.parameters())
    after = everything(model, optimizer)
    assert len(after) == len(before)
    assert all(torch.equal(new, old) for new, old in zip(after, before, strict=True))
    for each, one in ((model, update), (other_model, other)):
        give_gradients(each, 4)
        assert one.apply(1e-3).isfinite()
    for new, expected in zip(everything(model, optimizer), everything(other_model, other_optimizer), strict=True):
        assert torch.equal(new, expected)
    assert not any(torch.equal(new, old) for new, old in zip(model.parameters(), before, strict=False))


def test_a_first_step_that_is_skipped_leaves_the_second_a_first() -> None:
    config = config_of()
    model, optimizer, update = start(config)
    give_gradients(model, 1, math.nan)
    update.apply(1e-3)
    other_model, other_optimizer, other = start(config)
    for each, one in ((model, update), (other_model, other)):
        give_gradients(each, 2)
        one.apply(1e-3)
    for new, expected in zip(everything(model, optimizer), everything(other_model, other_optimizer), strict=True):
        assert torch.equal(new, expected)


@pytest.mark.parametrize("limit", [0.5, 1e9, None])
def test_clipping_and_step_are_those_of_pytorch(limit: float | None) -> None:
    config = config_of({"clip_grad_norm": limit, "weight_decay": 0.3})
    model, _, update = start(config)
    expected = copy.deepcopy(model)
    plain = make_optimizer(expected, config.optimizer)
    for seed, lr in ((1, 1e-3), (2, 3e-3)):
        for each in (model, expected):
            give_gradients(each, seed)
        norm = update.apply(lr)
        theirs = torch.nn.utils.clip_grad_norm_(expected.parameters(), math.inf if limit is None else limit)
        for group in plain.param_groups:
            group["lr"] = lr
        plain.step()
        assert norm.shape == ()
        assert torch.equal(norm, theirs)
        for ours, other in zip(model.parameters(), expected.parameters(), strict=True):
            assert torch.equal(ours, other)


@pytest.mark.parametrize(("gradient", "end"), [(-1.0, math.log(20)), (1.0, 0.0)])
def test_temperature_stays_in_its_range(gradient: float, end: float) -> None:
    model, _, update = start(config_of(loss={"max_logit_scale": 20}))
    for _ in range(40):
        model.logit_scale.grad = torch.full((1,), gradient)  # type: ignore[union-attr]
        update.apply(0.1)
    assert model.logit_scale.item() == pytest.approx(end, abs=1e-6)  # type: ignore[operator, union-attr]


def test_a_captioner_has_no_temperature() -> None:
    model, _, update = start(config_of(model="cap_toy-XS"))
    give_gradients(model, 1)
    assert update.apply(1e-3).isfinite()


def test_skipped_steps_are_counted() -> None:
    model, _, update = start(config_of())
    seen = []
    for step, bad in enumerate([None, math.nan, math.inf, None, math.nan]):
        give_gradients(model, step, bad)
        update.apply(1e-3)
        seen.append((update.in_a_row(), update.total_skipped))
        if step == 2:
            assert update.numbers() == [2.0]
    assert seen == [(0, 0), (1, 1), (2, 2), (0, 2), (1, 3)]
    assert update.numbers() == [1.0]
    assert update.numbers() == [0.0]
    assert update.row([1.0], 30, 2.0) == {"skipped_steps": 1}
    update.forget_streak()
    assert (update.in_a_row(), update.total_skipped) == (0, 3)


def test_one_rank_says_how_many_were_skipped() -> None:
    config = config_of()
    model = build_parallel(config.model.architecture, config, ALONE)
    second = Update(model, make_optimizer(model, config.optimizer), config, Process(1, 2, 0, torch.device("cpu")))
    give_gradients(model, 1, math.nan)
    second.apply(1e-3)
    assert second.total_skipped == 1
    assert second.numbers() == [0.0]


def test_the_error_says_when_and_what_helps() -> None:
    text = str(LossIsNotFiniteError(10, 1_280_000, " after 3 rewinds"))
    assert "10 steps before 1.28M samples seen" in text
    assert "after 3 rewinds; a lower optimizer.lr or a longer schedule.warmup" in text
