"""Stages handed to each other through files alone: data, sweep, evaluation, results table, law, report."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.runs.layout import SweepDir

PROGRAM = [sys.executable, "-m", "mammut_clip.cli"]


def run(*arguments: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=3600)
    assert done.returncode == code, done.stderr[-4000:]
    return done.stdout


def attempts(sweep: SweepDir) -> dict[str, int]:
    return {r.name: r.status.attempts for r in sweep.runs()}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy data, a sweep file of eight tiny runs and a law spec, as a user would have them."""
    folder = tmp_path_factory.mktemp("workplace")
    write_toy_train(folder / "data/toy/train", 1024, samples_per_shard=256)
    write_toy_evals(folder / "data/toy/evals", pairs_per_class=2, retrieval=60, segmentation=1)
    sweep = {
        "name": "tiny",
        "base": "toy",
        "overrides": {"schedule.warmup": 64, "logging.every": 64},
        "axes": {"model": ["toy-XS", "mammut_toy-XS"], "samples_seen": [128, 256, 512, 1024]},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(sweep))
    spec = {
        "task": "train",
        "metric": "contrastive_loss",
        "unit": "error",
        "frontier": {"method": "best_per_cell"},
        "form": "power",
        "held_out": {"largest": 1},
    }
    (folder / "law.yaml").write_text(yaml.safe_dump(spec))
    return folder


def test_a_sweep_from_plan_to_report_and_nothing_twice(workplace: Path) -> None:
    plan = json.loads(run("sweep", "plan", "tiny.yaml", "--json", cwd=workplace))
    result = json.loads(run("sweep", "launch", "tiny.yaml", "--json", cwd=workplace))
    assert sorted(result["finished"]) == sorted(r["id"] for r in plan["runs"])
    assert result["failed"] == []
    sweep = SweepDir(workplace / "runs" / "tiny")
    first = attempts(sweep)
    assert set(first.values()) == {1}
    table = pd.read_parquet(sweep.results_file)
    assert set(table["task"]) == {"toy_pairs", "toy_retrieval", "train"}
    assert table.groupby("run").size().nunique() == 2  # clip runs have no caption loss

    run("sweep", "launch", "tiny.yaml", "--json", cwd=workplace)
    assert attempts(sweep) == first

    report = json.loads(run("fit", "run", "law.yaml", "--table", sweep.path, "--out", "fits", "--json", cwd=workplace))
    assert set(report["groups"]) == {"clip", "mammut"}
    assert all(len(group["held_out"]) == 1 for group in report["groups"].values())
    assert (workplace / "fits" / "law.pdf").stat().st_size > 1000

    pictures = Path("data/toy/evals/wds_toy_retrieval")
    run("report", sweep.path, "--spec", "law.yaml", "--pictures", pictures, cwd=workplace)
    page = (sweep.path / "report.html").read_text()
    assert "mammut_toy-XS-1.024K" in page
    assert page.count("data:image/jpeg") >= 12


@pytest.mark.slow
def test_the_quickstart_survives_kill_9(tmp_path: Path) -> None:
    """Killed while runs are going on, it continues to its report and repeats no finished run."""
    with subprocess.Popen([*PROGRAM, "quickstart"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        sweep = SweepDir(tmp_path / "runs" / "quickstart")
        deadline = time.monotonic() + 600
        while not any(r.status.state == "finished" for r in sweep.runs()):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.kill()
        process.wait()
    finished = {r.name: r.status for r in sweep.runs() if r.status.state == "finished"}
    assert finished
    outcome = json.loads(run("quickstart", "--json", cwd=tmp_path))
    assert Path(tmp_path / outcome["report"]).is_file()
    after = {r.name: r.status for r in sweep.runs()}
    assert {status.state for status in after.values()} == {"finished"}
    assert all(after[name] == status for name, status in finished.items())
    # The curves are real: more samples, less error; the best run is far above chance (1 of 32).
    table = pd.read_parquet(sweep.results_file).set_index(["task", "metric"]).loc[("toy_pairs", "acc1")]
    by_budget = table.groupby("samples_seen")["value"].mean()
    assert by_budget.is_monotonic_increasing
    assert table["value"].max() > 0.5
