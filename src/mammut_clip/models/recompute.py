"""Trading compute for memory in the backward pass (activation checkpointing; Chen et al. 2016).

none        everything that the backward pass reads is kept
selective   matrix products and attention are kept; norms, activations and sums are computed again
full        only a block's inputs are kept
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

Recompute = Literal["none", "selective", "full"]

_ATEN = torch.ops.aten
_KEPT = {
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN._scaled_dot_product_flash_attention.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
    _ATEN._scaled_dot_product_efficient_attention.default,
    _ATEN._scaled_dot_product_cudnn_attention.default,
}


def _policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def run_block(run: Callable[..., Any], recompute: Recompute, *inputs: Any, **options: Any) -> Any:
    """`run(*inputs, **options)`, keeping what `recompute` says for the backward pass.

    The results are the same; nothing in our blocks is random, so no state of a generator is kept either.
    """
    if recompute == "none" or not torch.is_grad_enabled():
        return run(*inputs, **options)
    again = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
    if recompute == "selective":
        again = partial(again, context_fn=partial(create_selective_checkpoint_contexts, _policy))
    return again(*inputs, **options)
