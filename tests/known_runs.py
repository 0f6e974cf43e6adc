"""Results tables of runs whose errors follow known laws, as `mammut-clip sweep collect` would write them."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from mammut_clip.config.fit import LawSpec
from mammut_clip.config.model import load_model_config
from mammut_clip.cost import gflops_per_sample
from mammut_clip.fit import FitReport, run_spec

MODELS = ("ViT-S-32", "ViT-M-32", "ViT-B-32", "ViT-B-16", "ViT-L-16")
SAMPLES = (3_000_000, 10_000_000, 30_000_000, 100_000_000, 300_000_000, 1_000_000_000)
LAWS = {"clip": (3.0, 2e8, -0.10), "mammut": (7.0, 6e8, -0.135)}


def frontier_error(family: str, x: float) -> float:
    """What the best shape reaches with compute x (GFLOPs, paper)."""
    a, b, c = LAWS[family]
    return float(a * (x + b) ** c)


def best_samples(x: float) -> float:
    """Samples of the best shape with compute x."""
    return float(3 * x**0.8)


def results(noise: float = 0.01, penalty: float = 0.6, seed: int = 0) -> pd.DataFrame:
    """Two families, five models, six budgets. A run is worse than the law by e^(penalty x distance^2), its distance in
    decades of samples from `best_samples` at its compute."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for family, prefix in (("clip", ""), ("mammut", "mammut_")):
        for model in (prefix + name for name in MODELS):
            each = gflops_per_sample(load_model_config(model))
            for samples in SAMPLES:
                x = each.paper * samples
                distance = np.log10(samples / best_samples(x))
                error = frontier_error(family, x) * np.exp(penalty * distance**2 + rng.normal(0, noise))
                rows.append(
                    {
                        "sweep": "known",
                        "run": f"{model}-{samples}",
                        "family": family,
                        "model": model,
                        "samples_seen": samples,
                        "checkpoint_samples": samples,
                        "gflops_paper": x,
                        "gflops_exact": each.exact_step * samples,
                        "task": "imagenet1k",
                        "metric": "acc1",
                        "value": 1 - min(error, 1.0),
                    }
                )
    return pd.DataFrame(rows)


def spec(**changes: Any) -> LawSpec:
    values: dict[str, Any] = {
        "unit": "accuracy",
        "form": "saturation_no_floor",
        "residuals": "log",
        "bootstrap": {"count": 400},
    }
    return LawSpec.model_validate(values | changes)


def report(table: pd.DataFrame | None = None, **changes: Any) -> FitReport:
    if table is None and not changes:
        return _usual()
    return run_spec(spec(**changes), results() if table is None else table)


@cache
def _usual() -> FitReport:
    return run_spec(spec(), results())
