"""Towers of other packages under FSDP2, and what a trial finds out about a module."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from mammut_clip.config.model import load_model_config
from mammut_clip.models.build import build_empty, build_model, give_weights
from mammut_clip.models.outside import float32_layers, repeated_blocks, try_out

CONFIG = {
    "family": "clip",
    "embed_dim": 24,
    "vision": {"timm": "test_resnet", "image_size": 64},
    "text": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1},
}


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_sharded_towers_get_the_weights_of_whole_ones_and_train_in_bf16(mesh: DeviceMesh) -> None:
    expected = build_model(load_model_config(CONFIG), seed=4)
    model = build_empty(load_model_config(CONFIG))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    fully_shard(float32_layers(model), mesh=mesh)
    for module in (*model.blocks(), *(module for part in model.parts() for module in part)):  # type: ignore[operator]
        fully_shard(module, mesh=mesh, mp_policy=half)
    fully_shard(model, mesh=mesh)
    give_weights(model, 4, "cpu")
    whole = {key: value.full_tensor() for key, value in model.state_dict().items() if isinstance(value, DTensor)}
    whole |= {key: value for key, value in model.state_dict().items() if not isinstance(value, DTensor)}
    assert whole.keys() == expected.state_dict().keys()
    assert all(torch.equal(whole[key], value) for key, value in expected.state_dict().items())

    images, ids = torch.randn(4, 3, 64, 64), torch.randint(1, 64, (4, 8))
    output, reference = model(images, ids), expected(images, ids)
    torch.testing.assert_close(output.image_features, reference.image_features, rtol=0.02, atol=0.02)
    (output.image_features @ output.text_features.T).mul(output.logit_scale).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(buffer.dtype != torch.bfloat16 for buffer in model.buffers())


class Caching(nn.Module):
    """Keeps what it saw, and has a parameter that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4, bias=False) for _ in range(3)])
        self.spare = nn.Parameter(torch.ones(2))
        self.norm = nn.BatchNorm1d(4)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def test_a_trial_counts_and_leaves_no_trace() -> None:
    module = Caching()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trial = try_out(module, lambda: torch.randn(1, 4))
    assert trial.shape == (1, 4) and trial.unused == ["spare"]
    assert (trial.forward_flops, trial.attention_flops) == (3 * 32, 0)
    assert trial.step_flops == 3 * (3 * 32) - 32  # the input needs no gradient
    assert module.seen == [] and module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_blocks_are_the_innermost_that_repeat() -> None:
    def block() -> nn.Module:
        return nn.TransformerEncoderLayer(4, 1, 4)

    class Stage(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.blocks = nn.Sequential(*(block() for _ in range(depth)))

    stages = nn.Module()
    stages.stem = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))  # single layers
    stages.body = nn.ModuleList([Stage(2), Stage(3)])
    stages.ends = nn.ModuleList([block(), Stage(1)])  # of two kinds: the block in the stage is one, the other is not
    found = repeated_blocks(stages)
    assert [id(b) for b in found] == [id(b) for stage in (*stages.body, stages.ends[1]) for b in stage.blocks]
    assert repeated_blocks(nn.Linear(2, 2)) == []
