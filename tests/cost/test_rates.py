"""Rates: the table is the fit of the paper's runs, and predicts them as well as the page says."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rates_fit

from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.cost import rates
from mammut_clip.cost.rates import Rate, is_known, rate_of

A100 = "A100-SXM4-40GB"


@pytest.fixture(scope="module")
def runs(shared_dir: Path) -> pd.DataFrame:
    return rates_fit.read_runs(shared_dir / "data/paper/runs_datacomp_cosine.parquet")


@pytest.fixture(scope="module")
def fitted(runs: pd.DataFrame) -> rates_fit.Fitted:
    return rates_fit.fit_table(runs[~runs.on_h100])


def changed(name: str, **vision: object) -> ModelConfig:
    values = load_model_config(name).model_dump()
    return load_model_config(values | {"vision_cfg": values["vision_cfg"] | vision})


def test_the_table_is_the_fit_of_the_papers_runs(runs: pd.DataFrame, fitted: rates_fit.Fitted) -> None:
    with rates_fit.TABLE.open() as file:
        stored = list(csv.DictReader(file))
    made = rates_fit.rows(runs[~runs.on_h100], fitted)
    assert [row["model"] for row in stored] == [row["model"] for row in made]
    assert sum(int(row["runs"]) for row in stored) == 1427
    for ours, theirs in zip(stored, made, strict=True):
        for key, value in theirs.items():
            if key != "model":
                # two fits on two machines end within a little of each other
                assert float(ours[key]) == pytest.approx(float(value), rel=0.02, abs=0.5), (ours["model"], key)


def test_the_formulas_constants_are_the_fit_of_the_same_runs(runs: pd.DataFrame, fitted: rates_fit.Fitted) -> None:
    assert fitted.growth == pytest.approx(rates.GROWTH, rel=0.02)
    per_block, per_sample, speed = rates_fit.fit_formula(runs[~runs.on_h100], rates.GROWTH)
    assert per_block == pytest.approx(rates.SECONDS_PER_BLOCK, rel=0.02)
    assert per_sample == pytest.approx(rates.SECONDS_PER_SAMPLE, rel=0.05)
    assert speed / 1e3 == pytest.approx(rates.TFLOPS, rel=0.02)
    assert np.log(rates_fit.h100_gain(runs, fitted)) / np.log(989.4 / 312) == pytest.approx(rates.GAIN, abs=0.01)


def ratios(runs: pd.DataFrame, rate: dict[str, Rate]) -> np.ndarray:
    """Predicted over measured seconds of a step, for each run."""
    own = {False: A100, True: "H100-SXM5-80GB"}
    steps = [rate[run.model].step_seconds(run.share, run.gpus, own[run.on_h100]) for run in runs.itertuples()]
    return np.array(steps) / runs.step.to_numpy(float)


def test_the_papers_runs_are_predicted_as_the_page_says(runs: pd.DataFrame) -> None:
    configs = {model: load_model_config(model) for model in runs.model.unique()}
    measured = {model: rate_of(config) for model, config in configs.items()}
    assert all(rate.measured for rate in measured.values())
    found, hours = ratios(runs, measured), runs.gpu_hours.to_numpy(float)
    assert len(found) == 1431
    assert np.median(found) == pytest.approx(1.005, abs=0.005)
    assert np.quantile(found, [0.05, 0.95]) == pytest.approx([0.885, 1.103], abs=0.01)
    assert hours.sum() == pytest.approx(379_864, abs=1)
    assert (found * hours).sum() == pytest.approx(383_500, rel=0.002)


def test_the_formula_is_off_by_what_the_page_says(runs: pd.DataFrame) -> None:
    configs = {model: load_model_config(model) for model in runs.model.unique()}
    found = ratios(runs, {model: formula_of(config) for model, config in configs.items()})
    assert np.median(found) == pytest.approx(1.0, abs=0.01)
    assert np.quantile(found, [0.05, 0.95]) == pytest.approx([0.79, 1.26], abs=0.02)


def formula_of(config: ModelConfig) -> Rate:
    work = rates.gflops_per_sample(config).exact_step
    return Rate(
        rates.SECONDS_PER_BLOCK * rates.blocks(config),
        rates.SECONDS_PER_SAMPLE + work / (rates.TFLOPS * 1e3),
        measured=False,
    )


def test_only_the_very_architecture_has_a_measured_rate() -> None:
    assert rate_of(load_model_config("ViT-B-32")).measured
    for other in (changed("ViT-B-32", image_size=256), changed("ViT-B-32", layers=13)):
        assert rate_of(other) == formula_of(other)
    dropping = changed("ViT-B-32", patch_dropout=0.5)
    assert rate_of(dropping) == formula_of(dropping)


def test_a_tower_of_another_package_is_told_by_the_formula_with_twelve_blocks() -> None:
    cost = {"params": 10**7, "gflops_paper": 1.0, "gflops_exact_forward": 2.0, "gflops_exact_step": 5.0}
    values = load_model_config("ViT-B-32").model_dump() | {"vision_cfg": {"timm": "resnet10t", "cost": cost}}
    rate = rate_of(load_model_config(values))
    assert not rate.measured
    assert rate.overhead == pytest.approx(rates.SECONDS_PER_BLOCK * (12 + 12))


def test_steps_grow_with_the_share_the_gpus_and_micro_batches() -> None:
    rate = Rate(overhead=0.1, per_sample=0.001, measured=True)
    assert rate.step_seconds(200, 4, A100) == pytest.approx(0.3)
    assert rate.step_seconds(200, 1, A100) == pytest.approx(0.3)
    assert rate.step_seconds(200, 64, A100) == pytest.approx(0.3 * (1 + 16 * rates.GROWTH))
    assert rate.step_seconds(200, 4, A100, micro_batch=200) == pytest.approx(0.3)
    assert rate.step_seconds(200, 4, A100, micro_batch=64) == pytest.approx(4 * 0.1 + 4 / 3 * 0.2)


@pytest.mark.parametrize(
    ("gpu", "gain"),
    [
        ("NVIDIA A100-SXM4-80GB", 1.0),
        ("A100-SXM-64GB", (358 / 312) ** rates.GAIN),
        ("NVIDIA GH200 120GB", (989.4 / 312) ** rates.GAIN),
        ("A40", 149.7 / 312),
    ],
)
def test_other_gpus_are_scaled_by_their_peaks(gpu: str, gain: float) -> None:
    rate = Rate(overhead=0.1, per_sample=0.001, measured=True)
    assert rate.step_seconds(200, 4, gpu) == pytest.approx(0.3 / gain)


def test_gpus_without_a_known_peak_in_bf16_have_no_rates() -> None:
    assert not any(is_known(name) for name in (None, "V100-SXM2-16GB", "A100-10C", "Wunderchip"))
    with pytest.raises(ValueError, match="Wunderchip"):
        Rate(0.1, 0.001, True).step_seconds(200, 4, "Wunderchip")


def test_the_script_writes_the_table(tmp_path: Path, shared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "rates.csv"
    monkeypatch.setattr(rates_fit, "TABLE", table)
    rates_fit.main(shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    assert len(table.read_text().splitlines()) == 1 + 22
