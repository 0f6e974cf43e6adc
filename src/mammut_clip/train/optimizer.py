"""The optimizer: AdamW as in the paper's runs, or one of timm's by its name.

Of timm's, those cannot be had that need other packages (fused*, bnb*), second derivatives (adahessian) or a random
generator that checkpoints do not hold (kron). Those that PyTorch's DTensor cannot step (with timm 1.0.31 and torch 2.15
the cautious ones, c*, and adafactor, adamp, sgdp, mars, adamuon, novograd) are refused where parameters are sharded.
All this is tried out on small tensors before anything starts, not looked up in a list.
"""

import inspect
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.run import OptimizerConfig
from mammut_clip.models.outside import first_line

_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _BatchNorm)
_SPARED = {"bias", "biases"}
_OWN_CONFIG = "the run's config"
_WIDTH = 128
"""Of the tensors that an optimizer is tried on: some treat small matrices in a way of their own."""


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer for all parameters of a model, whole or sharded, in two groups (see `parameter_groups`).

    The learning rate is the peak; the schedule sets that of the groups at every step. AdamW is fused: one kernel
    updates all parameters. What weight decay means is up to the others: some add it to the gradient (sgd, adam).

    Raises ConfigError as `check_optimizer`, and where parameters are sharded and the optimizer cannot step those; then
    on every rank.
    """
    groups = parameter_groups(model, config.weight_decay)
    first = next(model.parameters())
    if isinstance(first, DTensor) and config.name != "adamw":
        _try_out(config, _OWN_CONFIG, _small_shards(first), "use parallel.mode = ddp or another optimizer")
    return _make(groups, config, _OWN_CONFIG)


def check_optimizer(config: OptimizerConfig, source: str) -> None:
    """Raise ConfigError, naming `source`, where there is no such optimizer or it cannot be used as configured."""
    _try_out(
        config,
        source,
        [nn.Parameter(torch.ones(_WIDTH, _WIDTH)), nn.Parameter(torch.ones(_WIDTH))],
        "use another optimizer",
    )


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters with weight decay, and those without: all of fewer than two dimensions (biases, norms,
    logit_scale), and others that are biases or belong to norms.

    As in open_clip, whose rule the paper's runs had; but names are compared by whole words.
    """
    in_norms = {id(p) for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()}
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            bias = _SPARED & set(re.split(r"[._]", name))
            spares = parameter.ndim < 2 or bias or id(parameter) in in_norms
            (spared if spares else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


def _make(groups: list[dict[str, Any]], config: OptimizerConfig, source: str) -> torch.optim.Optimizer:
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    from timm.optim import create_optimizer_v2  # slow to import, and only wanted here

    arguments = _arguments(config, source)
    return create_optimizer_v2(groups, config.name, lr=config.lr, weight_decay=config.weight_decay, **arguments)


def _arguments(config: OptimizerConfig, source: str) -> dict[str, Any]:
    """What a timm optimizer is made with besides parameters, learning rate and weight decay."""
    from timm.optim import Adafactor, AdafactorBigVision

    info = _info(config.name, source)
    arguments: dict[str, Any] = {}
    # theirs is added to squared gradients, and is many orders smaller
    if info.has_eps and info.opt_class not in (Adafactor, AdafactorBigVision):
        arguments["eps"] = config.eps
    if info.has_betas and info.num_betas == 2:
        arguments["betas"] = config.betas
    own_keys = {"params", "lr", "weight_decay", *arguments}
    accepted = [name for name in inspect.signature(info.opt_class).parameters if name not in own_keys]
    problems = []
    for option, value in config.options.items():
        if option in own_keys:
            problems.append(Problem(f"optimizer.options.{option}", f"expected it as optimizer.{option}", value))
        elif option not in accepted:
            expected = f"{config.name} has no such option; {nearest(option, accepted)}"
            problems.append(Problem(f"optimizer.options.{option}", expected, value))
    if problems:
        raise ConfigError(source, problems)
    return arguments | config.options


def _info(name: str, source: str) -> Any:
    """What timm knows of one of its optimizers."""
    from timm.optim import get_optimizer_info, list_optimizers

    known = {each: get_optimizer_info(each) for each in list_optimizers()}
    usable = [each for each, info in known.items() if not isinstance(info.opt_class, str) and not info.second_order]
    if name not in usable:
        expected = "expected adamw or an optimizer of timm that needs no other package and no second derivatives"
        raise ConfigError(source, [Problem("optimizer.name", f"{expected}; {nearest(name, usable)}", name)])
    return known[name]


def _small_shards(parameter: DTensor) -> list[nn.Parameter]:
    """A matrix and a vector that lie on the processes as a model's parameter does."""
    mesh = parameter.device_mesh
    rows = _WIDTH * mesh.size()
    shapes = [(rows, _WIDTH), (rows,)]
    whole = [torch.ones(shape, device=mesh.device_type) for shape in shapes]
    return [nn.Parameter(distribute_tensor(part, mesh, parameter.placements)) for part in whole]


def _try_out(config: OptimizerConfig, source: str, parameters: list[nn.Parameter], remedy: str) -> None:
    """Make the optimizer for a matrix and a vector, and let it step. Raises ConfigError."""
    groups = parameter_groups(nn.ParameterList(parameters), config.weight_decay)
    try:
        optimizer = _make(groups, config, source)
        if set(optimizer.state_dict()) == {"state", "param_groups"}:
            _step_twice(optimizer, parameters)
            return
        reason = "it has state that checkpoints do not hold"
    except ConfigError:
        raise
    except Exception as error:  # the packages raise whatever they like
        reason = first_line(error)
    kind = "sharded parameters" if isinstance(parameters[0], DTensor) else "parameters"
    expected = f"cannot step {kind} as configured ({reason}); {remedy}"
    raise ConfigError(source, [Problem("optimizer.name", expected, config.name)])


def _step_twice(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """The second step is the first that meets the state of one before it."""
    for _ in range(2):
        for parameter in parameters:
            gradient: Tensor = torch.full_like(parameter, 0.1)
            parameter.grad = gradient
        optimizer.step()
