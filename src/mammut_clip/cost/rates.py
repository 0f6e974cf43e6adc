"""How fast a model trains on a GPU, from what the paper's 1,431 runs on DataComp reached with the authors' trainer.

    seconds of a step = (overhead + share x seconds per sample) x (1 + 0.0048 x log2(GPUs / 4)^2)

where the share is the pairs of each GPU. Overhead and seconds per sample were fitted per model to the 1,427 runs on
A100s with 40 GB (JUWELS Booster, four a node, bf16); they stand in paper_rates.csv, each with the runs, GPUs and shares
that it was fitted to. For other models

    overhead = 5.42 ms x blocks,   seconds per sample = 0.212 ms + exact GFLOPs / 81.1 TFLOP/s

and on other GPUs the step is quicker by the ratio of their peaks in bf16 to the power 0.55: what the paper's four runs
on H100s gained. A GPU with a lower peak than an A100's is slower by the whole ratio.

docs/cost.md says how far all that is from what was measured, and tests/cost/rates_fit.py makes it.
"""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mammut_clip.config.model import ModelConfig
from mammut_clip.cost.chips import peak_tflops
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.outside import outside_towers
from mammut_clip.cost.params import parameters
from mammut_clip.cost.shapes import training_passes

MEASURED_PEAK = 312.0
"""TFLOP/s of the A100 that rates were measured on."""
GROWTH = 0.0048
"""Of a step's time with the square of log2(GPUs / 4)."""
SECONDS_PER_BLOCK = 5.42e-3
"""Overhead of a step for each block that a sample passes through; models without a row."""
SECONDS_PER_SAMPLE = 0.212e-3
"""Besides the products; models without a row."""
TFLOPS = 81.1
"""TFLOP/s of exact products on that A100; models without a row."""
GAIN = 0.55
"""Power of the ratio of peaks by which a faster GPU is faster."""
AGAIN = 4 / 3
"""Micro-batches compute the features a second time: a forward pass more."""
_BLOCKS_OF_OTHERS = 12
"""Blocks of a tower of another package, which nobody counts."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a model on one A100 with 40 GB."""

    overhead: float
    """Seconds of a step besides what grows with the samples."""
    per_sample: float
    """Seconds per sample."""
    measured: bool
    """Whether the model was measured; else by the formula."""

    def step_seconds(self, share: int, gpus: int, gpu: str, micro_batch: int | None = None) -> float:
        """Seconds of a step in which each of so many GPUs, named `gpu`, has `share` pairs, `micro_batch` at a time.

        Raises ValueError for a GPU that is not known (`is_known`).
        """
        parts = 1 if micro_batch is None else math.ceil(share / micro_batch)
        alone = parts * self.overhead + share * self.per_sample * (AGAIN if parts > 1 else 1)
        crowd = 1 + GROWTH * math.log2(max(1.0, gpus / 4)) ** 2
        return alone * crowd / _gain(gpu)


def is_known(gpu: str | None) -> bool:
    """Whether rates can be told for a GPU of this name: its peak in bf16 is known (chips.py)."""
    return gpu is not None and peak_tflops(gpu, "bf16") is not None


@cache
def rate_of(config: ModelConfig) -> Rate:
    """The measured rate of this very architecture, else the formula's.

    Raises UnmeasuredTowerError for a tower of another package whose cost the config does not give.
    """
    count, gflops = parameters(config).total, gflops_per_sample(config).exact_step
    for row in _table():
        # the same parameters and the same products: another resolution, depth or patch dropout is another model
        if row.params == count and math.isclose(row.gflops, gflops, rel_tol=1e-6) and not outside_towers(config):
            return row.rate
    return Rate(SECONDS_PER_BLOCK * blocks(config), SECONDS_PER_SAMPLE + gflops / (TFLOPS * 1e3), measured=False)


def blocks(config: ModelConfig) -> int:
    """Transformer blocks that a sample passes through, all passes together."""
    passes = training_passes(config)
    own = sum(run.count for run in (*passes.image, *passes.text, *passes.caption))
    return own + _BLOCKS_OF_OTHERS * len(outside_towers(config))


@dataclass(frozen=True)
class _Row:
    params: int
    gflops: float
    rate: Rate


@cache
def _table() -> tuple[_Row, ...]:
    with Path(__file__).with_name("paper_rates.csv").open(newline="") as file:
        return tuple(
            _Row(
                int(row["params"]),
                float(row["gflops_exact_step"]),
                Rate(float(row["ms_per_step"]) / 1e3, float(row["ms_per_sample"]) / 1e3, measured=True),
            )
            for row in csv.DictReader(file)
        )


@cache
def _gain(gpu: str) -> float:
    """How much faster than the measured GPU."""
    peak = peak_tflops(gpu, "bf16")
    if peak is None:
        raise ValueError(f"{gpu}: no GPU whose peak in bf16 is known")
    ratio = peak / MEASURED_PEAK
    return ratio**GAIN if ratio > 1 else ratio
