"""Real processes under torchrun on gloo: the same run on one and two of them, sharded and not, and across both."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.runs.layout import RunDir

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy_train(folder / "train", 1024, samples_per_shard=256)
    write_toy_evals(folder / "evals", pairs_per_class=3, retrieval=100, segmentation=2)
    return folder


def train(root: Path, data: Path, name: str, processes: int, *overrides: str) -> RunDir:
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    values = {
        "name": name,
        "samples_seen": 1280,
        "global_batch_size": 64,
        "model": "mammut_toy-XS",
        "data.train": data / "train",
        "evaluation.data_root": data / "evals",
        "logging.every": 64,
        "schedule.warmup": 128,
        "checkpoint.every": 256,
        "parallel.threads": 1,
    }
    command += ["mammut_clip.train", "toy", *(f"{key}={value}" for key, value in values.items()), *overrides]
    done = subprocess.run([*command, "--runs", str(root)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return RunDir(root / "single" / name)


def losses(run: RunDir) -> list[float]:
    return [row["loss"] for row in run.metrics]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunDir:
    return train(tmp_path_factory.mktemp("runs"), data, "one", 1)


@pytest.fixture(scope="module")
def fsdp(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunDir:
    return train(tmp_path_factory.mktemp("runs"), data, "two", 2, "parallel.mode=fsdp")


@pytest.fixture(scope="module")
def ddp(tmp_path_factory: pytest.TempPathFactory, data: Path) -> RunDir:
    return train(tmp_path_factory.mktemp("runs"), data, "two", 2, "parallel.mode=ddp")


@pytest.mark.parametrize("mode", ["fsdp", "ddp"])
def test_two_processes_give_the_losses_and_results_of_one(
    one: RunDir, mode: str, request: pytest.FixtureRequest
) -> None:
    two: RunDir = request.getfixturevalue(mode)
    assert len(losses(one)) == 20
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    assert two.manifest is not None
    assert two.manifest.world_size == 2
    results = {task: record.metrics for (_, task), record in two.evals.items()}
    assert set(results) == {"toy_pairs", "toy_retrieval"}
    for (_, task), record in one.evals.items():
        assert results[task] == pytest.approx(record.metrics, abs=0.02)


def test_a_run_moves_between_one_and_two_processes(one: RunDir, fsdp: RunDir, tmp_path: Path, data: Path) -> None:
    run = RunDir(tmp_path / "single" / fsdp.path.name)
    shutil.copytree(fsdp.path, run.path)
    # As if it had been killed after the checkpoint at 1,024 samples of two processes.
    run.remove_checkpoint(run.checkpoints[-1])
    run.status_file.unlink()
    assert run.checkpoints[-1].samples_seen == 1024
    marker = json.loads((run.checkpoints[-1].path / "complete").read_text())
    assert (marker["samples_seen"], marker["world_size"]) == (1024, 2)
    moved = train(tmp_path, data, run.path.name, 1, "parallel.mode=fsdp")
    assert losses(moved) == pytest.approx(losses(one), abs=1e-4)


def test_a_batch_that_cannot_be_shared_ends_with_exit_code_2(tmp_path: Path, data: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    overrides = ["global_batch_size=63", f"data.train={data / 'train'}", f"evaluation.data_root={data / 'evals'}"]
    command += ["-m", "mammut_clip.train", "toy", *overrides, "--runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert "use 62 or 64" in done.stderr
    assert "exitcode  : 2" in done.stderr
    assert not any(tmp_path.iterdir())
