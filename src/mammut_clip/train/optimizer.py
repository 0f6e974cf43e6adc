"""AdamW as in the paper's runs."""

import torch
from torch import nn

from mammut_clip.config.run import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: biases, norms and logit_scale (fewer than two dimensions) get none.

    The learning rate is set at every step by the schedule. Fused: one kernel updates all parameters.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if p.ndim >= 2]
    vectors = [p for name, p in named if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
