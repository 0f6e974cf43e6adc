"""The update on two real processes: gradients that are not finite on one of them are skipped by both."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gloo_processes import Results, run_processes
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel
from mammut_clip.train.update import Update

pytestmark = pytest.mark.distributed

WORLD, ROWS = 2, 2
MODES = ("fsdp", "ddp")
# with this eps, and with plain SGD, an update is no matter of a gradient's sign: roundings stay small
OPTIMIZERS: dict[str, dict[str, Any]] = {"fused": {"eps": 0.01}, "asks": {"name": "sgd"}}


def config_of(mode: str, optimizer: dict[str, Any]) -> RunConfig:
    values = {
        "name": "x",
        "model": "toy-XS",
        "samples_seen": 60,
        "global_batch_size": ROWS * WORLD,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3, "clip_grad_norm": 0.1} | optimizer,
        "parallel": {"mode": mode},
    }
    return validate(RunConfig, values, "test")


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def own_part(tensor: Tensor) -> Tensor:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach().clone()


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = [value for state in optimizer.state.values() for value in state.values()]
    return [own_part(torch.as_tensor(value)) for value in [*model.parameters(), *states]]


def backward(model: nn.Module, rows: range, seed: int, factor: float) -> None:
    """Gradients of some loss of these rows."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(ROWS * WORLD, 3, 32, 32, generator=generator)
    ids = torch.randint(1, 90, (ROWS * WORLD, 16), generator=generator)
    weights = torch.randn(ROWS * WORLD, 1, generator=generator)
    output = model(images[rows.start : rows.stop], ids[rows.start : rows.stop])
    features = (output.image_features * output.text_features).sum(dim=1, keepdim=True)
    (factor * output.logit_scale * (features * weights[rows.start : rows.stop]).mean()).backward()


def rank_main(rank: int) -> Results:
    process = Process(rank, WORLD, rank, torch.device("cpu"))
    run = partial(backward, rows=range(rank * ROWS, (rank + 1) * ROWS))
    results = {}
    for mode in MODES:
        for name, options in OPTIMIZERS.items():
            config = config_of(mode, options)
            model = build_parallel(config.model.architecture, config, process)
            optimizer = make_optimizer(model, config.optimizer)
            update = Update(model, optimizer, config, process)
            norms = []
            for seed in (1, 2):
                run(model, seed=seed, factor=1.0)
                norms.append(update.apply(1e-3))
            before = everything(model, optimizer)
            run(model, seed=3, factor=float("nan") if rank == 1 else 1.0)
            norms.append(update.apply(1e-3))
            after = everything(model, optimizer)
            same = [torch.equal(new, old) for new, old in zip(after, before, strict=True)]
            run(model, seed=4, factor=1.0)
            norms.append(update.apply(1e-3))
            case = f"{mode} {name}"
            results[f"{case} unchanged"] = torch.tensor(same)
            results[f"{case} norms"] = torch.stack(norms)
            results[f"{case} counts"] = torch.tensor([update.total_skipped, int(update.numbers()[0])])
            results |= {f"{case} {key}": whole(p) for key, p in model.named_parameters()}
    return results


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))


def expected(options: dict[str, Any]) -> tuple[nn.Module, list[Tensor]]:
    """One process with the whole batch that never met the bad step."""
    config = config_of("auto", options)
    process = Process(0, 1, 0, torch.device("cpu"))
    model = build_parallel(config.model.architecture, config, process)
    optimizer = make_optimizer(model, config.optimizer)
    update = Update(model, optimizer, config, process)
    norms = []
    for seed in (1, 2, 4):
        backward(model, range(ROWS * WORLD), seed, 1.0)
        norms.append(update.apply(1e-3))
    return model, norms


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_skip_what_is_not_finite_on_one(ranks: list[Results], mode: str, name: str) -> None:
    case = f"{mode} {name}"
    model, norms = expected(OPTIMIZERS[name])
    for results in ranks:
        assert results[f"{case} unchanged"].all()
        found = results[f"{case} norms"]
        assert not found[2].isfinite()
        torch.testing.assert_close(found[[0, 1, 3]], torch.stack(norms), rtol=1e-5, atol=0)
        for key, parameter in model.named_parameters():
            wrapped = key if f"{case} {key}" in results else f"module.{key}"
            torch.testing.assert_close(results[f"{case} {wrapped}"], parameter.detach(), rtol=1e-4, atol=1e-6)
    # all know how many there were, one says it
    assert [results[f"{case} counts"].tolist() for results in ranks] == [[1, 1], [1, 0]]
