"""The fit behind cost/rates.py: from the paper's runs to a table per model and the constants of a formula.

    python tests/cost/rates_fit.py ../shared/data/paper/runs_datacomp_cosine.parquet

writes src/mammut_clip/cost/paper_rates.csv and prints the constants.
"""

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.cost import gflops_per_sample, parameters
from mammut_clip.cost import rates as ours

TABLE = Path(ours.__file__).with_name("paper_rates.csv")


def read_runs(path: Path) -> pd.DataFrame:
    """The measured runs, with the seconds that one step took and the pairs of each GPU."""
    runs = pd.read_parquet(path)
    runs["share"] = runs.global_batch_size // runs.gpus
    runs["step"] = runs.share / runs.samples_per_sec_per_gpu
    runs["on_h100"] = runs.gpu_model.eq("NVIDIA-H100")
    return runs


@dataclass(frozen=True)
class Fitted:
    """Seconds of a step = (overhead + share x seconds per sample) x (1 + growth x log2(GPUs / 4)^2)."""

    overhead: dict[str, float]
    per_sample: dict[str, float]
    growth: float

    def step(self, runs: pd.DataFrame) -> np.ndarray:
        base = runs.model.map(self.overhead) + runs.share * runs.model.map(self.per_sample)
        return (base * crowding(runs, self.growth)).to_numpy(float)


def crowding(runs: pd.DataFrame, growth: float) -> np.ndarray:
    return 1 + growth * np.log2(np.maximum(runs.gpus.to_numpy(float) / 4, 1)) ** 2


def fit_table(runs: pd.DataFrame) -> Fitted:
    """Two numbers per model and one for all, by least squares of log seconds, far-off runs counting less."""
    models = sorted(runs.model.unique())
    index = runs.model.map({model: number for number, model in enumerate(models)}).to_numpy()
    share, gpus = runs.share.to_numpy(float), np.log2(np.maximum(runs.gpus.to_numpy(float) / 4, 1)) ** 2
    target, count = np.log(runs.step.to_numpy(float)), len(models)
    fastest = runs.groupby("model").samples_per_sec_per_gpu.max()

    def missed(x: np.ndarray) -> np.ndarray:
        overhead, per_sample = np.exp(x[:count])[index], np.exp(x[count:-1])[index]
        return np.log((overhead + share * per_sample) * (1 + x[-1] * gpus)) - target

    start = np.concatenate([np.full(count, math.log(0.15)), -np.log(fastest[models]), [0.0]])
    lowest = np.concatenate([np.full(2 * count, -20.0), [0.0]])
    found = least_squares(missed, start, loss="soft_l1", f_scale=0.05, bounds=(lowest, np.inf)).x
    seconds = np.exp(found[:-1])
    return Fitted(
        dict(zip(models, seconds[:count], strict=True)),
        dict(zip(models, seconds[count:], strict=True)),
        float(found[-1]),
    )


def fit_formula(runs: pd.DataFrame, growth: float) -> tuple[float, float, float]:
    """(seconds per block and step, seconds per sample, GFLOP/s) of the formula for models without a row."""
    configs = {model: load_model_config(model) for model in runs.model.unique()}
    blocks = runs.model.map({model: ours.blocks(config) for model, config in configs.items()}).to_numpy(float)
    gflops = runs.model.map({model: gflops_per_sample(config).exact_step for model, config in configs.items()})
    share, work = runs.share.to_numpy(float), gflops.to_numpy(float)
    target = np.log(runs.step.to_numpy(float) / crowding(runs, growth))

    def missed(x: np.ndarray) -> np.ndarray:
        per_block, per_sample, speed = np.exp(x)
        return np.log(per_block * blocks + share * (per_sample + work / speed)) - target

    found = least_squares(missed, np.log([5e-3, 2e-4, 8e4]), loss="soft_l1", f_scale=0.1).x
    per_block, per_sample, speed = np.exp(found)
    return float(per_block), float(per_sample), float(speed)


def rows(runs: pd.DataFrame, fitted: Fitted) -> list[dict[str, Any]]:
    """The rows of paper_rates.csv, by parameters."""
    table = []
    for model, own in runs.groupby("model"):
        config: ModelConfig = load_model_config(str(model))
        table.append(
            {
                "model": model,
                "params": parameters(config).total,
                "gflops_exact_step": f"{gflops_per_sample(config).exact_step:.6f}",
                "ms_per_step": f"{1e3 * fitted.overhead[str(model)]:.1f}",
                "ms_per_sample": f"{1e3 * fitted.per_sample[str(model)]:.4f}",
                "median_samples_per_second": f"{own.samples_per_sec_per_gpu.median():.1f}",
                "runs": len(own),
                "gpus_min": own.gpus.min(),
                "gpus_max": own.gpus.max(),
                "share_min": own.share.min(),
                "share_max": own.share.max(),
            }
        )
    return sorted(table, key=lambda row: row["params"])


def main(path: Path) -> None:
    runs = read_runs(path)
    on_a100 = runs[~runs.on_h100]
    fitted = fit_table(on_a100)
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows(on_a100, fitted)[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(on_a100, fitted))
    per_block, per_sample, speed = fit_formula(on_a100, fitted.growth)
    print(f"growth {fitted.growth:.5f}; {1e3 * per_block:.3f} ms per block, {1e3 * per_sample:.4f} ms per sample")
    print(f"{speed / 1e3:.2f} TFLOP/s; H100 over A100 {h100_gain(runs, fitted):.3f}")


def h100_gain(runs: pd.DataFrame, fitted: Fitted) -> float:
    """How much faster the H100 runs went than the table says for A100s (median)."""
    own = runs[runs.on_h100]
    return float(np.median(fitted.step(own) / own.step.to_numpy(float)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
