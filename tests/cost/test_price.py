"""Prices: which of the three ways tells the time, and what it multiplies."""

from typing import Any

import pytest

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import gflops_per_sample
from mammut_clip.cost.price import price
from mammut_clip.cost.rates import rate_of

SLURM: dict[str, Any] = {"kind": "slurm", "gpus_per_node": 4, "cpus_per_task": 12, "time_limit_minutes": 60}
PLAIN = ClusterConfig(**SLURM, peak_tflops=300, efficiency=0.2)
JUWELS = ClusterConfig(**SLURM, peak_tflops=300, efficiency=0.2, gpu="A100-SXM4-40GB")


def config_of(**changes: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": "ViT-B-32",
        "samples_seen": "2.048M",
        "global_batch_size": 2048,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
    }
    return validate(RunConfig, values | changes, "test")


def test_a_measured_model_on_a_known_gpu_costs_its_steps() -> None:
    config = config_of()
    found = price(config, 8, JUWELS)
    step = rate_of(config.model.architecture).step_seconds(256, 8, "A100-SXM4-40GB")
    assert (found.basis, found.gpus, found.cores, found.processes) == ("measured", 8, 96, 8)
    assert found.seconds == pytest.approx(1000 * step)
    assert found.gpu_hours == pytest.approx(8 * 1000 * step / 3600)
    assert found.samples_per_second == pytest.approx(2048 / step)
    # The paper's own runs of this shape reached 840 to 920 samples a second on each GPU.
    assert 840 < found.samples_per_second / 8 < 920


def test_other_models_on_a_known_gpu_cost_what_the_formula_says() -> None:
    assert price(config_of(model="toy-S"), 4, JUWELS).basis == "formula"


@pytest.mark.parametrize("gpu", [None, "Wunderchip"])
def test_other_gpus_cost_peak_times_efficiency(gpu: str | None) -> None:
    config, cluster = config_of(), PLAIN.model_copy(update={"gpu": gpu})
    found = price(config, 8, cluster)
    work = gflops_per_sample(config.model.architecture).exact_step * 2_048_000
    assert found.basis == "efficiency"
    assert found.seconds == pytest.approx(work / (8 * 300e3 * 0.2))
    halved = price(config_of(parallel={"micro_batch_size": 128}), 8, cluster)
    assert halved.seconds == pytest.approx(found.seconds * 4 / 3)
    assert price(config_of(parallel={"micro_batch_size": 256}), 8, cluster).seconds == found.seconds


def test_a_branch_costs_what_is_left() -> None:
    branch = {"run": "r/s/a", "name": "s/a", "samples_seen": 2048 * 900}
    for cluster in (PLAIN, JUWELS):
        whole, rest = price(config_of(), 4, cluster), price(config_of(branched_from=branch), 4, cluster)
        assert rest.samples == 204_800
        assert rest.seconds == pytest.approx(0.1 * whole.seconds)
        assert rest.samples_per_second == pytest.approx(whole.samples_per_second)
