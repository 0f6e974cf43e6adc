"""The memory estimate: its parts against what torch keeps, and how it moves with what one changes."""

import pytest
import torch
from torch import nn

from mammut_clip.config.model import load_model_config
from mammut_clip.cost import parameters, training_memory_gb
from mammut_clip.losses import chunked_caption_loss
from mammut_clip.models import build_model


def kept_bytes(model: nn.Module, images: torch.Tensor, ids: torch.Tensor) -> int:
    """Bytes that autograd keeps for the backward pass, without weights and inputs, shared storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()} | {images.untyped_storage().data_ptr()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images, ids, chunked_caption_loss)
    return sum(kept.values())


@pytest.mark.parametrize("name", ["toy-M", "mammut_toy-M"])
def test_activations_are_near_what_autograd_keeps(name: str) -> None:
    config, batch = load_model_config(name), 32
    ids = torch.randint(1, 90, (batch, config.text_cfg.context_length))
    measured = kept_bytes(build_model(config), torch.randn(batch, 3, 32, 32), ids)
    estimate = training_memory_gb(config, batch, 1, "fp32").activations * 1e9
    assert 0.8 < estimate / measured < 1.1


def test_state_is_sixteen_bytes_a_parameter_over_the_gpus() -> None:
    config = load_model_config("ViT-L-14")
    one, eight = (training_memory_gb(config, 64, gpus, "bf16") for gpus in (1, 8))
    assert one.state == pytest.approx(16 * parameters(config).total / 1e9)
    assert eight.state == pytest.approx(one.state / 8)
    assert eight.losses > one.losses  # the global batch has grown


def test_what_grows_with_what() -> None:
    clip, mammut = (load_model_config(name) for name in ("ViT-B-32", "mammut_ViT-B-32"))
    base = training_memory_gb(mammut, 256, 8, "bf16")
    assert base.total > training_memory_gb(clip, 256, 8, "bf16").total
    assert training_memory_gb(mammut, 512, 8, "bf16").activations == pytest.approx(2 * base.activations)
    assert training_memory_gb(mammut, 256, 8, "fp32").activations == pytest.approx(2 * base.activations)
