"""The results of a sweep that nobody ran, in the columns that sweeps write; errors follow known laws with scatter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.config.fit import LawSpec

LAWS = {"clip": (3.0, 500.0, -0.20), "mammut": (7.5, 800.0, -0.30), "cap": (6.0, 900.0, -0.25)}
"""Family -> a, b, c of error = a (gflops + b)^c."""
SCALES = {"S": 0.05, "M": 0.3, "L": 1.8}
"""Model scale -> GFLOPs per sample."""
BUDGETS = (4_000, 16_000, 64_000, 256_000, 1_024_000)


def made_up_results(
    families: Sequence[str] = ("clip", "mammut"),
    measured: Sequence[tuple[str, str]] = (("toy_pairs", "acc1"),),
    schedules: Sequence[str] = ("cosine",),
    compute: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per run, checkpoint (half-way and last), task and metric. compute: factor on every run's GFLOPs, with
    which the laws stretch along."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for family in families:
        a, b, c = LAWS[family]
        for schedule in schedules:
            for scale, gflops in SCALES.items():
                for budget in BUDGETS:
                    scatter = np.exp(rng.normal(0, 0.01))
                    run = {
                        "sweep": "made-up",
                        "run": f"{family}-{scale}-{budget}-{schedule}",
                        "family": family,
                        "model": f"{family}_{scale}",
                        "dataset": "here",
                        "schedule": schedule,
                        "samples_seen": budget,
                    }
                    for samples in (budget // 2, budget):
                        error = min(1.0, a * (gflops * samples + b) ** c * scatter * (1.1 if samples < budget else 1.0))
                        at = {
                            "checkpoint_samples": samples,
                            "gflops_paper": gflops * samples * compute,
                            "gflops_exact": 3 * gflops * samples * compute,
                        }
                        rows += [run | at | {"task": t, "metric": m, "value": 1 - error} for t, m in measured]
    return pd.DataFrame(rows)


def made_up_law(**changes: Any) -> LawSpec:
    """A spec for them: the best checkpoint of each cell, a form that fits."""
    values: dict[str, Any] = {
        "task": "toy_pairs",
        "metric": "acc1",
        "unit": "accuracy",
        "form": "saturation_no_floor",
        "residuals": "log",
        "frontier": {"method": "best_per_cell"},
        "bootstrap": {"count": 400},
    }
    return LawSpec.model_validate(values | changes)
