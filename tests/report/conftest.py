"""A made-up sweep, plausible in every column: errors follow a known law with noise, losses fall."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammut_clip.config.fit import LawSpec
from mammut_clip.fit import run_spec
from mammut_clip.report import LossCurve, Picture, ReportData

SCALES = {"XS": (0.3e6, 0.02), "S": (1.1e6, 0.07), "M": (3.9e6, 0.24), "L": (11e6, 0.7)}
BUDGETS = (3_200, 12_800, 51_200, 204_800, 409_600)


def made_up_results(seed: int = 0) -> pd.DataFrame:
    """One row per run, checkpoint, task and metric, as a sweep writes it."""
    rng = np.random.default_rng(seed)
    rows = []
    for family, (a, b, c, dearer) in {
        "clip": (3.0, 600.0, -0.22, 1.0),
        "mammut": (4.6, 900.0, -0.26, 1.5),
    }.items():
        for scale, (params, gflops) in SCALES.items():
            for budget in BUDGETS:
                compute = gflops * dearer * budget
                # Each scale has a budget that suits it; away from it the run falls behind the frontier.
                off = 0.05 * abs(np.log(budget / (0.03 * params)))
                error = min(0.97, a * (compute + b) ** c * (1 + off) * np.exp(rng.normal(0, 0.02)))
                for part in (0.5, 1.0):
                    for metric, value in (("acc1", 1 - error), ("acc5", 1 - error**2)):
                        rows.append(
                            {
                                "sweep": "made-up",
                                "run": f"{family}-{scale}-{budget}",
                                "family": family,
                                "model": f"toy_{family}_{scale}",
                                "dataset": "toy",
                                "seed": 0,
                                "schedule": "cosine",
                                "lr": 1e-3,
                                "global_batch_size": 64,
                                "samples_seen": budget,
                                "checkpoint_samples": int(budget * part),
                                "params": params,
                                "gflops_per_sample_paper": gflops * dearer,
                                "gflops_per_sample_exact": gflops * dearer * 3.1,
                                "gflops_paper": compute * part,
                                "gflops_exact": compute * part * 3.1,
                                "task": "toy_pairs",
                                "metric": metric,
                                "value": value - (0.1 * value if part < 1 else 0.0),
                            }
                        )
    return pd.DataFrame(rows)


def toy_spec() -> LawSpec:
    return LawSpec(
        title="Made-up sweep, error on <unseen> pairs",
        task="toy_pairs",
        metric="acc1",
        unit="accuracy",
        form="saturation_no_floor",
        residuals="log",
        held_out={"largest": 2},
    )


@pytest.fixture(scope="session")
def report_data() -> ReportData:
    results = made_up_results()
    rng = np.random.default_rng(1)
    curves = []
    for run, rows in results.groupby("run"):
        row = rows.iloc[0]
        samples = np.arange(64, row["samples_seen"] + 1, 64, dtype=np.float64)
        floor = 4.2 * float(row["params"]) ** -0.06
        loss = floor + 2.5 * (samples + 500.0) ** -0.15 + rng.normal(0, 0.05, len(samples))
        curves.append(LossCurve(str(run), row["family"], row["model"], samples, loss))
    pictures = []
    for i in range(8):
        buffer = io.BytesIO()
        pixels = np.full((64, 64, 3), 235, dtype=np.uint8)
        pixels[8 + 3 * i : 40 + 2 * i, 10:50] = rng.integers(0, 255, 3)
        Image.fromarray(pixels).save(buffer, format="PNG" if i % 2 else "JPEG")
        pictures.append(Picture(buffer.getvalue(), f"a large <b>striped</b> square & {i} dots\nmodel: a large square"))
    fit = run_spec(toy_spec(), results)
    return ReportData("made-up <sweep>", results, (fit,), tuple(curves), tuple(pictures))
