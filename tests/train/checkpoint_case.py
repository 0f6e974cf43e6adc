"""A small model with an optimizer that has a history, to be saved and put back."""

from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint.state import state_of
from mammut_clip.train.optimizer import make_optimizer

SMALL = load_model_config("toy-XS").model_dump()
"""The smallest model: one block in each tower."""
SMALL["vision_cfg"] |= {"layers": 1, "width": 16}
SMALL["text_cfg"] |= {"layers": 1, "width": 16}

ONE = Process(0, 1, 0, torch.device("cpu"))


def config_with(**changes: Any) -> RunConfig:
    """Of a run of 100 steps of 64, without permanent checkpoints."""
    values = {
        "name": "a-run",
        "model": SMALL,
        "samples_seen": 6400,
        "global_batch_size": 64,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"keep_last": 2, "permanent": []},
    }
    return validate(RunConfig, values | changes, "test")


def run_with(root: Path, **changes: Any) -> RunDir:
    return RunDir.create(root, config_with(**changes))


class Case:
    """A model and its optimizer, after as many steps as are asked for; with `timm`, an optimizer of timm's."""

    def __init__(self, run: RunDir, steps: int = 1, seed: int = 0, timm: str | None = None) -> None:
        config = run.config
        self.model: nn.Module = build_model(config.model.architecture, seed=seed)
        self.optimizer: torch.optim.Optimizer = (
            make_optimizer(self.model, config.optimizer)
            if timm is None
            else create_optimizer_v2(self.model, opt=timm, lr=1e-3, weight_decay=0.05)
        )
        self._random = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """One update by random gradients."""
        for parameter in self.model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=self._random)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def continue_as(self, other: "Case") -> None:
        """Draw the gradients that `other` will draw."""
        self._random = other._random.clone_state()

    def values(self) -> dict[str, Tensor]:
        """A copy of the whole state."""
        state = state_of(self.model, self.optimizer)
        return {f"{part}.{name}": value.clone() for part, tensors in state.items() for name, value in tensors.items()}


def require_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To the last bit."""
    assert found.keys() == expected.keys()
    different = [name for name, value in expected.items() if not torch.equal(found[name], value)]
    assert not different, different
