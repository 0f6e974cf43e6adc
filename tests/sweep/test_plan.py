"""The plan: costs that follow from stated formulas, the JSON face, and how fast it is made."""

import subprocess
import sys
import time
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.cost import gflops_per_sample, parameters
from mammut_clip.sweep import load_plan, make_plan
from mammut_clip.sweep.show import format_duration, print_plan

BASE: dict[str, Any] = {
    "model": "ViT-B-32",
    "samples_seen": "1.28M",
    "global_batch_size": 1024,
    "data": {"train": "data"},
    "optimizer": {"lr": 1e-3},
}
GPUS = ClusterConfig(kind="slurm", gpus_per_node=4, time_limit_minutes=60, peak_tflops=312, efficiency=0.25)


def sweep(**values: Any) -> SweepConfig:
    return validate(SweepConfig, {"name": "s", "base": BASE, **values}, "sweeps/s.yaml")


def test_cost_of_a_run_follows_from_its_flops() -> None:
    plan = make_plan(sweep(axes={"model": ["ViT-B-32", "mammut_ViT-B-32"]}), GPUS)
    run = plan.runs[1]
    cost = gflops_per_sample(run.config.model.architecture)
    assert run.params == parameters(run.config.model.architecture).total
    assert run.gpus == 4
    assert run.gflops_paper == pytest.approx(cost.paper * 1_280_000)
    assert run.gflops_exact == pytest.approx(cost.exact_step * 1_280_000)
    assert run.seconds == pytest.approx(cost.exact_step * 1e9 * 1_280_000 / (4 * 312e12 * 0.25))
    assert run.gpu_hours == pytest.approx(run.seconds * 4 / 3600)


def test_without_gpus_the_cores_are_priced() -> None:
    cluster = ClusterConfig(kind="local", cpus_per_task=2, peak_tflops=0.05, efficiency=0.1)
    run = make_plan(sweep(gpus=8), cluster).runs[0]
    assert (run.gpus, run.processes, run.cores, run.gpu_hours) == (0, 1, 2, 0)
    assert run.core_hours == pytest.approx(run.gflops_exact / (0.05e3 * 0.1) / 3600)


def test_json_has_the_agreed_keys_and_sums_that_agree() -> None:
    document = make_plan(sweep(axes={"model": ["ViT-B-32", "mammut_ViT-B-32"], "seed": [1, 2]}), GPUS).to_json_dict()
    agreed = {"id", "model", "family", "samples_seen", "gpus", "gpu_hours", "params", "gflops", "steps"}
    assert agreed <= set(document["runs"][0])
    for key in ("gpu_hours", "gflops", "gflops_paper"):
        total = sum(run[key] for run in document["runs"])
        assert document["totals"][key] == pytest.approx(total)
        assert sum(totals[key] for totals in document["families"].values()) == pytest.approx(total)
        assert sum(totals[key] for totals in document["models"].values()) == pytest.approx(total)
    assert document["totals"]["runs"] == 4
    assert document["families"]["mammut"]["runs"] == 2


def test_gpus_that_cannot_be_had_or_cannot_share_the_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpus = 6: .*whole nodes of 4 \(run s\)"):
        make_plan(sweep(gpus=6), GPUS)
    local = load_cluster("local", ["gpus_per_node=2", "parallel_jobs=1"])
    with pytest.raises(ConfigError, match="at most 2"):
        make_plan(sweep(gpus=4), local)
    with pytest.raises(ConfigError, match=r"global_batch_size = 1024: 12 processes cannot share it"):
        make_plan(sweep(gpus=12), GPUS)


def test_five_thousand_runs_are_planned_in_seconds_without_torch() -> None:
    script = (
        "import sys, time; started = time.perf_counter()\n"
        "import mammut_clip.sweep; imported = time.perf_counter() - started\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "print(imported)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.0  # 0.4 s on an idle core
    axes = {"model": ["ViT-S-32", "ViT-B-32", "mammut_ViT-S-32", "mammut_ViT-B-32"], "seed": list(range(1250))}
    started = time.perf_counter()
    plan = make_plan(sweep(axes=axes, rules=[{"when": {"family": "clip"}, "set": {"optimizer.lr": 5e-4}}]), GPUS)
    document = plan.to_json_dict()
    assert time.perf_counter() - started < 5.0  # 0.4 s on an idle core
    assert len(document["runs"]) == 5000


def test_the_printed_plan_fits_eighty_characters_and_shows_every_run() -> None:
    plan = load_plan("quickstart")
    text = StringIO()
    print_plan(plan, Console(file=text, width=80))
    assert all(run.id in text.getvalue() for run in plan.runs)
    assert "…" not in text.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (125, "2.1 min"), (2400, "40 min"), (3 * 86400, "3.0 d")])
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
