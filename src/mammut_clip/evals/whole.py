"""A whole model from one whose parameters FSDP2 has sharded.

Tasks call more of a model than its forward pass, and train copies of its parts: a whole one in float32 is what the
same evaluation of the checkpoint on disk has, so both give the same numbers.
"""

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mammut_clip.config.model import ModelConfig
from mammut_clip.models.build import build_to_fill


def whole_model(model: nn.Module, config: ModelConfig, device: torch.device) -> nn.Module:
    """`model` itself where its parameters are whole, otherwise a copy on `device`. Collective.

    The copy takes the memory of the float32 parameters, for as long as it is kept.
    """
    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return model
    copy = build_to_fill(config).to(device)
    state = copy.state_dict()
    with torch.no_grad():
        for name, value in model.state_dict().items():  # each rank comes to each parameter in the same order
            state[name].copy_(_whole(value))
    return copy.eval()


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value
