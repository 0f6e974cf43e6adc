"""What clusters do to a run: damaged checkpoints, a full disk, a rank that dies, signals, other numbers of processes.

The longest of it is real: torchrun, kill -9, a disk of a few megabytes.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from alone import losses, train, weights
from killable_job import Job

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.layout import RunDir
from small_disk import small_disk

MakeRun = Callable[..., RunDir]
BATCH, STEPS = 32, 28


def assert_same_weights(run: RunDir, other: RunDir) -> None:
    expected = weights(other)
    assert all(torch.equal(value, expected[key]) for key, value in weights(run).items())


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(
    make_run: MakeRun, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, damaged = make_run(name="whole"), make_run(name="damaged")
    train(whole)
    train(damaged)
    before, newest = damaged.checkpoints[-2:]
    assert (before.samples_seen, newest.samples_seen) == (384, 512)
    largest = max(newest.path.iterdir(), key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    damaged.status_file.unlink()  # it is not finished, as far as anyone knows
    capfd.readouterr()
    train(damaged)
    said = capfd.readouterr().err
    assert re.search(rf"skipped .*checkpoints/512: .*{re.escape(largest.name)}", said), said
    assert "start at 384 of 512" in (damaged.logs / "attempt-1-rank-0.log").read_text()
    assert losses(damaged) == losses(whole)
    assert_same_weights(damaged, whole)
    assert damaged.checkpoints[-1].damage() is None


def values_of(shards: Path) -> dict[str, Any]:
    """A run of STEPS steps."""
    return {
        "name": "a-run",
        "model": "mammut_toy-XS",
        "samples_seen": STEPS * BATCH,
        "global_batch_size": BATCH,
        "data": {"train": [str(shards)], "workers": 0},
        "optimizer": {"lr": 1e-3},
        "schedule": {"warmup": 64},
        "logging": {"every": BATCH},
        "checkpoint": {"every": 4 * BATCH, "keep_last": 2},
        "parallel": {"threads": 1, "mode": "fsdp"},
    }


def start(folder: Path, shards: Path, processes: int, runs: Path | None = None) -> Job:
    """The run in `folder`, or below `runs`, as a user starts it; the same again goes on with it."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values_of(shards)))
    return Job([str(config), "--runs", str(runs or folder), "--device", "cpu"], folder / "output", processes)


def run_in(folder: Path) -> RunDir:
    return RunDir(folder / "single" / "a-run")


def rows_since(run: RunDir, began: float) -> int:
    return sum(row["time"] > began for row in run.metrics)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, toy_shards: Path) -> RunDir:
    """The run of `start`, on one process."""
    config = validate(RunConfig, values_of(toy_shards), "test")
    run = RunDir.create(tmp_path_factory.mktemp("undisturbed"), config)
    train(run)
    return run


def test_each_signal_has_its_exit_code_and_the_run_goes_on(
    undisturbed: RunDir, tmp_path: Path, toy_shards: Path
) -> None:
    run = run_in(tmp_path)
    for attempt, number in enumerate((signal.SIGUSR1, signal.SIGUSR2), start=1):
        began = time.time()
        with start(tmp_path, toy_shards, 1) as job:
            job.until_running(lambda began=began: rows_since(run, began) >= 3)
            job.signal(number)
            assert job.wait() == 128 + number, job.text
        assert "the same command continues there" in job.text
        assert (run.status.state, run.status.attempts) == ("interrupted", attempt)
        assert run.checkpoints[-1].samples_seen == run.status.samples_seen == run.metrics[-1]["samples_seen"]
    train(run)
    assert losses(run) == losses(undisturbed)
    assert_same_weights(run, undisturbed)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("processes", [1, 4])
def test_a_job_that_is_stopped_and_loses_a_rank_ends_well_on_other_processes(
    undisturbed: RunDir, tmp_path: Path, toy_shards: Path, processes: int
) -> None:
    run = run_in(tmp_path)
    began = time.time()
    with start(tmp_path, toy_shards, 2) as job:
        job.until_running(lambda: rows_since(run, began) >= 3)
        job.signal(signal.SIGTERM)  # to torchrun, as scancel and Kubernetes do
        assert job.wait() != 0
    assert run.status.state == "interrupted", job.text
    stopped_at = run.checkpoints[-1].samples_seen
    assert stopped_at == run.status.samples_seen

    began = time.time()
    with start(tmp_path, toy_shards, 2) as job:
        job.until_running(lambda: rows_since(run, began) >= 5)
        job.signal_rank(1, signal.SIGKILL)
        assert job.wait() != 0
    assert run.metrics[-1]["samples_seen"] > stopped_at
    assert run.status.state == "failed"
    assert re.match(r"rank 1 on host .* ended without a word", run.status.last_error or ""), run.status.last_error
    last_word = [line for line in job.text.splitlines() if line.startswith("[rank0]")][-1]  # torchrun's own come after
    assert run.status.last_error is not None and run.status.last_error in last_word

    with start(tmp_path, toy_shards, processes) as job:
        assert job.wait() == 0, job.text
    assert [samples for samples, _ in losses(run)] == [samples for samples, _ in losses(undisturbed)]
    assert [loss for _, loss in losses(run)] == pytest.approx([loss for _, loss in losses(undisturbed)], abs=1e-4)


@pytest.mark.slow
@pytest.mark.distributed
def test_a_disk_that_fills_up_stops_all_ranks_and_loses_nothing(
    undisturbed: RunDir, tmp_path: Path, toy_shards: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "6m"):
        run = run_in(disk)
        began = time.time()
        with start(tmp_path, toy_shards, 2, runs=disk) as job:
            job.until_running(lambda: len(run.checkpoints) >= 1)
            with suppress(OSError):
                (disk / "of another user").write_bytes(bytes(6_000_000))
            assert job.wait() != 0
        assert "No space left on device" in job.text
        assert run.checkpoints and all(checkpoint.damage() is None for checkpoint in run.checkpoints)
        (disk / "of another user").unlink()
        with start(tmp_path, toy_shards, 2, runs=disk) as job:
            assert job.wait() == 0, job.text
        assert [loss for _, loss in losses(run)] == pytest.approx([loss for _, loss in losses(undisturbed)], abs=1e-4)
        assert rows_since(run, began) == STEPS
