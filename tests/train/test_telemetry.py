"""Rows of metrics from what parts of the trainer count, and how a run that was stopped between two rows goes on.

Over several processes: tests/distributed/test_telemetry_ranks.py. Where rows go: test_sinks.py.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.metrics import WALL_CLOCK_FIELDS
from mammut_clip.runs.records import Status
from mammut_clip.train.sources import Source
from mammut_clip.train.step import LossTerms
from mammut_clip.train.step_times import StepTimes, peak_memory_gb
from mammut_clip.train.telemetry import Telemetry
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))
GFLOPS = 3.0


class Counted:
    """Counts the steps in which something happened; a source."""

    def __init__(self) -> None:
        self.now = 0

    def numbers(self) -> list[float]:
        now, self.now = self.now, 0
        return [float(now), 0.5 * now]

    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        return {"counted": round(sums[0]), "halves": sums[1], "data_wait": sums[1] / (sums[1] + seconds + 1)}


class Other(Counted):
    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        return {"others": round(sums[0])}


def losses(value: float) -> LossTerms:
    parts = (value, value / 2, None, 1 / value)
    return LossTerms(*(None if part is None else torch.tensor(part) for part in parts))


class Trained:
    """A few steps of a run under one Telemetry: every third step something is counted."""

    def __init__(self, run: RunDir, start: int, pending: Mapping[str, float], others: bool = True) -> None:
        self.clock = start
        self.counted, self.other = Counted(), Other()
        sources: list[Source] = [self.counted, self.other] if others else [self.counted]
        self.telemetry = Telemetry(run, run.config, ONE, sources, start, GFLOPS, pending)
        self.batch, self.every = run.config.global_batch_size, run.config.logging.every

    def until(self, end: int) -> "Trained":
        while self.clock < end:
            self.clock += self.batch
            self.counted.now += self.clock % (3 * self.batch) == 0
            self.other.now += 1
            self.telemetry.step()
            if self.clock % self.every == 0:
                self.telemetry.log(self.clock, losses(float(self.clock)), 0.1, torch.tensor(2.0), 14.0)
        return self


def lasting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What two runs of one config share."""
    return [{name: value for name, value in row.items() if name not in WALL_CLOCK_FIELDS} for row in rows]


def test_a_row_holds_losses_counts_and_speed(make_run: MakeRun) -> None:
    run = make_run(logging={"every": 128})
    trained = Trained(run, 0, {})
    row = trained.until(128).telemetry.log(128, losses(4.0), 0.1, torch.tensor(2.0), None)
    first = run.metrics[0]
    assert {name: first[name] for name in ("samples_seen", "step", "loss", "caption_loss", "lr", "grad_norm")} == {
        "samples_seen": 128,
        "step": 4,
        "loss": 128.0,
        "caption_loss": None,
        "lr": 0.1,
        "grad_norm": 2.0,
    }
    assert first["contrastive_accuracy"] == 1 / 128
    assert first["counted"] == 1
    assert first["others"] == 4
    assert row["logit_scale"] is None
    assert first["samples_per_second_per_gpu"] == first["samples_per_second"]
    assert first["tflops_per_second"] == pytest.approx(first["samples_per_second"] * GFLOPS / 1e3, rel=1e-3)
    assert first["mfu"] is None  # nobody knows the peak of a CPU
    assert first["step_seconds_p50"] <= first["step_seconds_p95"] <= first["step_seconds_max"]
    assert 0 < first["peak_memory_gb"] < 1000
    assert WALL_CLOCK_FIELDS - set(first) == {"checkpoint_wait"}  # a source's, which is not here


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_null_and_hides_nothing_else(make_run: MakeRun, value: float) -> None:
    run = make_run(logging={"every": 128})
    trained = Trained(run, 0, {}).until(64)
    trained.telemetry.log(64, losses(value), 0.1, torch.tensor(value), 14.0)
    row = run.metrics[-1]
    assert row["loss"] is row["contrastive_loss"] is row["grad_norm"] is None
    assert (row["others"], row["logit_scale"]) == (2, 14.0)


@pytest.mark.parametrize("stops", [(96,), (224,), (32, 64, 96, 160), (128,), (320, 352)])
def test_rows_of_a_run_that_was_stopped_are_those_of_one_that_was_not(
    make_run: MakeRun, stops: tuple[int, ...]
) -> None:
    """Stopped, or crashed two steps later, with checkpoints between rows and at them."""
    every = {"logging": {"every": 128}}
    whole = make_run(name="whole", **every)
    Trained(whole, 0, {}).until(512)
    stopped = make_run(name="stopped", **every)
    start, pending = 0, {}
    for stop in stops:
        trained = Trained(stopped, start, pending).until(stop)
        start, pending = stop, trained.telemetry.pending()
        trained.until(stop + 64)  # lost in a crash
    Trained(stopped, start, pending).until(512)
    assert lasting(stopped.metrics) == lasting(whole.metrics)
    assert [row["samples_seen"] for row in stopped.metrics] == [128, 256, 384, 512]


def test_a_checkpoint_changes_no_row(make_run: MakeRun) -> None:
    plain, saved = make_run(name="plain", logging={"every": 128}), make_run(name="saved", logging={"every": 128})
    Trained(plain, 0, {}).until(256)
    trained = Trained(saved, 0, {})
    for stop in range(32, 257, 32):
        trained.until(stop).telemetry.pending()
    assert lasting(saved.metrics) == lasting(plain.metrics)


def test_the_first_row_after_a_stop_counts_samples_and_seconds_of_both_attempts(make_run: MakeRun) -> None:
    run = make_run(logging={"every": 128})
    first = Trained(run, 0, {}).until(96)
    pending = first.telemetry.pending()
    assert pending["samples"] == 96
    assert pending["Other.0"] == 3
    resumed = Trained(run, 96, pending).until(128)
    row = run.metrics[0]
    assert row["samples_per_second"] == pytest.approx(128 / resumed.telemetry.train_seconds, rel=1e-3)
    assert resumed.telemetry.train_seconds > pending["train_seconds"] == pending["seconds"]
    assert row["others"] == 4


def test_nothing_is_pending_at_a_row(make_run: MakeRun) -> None:
    trained = Trained(make_run(logging={"every": 128}), 0, {}).until(128)
    seconds = trained.telemetry.train_seconds
    assert trained.telemetry.pending() == {"samples": 0, "seconds": 0, "train_seconds": seconds}


def test_seconds_of_steps_that_a_crash_undid_count_once(make_run: MakeRun) -> None:
    """They were spent, and status.json has them; what the checkpoint says of them is older."""
    run = make_run(logging={"every": 128})
    first = Trained(run, 0, {}).until(96)
    pending = first.telemetry.pending()
    spent = first.until(256).telemetry.train_seconds
    Status(state="running", samples_seen=256, train_seconds=spent).write(run.status_file)
    assert Trained(run, 96, pending).telemetry.train_seconds == spent


def test_a_branch_does_not_take_over_the_row_of_the_run_it_comes_from(make_run: MakeRun) -> None:
    pending = Trained(make_run(logging={"every": 128}), 0, {}).until(96).telemetry.pending()
    origin = {"run": "runs/x", "name": "x", "samples_seen": 96}
    branch = make_run(name="branch", logging={"every": 128}, branched_from=origin)
    telemetry = Trained(branch, 96, pending).until(128).telemetry
    assert branch.metrics[0]["others"] == 1
    assert branch.metrics[0]["samples_per_second"] == pytest.approx(32 / telemetry.train_seconds, rel=1e-3)


def test_numbers_of_a_source_that_is_gone_are_left_out(make_run: MakeRun) -> None:
    run = make_run(logging={"every": 128})
    pending = Trained(run, 0, {}).until(96).telemetry.pending()
    Trained(run, 96, pending, others=False).until(128)
    assert run.metrics[0]["counted"] == 1
    assert "others" not in run.metrics[0]


def test_pauses_are_in_no_step(make_run: MakeRun) -> None:
    began = time.perf_counter()
    trained = Trained(make_run(logging={"every": 128}), 0, {})
    paused = 0.0
    for stop in (64, 128):
        trained.until(stop - 32)
        pause = time.perf_counter()
        time.sleep(0.1)
        trained.telemetry.resume_clock()
        paused += time.perf_counter() - pause
        trained.until(stop)
    assert paused > 0.2
    assert 0 < trained.telemetry.train_seconds <= time.perf_counter() - began - paused


def test_step_times_cover_what_lies_between_their_ends() -> None:
    began = time.perf_counter()
    times = StepTimes(torch.device("cpu"))
    for _ in range(3):
        time.sleep(0.01)
        times.end_step()
    total = times.total()
    taken = times.take()
    elapsed = time.perf_counter() - began
    assert len(taken) == 3
    assert min(taken) >= 0.01
    assert total == sum(taken) <= elapsed
    assert times.take() == []


def test_peak_memory_rises_with_what_is_held() -> None:
    before = peak_memory_gb(torch.device("cpu"))
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    assert now <= before + 0.01
    held = torch.ones(round((before - now + 0.3) * 1e9 / 4))
    assert peak_memory_gb(torch.device("cpu")) > before + 0.05
    assert held[0] == 1


def test_rows_of_a_training_count_compute_and_time(make_run: MakeRun) -> None:
    run = make_run()
    Trainer(run, ONE).train()
    manifest = run.manifest
    assert manifest is not None
    rows = run.metrics
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert all(later["train_seconds"] > earlier["train_seconds"] for earlier, later in itertools.pairwise(rows))
    assert set(rows[0]) >= WALL_CLOCK_FIELDS | {"skipped_steps", "bad_samples", "epochs"}
    for row in rows:
        expected = row["samples_per_second"] * manifest.gflops_per_sample_exact / 1e3
        assert row["tflops_per_second"] == pytest.approx(expected, abs=1e-5)
        assert row["loss"] == pytest.approx(row["contrastive_loss"] + 2 * row["caption_loss"], rel=1e-5)
        assert 0 <= row["contrastive_accuracy"] <= 1
    assert run.status.train_seconds == pytest.approx(rows[-1]["train_seconds"], abs=1e-3)
