"""The update at the end of a step: clip, step, clamp. Gradients that are not finite change nothing and are counted.

A NaN that came as far as Adam's moments would stay there. Whether there is one is known on the GPU, and a CPU that
asked would wait for it at every step; so PyTorch's fused optimizers are told by a tensor, `found_inf`, as by its
GradScaler: their kernel leaves parameters and moments alone, and the step count is taken back. For other optimizers
the CPU asks.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.train.parallel import log_scale_of


class LossIsNotFiniteError(RuntimeError):
    """Gradients stayed NaN or infinite: training on is pointless."""

    def __init__(self, steps: int, samples_seen: int, why: str = "") -> None:
        super().__init__(
            f"the gradients of the last {steps} steps before {format_quantity(samples_seen)} samples seen were NaN or "
            f"infinite{why}; a lower optimizer.lr or a longer schedule.warmup usually helps"
        )


class Update:
    """Makes the gradients that stand in a model's parameters into its next weights; the same on every rank."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, process: Process) -> None:
        self.model, self.optimizer = model, optimizer
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._limit = config.optimizer.clip_grad_norm
        self._log_scale, self._highest = log_scale_of(model), math.log(config.loss.max_logit_scale)
        self._skips_itself = _skips_itself(optimizer)
        self._is_main = process.is_main
        self._in_a_row = torch.zeros((), dtype=torch.int64, device=process.device)
        self._skipped = torch.zeros_like(self._in_a_row)
        self._reported = 0

    def apply(self, lr: float) -> Tensor:
        """Update at learning rate `lr`, and empty the gradients. Returns their norm [] before clipping, on the device.

        Collective where parameters are sharded.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        norm = self._clip()
        self._step(norm.isfinite())
        self.optimizer.zero_grad(set_to_none=True)
        if self._log_scale is not None:
            with torch.no_grad():
                self._log_scale.clamp_(0, self._highest)
        return norm

    def in_a_row(self) -> int:
        """How many steps in a row, up to now, were skipped. Waits for the device."""
        return int(self._in_a_row)

    @property
    def total_skipped(self) -> int:
        """How many steps were skipped since this object was made. Waits for the device."""
        return int(self._skipped)

    def forget_streak(self) -> None:
        """Begin to count anew how many are skipped in a row."""
        self._in_a_row.zero_()

    def numbers(self) -> list[float]:
        """Steps skipped since last asked: rank 0 alone says it, since all skip together. Waits for the device."""
        before, self._reported = self._reported, self.total_skipped
        return [float(self._reported - before) if self._is_main else 0.0]

    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        """`skipped_steps`, since the last row."""
        return {"skipped_steps": int(sums[0])}

    def _clip(self) -> Tensor:
        """Scale gradients down to the limit; their norm over all parameters and ranks []."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if isinstance(norm, DTensor):  # put together once, here, and not in each operation that follows
            norm = norm.redistribute(placements=[Replicate()] * norm.device_mesh.ndim)
        if self._limit is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._limit, norm)
        return norm.to_local() if isinstance(norm, DTensor) else norm

    def _step(self, finite: Tensor) -> None:
        """A step of the optimizer if `finite` []; else a step more that was skipped."""
        if self._skips_itself:
            self.optimizer.found_inf = finite.logical_not().float()  # type: ignore[attr-defined]
            self.optimizer.step()
            del self.optimizer.found_inf  # type: ignore[attr-defined]
        elif finite:
            self.optimizer.step()
        skipped = finite.logical_not().to(self._skipped.device, non_blocking=True)
        self._skipped += skipped
        self._in_a_row.add_(skipped).mul_(skipped)


def _skips_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer's kernels heed `found_inf`: Adam and AdamW of PyTorch where they are fused."""
    is_adam = isinstance(optimizer, torch.optim.Adam)  # AdamW is one
    return is_adam and all(group.get("fused") for group in optimizer.param_groups)
