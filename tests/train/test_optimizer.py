"""Which parameters decay, and every optimizer that a config can name: it works as configured or is refused in time."""

import copy
from typing import Any

import pytest
import torch
from timm.optim import list_optimizers
from torch import Tensor, nn

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import OptimizerConfig
from mammut_clip.models import build_model
from mammut_clip.models.build import build_empty
from mammut_clip.train.optimizer import check_optimizer, make_optimizer, parameter_groups

FAMILIES = ["toy-XS", "toy-XS-SigLIP", "mammut_toy-XS", "coca_toy-XS", "cap_toy-XS"]


@pytest.mark.parametrize("name", FAMILIES)
def test_weight_decay_is_for_matrices_only(name: str) -> None:
    model = build_model(load_model_config(name))
    decayed, spared = make_optimizer(model, OptimizerConfig(lr=1e-3, weight_decay=0.2)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in spared["params"])
    assert (decayed["lr"], spared["lr"]) == (1e-3, 1e-3)
    assert sorted(map(id, decayed["params"] + spared["params"])) == sorted(map(id, model.parameters()))
    if model.config.has_features:
        assert any(p is model.logit_scale for p in spared["params"])


def names_of(model: nn.Module, group: dict[str, Any]) -> set[str]:
    inside = {id(p) for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in inside}


def open_clip_spares(name: str, parameter: Tensor) -> bool:
    """open_clip_train.main's rule."""
    return parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-SigLIP", "mammut_ViT-B-32", "coca_ViT-B-32"])
def test_published_models_decay_as_in_open_clip(name: str) -> None:
    model = build_empty(load_model_config(name))
    _, spared = parameter_groups(model, 0.2)
    assert names_of(model, spared) == {key for key, p in model.named_parameters() if open_clip_spares(key, p)}


def test_biases_and_norms_of_more_dimensions_and_frozen_parameters() -> None:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm([2, 3])
            self.relative_position_bias_table = nn.Parameter(torch.zeros(4, 2))
            self.unbiased = nn.Linear(3, 3, bias=False)
            self.frozen = nn.Linear(3, 3, bias=False).requires_grad_(False)

    tower = Tower()
    decayed, spared = parameter_groups(tower, 0.1)
    assert names_of(tower, decayed) == {"unbiased.weight"}
    assert names_of(tower, spared) == {"norm.weight", "norm.bias", "relative_position_bias_table"}


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(6, 5), nn.LayerNorm(5), nn.Embedding(7, 6))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range, lr: float = 1e-3) -> Tensor:
    """Parameters after a step with random gradients for each seed, at a learning rate set from outside."""
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = 1e-2 * torch.randn(parameter.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_adamw_is_the_papers() -> None:
    """Two steps of one matrix and one vector, by the formulas of Loshchilov and Hutter (2019)."""
    config = OptimizerConfig(lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.3)
    model = nn.Linear(3, 2).double()
    optimizer = make_optimizer(model, config)
    expected = {}
    for name, decay in (("weight", 0.3), ("bias", 0.0)):
        x = getattr(model, name).detach().clone()
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for step in (1, 2):
            gradient = torch.full_like(x, 0.1 * step)
            first, second = 0.9 * first + 0.1 * gradient, 0.95 * second + 0.05 * gradient**2
            x = x * (1 - 1e-2 * decay)
            x = x - 1e-2 * (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-6)
        expected[name] = x
    for step in (1, 2):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1 * step)
        optimizer.step()
    for name, value in expected.items():
        torch.testing.assert_close(getattr(model, name).detach(), value)


@pytest.mark.parametrize("name", sorted({"adamw", *list_optimizers()}))
def test_an_optimizer_is_refused_in_time_or_steps_and_resumes(name: str) -> None:
    config = OptimizerConfig(name=name, lr=1e-3, weight_decay=0.1)
    try:
        check_optimizer(config, "a.yaml")
    except ConfigError as error:
        assert f"optimizer.name = '{name}': " in str(error)
        assert "a.yaml" in str(error)
        assert name.startswith(("fused", "bnb", "kron", "adahessian")), "and no others"
        return
    model = small_model()
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    optimizer = make_optimizer(model, config)
    still = steps(model, optimizer, range(1), lr=0.0)  # the first step of a warm-up
    assert (still - start).abs().max() < 1e-6
    steps(model, optimizer, range(1, 3))
    other = small_model()
    other.load_state_dict(model.state_dict())
    resumed = make_optimizer(other, config)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    end = steps(model, optimizer, range(3, 5))
    assert end.isfinite().all()
    assert (end - start).abs().max() > 1e-6
    assert torch.equal(steps(other, resumed, range(3, 5)), end)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "adamq"}, "optimizer.name = 'adamq': .*did you mean adam"),
        ({"name": "lion", "options": {"momentun": 0.5}}, "optimizer.options.momentun = 0.5: lion has no such option"),
        ({"name": "sgd", "options": {"momentun": 0.5}}, "did you mean momentum"),
        ({"name": "lamb", "options": {"eps": 1e-3}}, "optimizer.options.eps = 0.001: expected it as optimizer.eps"),
        ({"name": "sgd", "options": {"momentum": -1}}, "optimizer.name = 'sgd': cannot step .*momentum"),
        ({"betas": (0.9, 1.5)}, "optimizer.name = 'adamw': cannot step .*1.5"),
    ],
)
def test_what_an_optimizer_does_not_take_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_optimizer(OptimizerConfig(lr=1e-3, **values), "a.yaml")


def test_options_and_keys_reach_the_optimizer() -> None:
    config = OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.0, options={"momentum": 0.5, "nesterov": False})
    (group, _) = make_optimizer(small_model(), config).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.5, False)
    lamb = OptimizerConfig(name="lamb", lr=0.1, betas=(0.8, 0.9), eps=1e-4)
    (group, _) = make_optimizer(small_model(), lamb).param_groups
    assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-4)
    adafactor = OptimizerConfig(name="adafactor", lr=0.1, options={"eps": 1e-20})
    (group, _) = make_optimizer(small_model(), adafactor).param_groups
    assert group["eps"] == 1e-20
