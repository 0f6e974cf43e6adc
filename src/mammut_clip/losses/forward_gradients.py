"""Gradients made in the forward pass, where the numbers they need are at hand, and only scaled in the backward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor


def as_wanted(*inputs: Tensor) -> tuple[Tensor, ...]:
    """The inputs of an autograd Function; without their gradients under no_grad.

    Inside a Function, `needs_input_grad` does not know of no_grad: it would make gradients that nobody asked for.
    """
    return inputs if torch.is_grad_enabled() else tuple(tensor.detach() for tensor in inputs)


def scaled(made: Sequence[Tensor | None], factor: Tensor, dtypes: Sequence[torch.dtype]) -> list[Tensor | None]:
    """The gradients times the one that comes back [], each in its input's type."""
    return [None if part is None else (part * factor).to(dtype) for part, dtype in zip(made, dtypes, strict=True)]
