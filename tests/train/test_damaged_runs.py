"""Runs over damaged shards: what is replaced is counted and listed, and too much of it ends the run on all ranks."""

import itertools
import json
import multiprocessing
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mammut_clip.data.order.sample_order import DatasetCounts, SampleOrder
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.distributed import Process
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir
from mammut_clip.train import trainer
from mammut_clip.train.bad_sample_limit import TooManyBadSamplesError
from mammut_clip.train.trainer import Trainer

MakeRun = Callable[..., RunDir]
ONE = Process(0, 1, 0, torch.device("cpu"))
PER_SHARD = 128
BROKEN = {(0, n) for n in range(0, PER_SHARD, 8)} | {(1, n) for n in range(0, PER_SHARD, 16)} | {(2, 5)}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards in which the pictures of BROKEN (shard, sample) are noise."""
    folder = tmp_path_factory.mktemp("damaged") / "train"
    write_toy_train(folder, 4 * PER_SHARD, samples_per_shard=PER_SHARD)
    for number, path in enumerate(sorted(folder.glob("*.tar"))):
        with tarfile.open(path) as tar, path.open("r+b") as file:
            pictures = [member for member in tar if member.name.endswith(".jpg")]
            for sample, member in enumerate(pictures):
                if (number, sample) in BROKEN:
                    file.seek(member.offset_data)
                    file.write(b"\x00" * member.size)
    return folder


def data(shards: Path, **changes: Any) -> dict[str, Any]:
    base = {"train": str(shards), "workers": 0, "shuffle": {"lanes": 4, "window": 32}, "bad_samples": {"max_rate": 0.2}}
    return base | changes


def train(run: RunDir) -> RunDir:
    Trainer(run, ONE).train()
    return run


def replaced_positions(run: RunDir, stop: int) -> list[int]:
    """Where the order puts broken samples before `stop`."""
    counts = [DatasetCounts(np.full(4, PER_SHARD))]
    span = SampleOrder(counts, run.config.seed, run.config.data.shuffle).span(range(stop))
    places = zip(span.shard.tolist(), span.sample.tolist(), strict=True)
    return [position for position, place in enumerate(places) if place in BROKEN]


def listed_positions(run: RunDir) -> list[int]:
    return sorted({one.position for one in quarantine.read(run.quarantine_folder)})


def test_each_broken_sample_is_replaced_counted_listed_and_told(
    make_run: MakeRun, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(make_run(samples_seen=1024, data=data(shards)))
    assert run.status.state == "finished"
    entries = quarantine.read(run.quarantine_folder)
    assert listed_positions(run) == replaced_positions(run, 1024)
    assert len(listed_positions(run)) == 2 * len(BROKEN)  # two epochs
    assert {one.kind for one in entries} == {"broken_picture"}
    assert {one.shard for one in entries} == {str(shards / f"0000{n}.tar") for n in range(3)}
    assert all(one.dataset == "train" and one.reason for one in entries)

    rows = run.metrics
    assert sum(row["bad_samples"] for row in rows) == len(list(quarantine.walk(run.quarantine_folder)))
    assert all(row["bad_samples"] == row.get("bad_broken_picture", 0) for row in rows)
    assert all(0 <= row["data_wait"] <= 1 for row in rows)
    assert [row["epochs"] for row in rows] == [row["samples_seen"] / 512 for row in rows]

    for line, row in zip(capsys.readouterr().err.splitlines(), rows, strict=True):
        assert (f"  bad {row['bad_samples']}" in line) == (row["bad_samples"] > 0)
        assert (f"  waits {row['data_wait']:.0%} for data" in line) == (row["data_wait"] > 0.2)


def test_a_killed_run_lists_each_replacement_once(make_run: MakeRun, shards: Path) -> None:
    run = train(make_run(samples_seen=768, data=data(shards)))
    listed, losses = list(quarantine.walk(run.quarantine_folder)), [row["loss"] for row in run.metrics]
    run.remove_checkpoint(run.checkpoints[-1])
    run.status_file.unlink()
    train(run)
    assert list(quarantine.walk(run.quarantine_folder)) == listed
    assert [row["loss"] for row in run.metrics] == losses


def test_more_damage_than_allowed_ends_the_run(make_run: MakeRun, shards: Path) -> None:
    run = make_run(data=data(shards, bad_samples={"max_rate": 0}), logging={"every": 64}, checkpoint={"every": 32})
    with pytest.raises(TooManyBadSamplesError, match=r"00000\.tar"):
        train(run)
    assert run.status.state == "failed"
    assert "TooManyBadSamplesError" in (run.status.last_error or "")
    assert run.status.samples_seen == run.metrics[-1]["samples_seen"]
    saved = [checkpoint.samples_seen for checkpoint in run.checkpoints]
    assert run.status.samples_seen not in saved, "no checkpoint beyond the regular ones"


def test_what_filters_leave_out_does_not_end_a_run(make_run: MakeRun, toy_shards: Path) -> None:
    filtered = data(toy_shards, bad_samples={"max_rate": 0}, filters={"max_caption": 25})
    run = train(make_run(data=filtered))
    assert run.status.state == "finished"
    assert not run.quarantine_folder.exists()  # left out on purpose: counted, not listed
    assert sum(row["bad_long_caption"] for row in run.metrics) > 0


def test_workers_and_threads_end_with_the_run_however_it_ends(
    make_run: MakeRun, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set(threading.enumerate())
    train(make_run(name="finished", data=data(shards, workers=2)))
    assert not multiprocessing.active_children()
    steps = itertools.count()
    computed = trainer.compute_gradients

    def fail(*arguments: Any) -> Any:
        if next(steps) == 3:
            raise RuntimeError("as an out of memory would be")
        return computed(*arguments)

    monkeypatch.setattr(trainer, "compute_gradients", fail)
    with pytest.raises(RuntimeError) as caught:  # the traceback keeps every frame of the loop
        train(make_run(name="failed", data=data(shards, workers=2)))
    assert caught.tb is not None
    assert not multiprocessing.active_children()
    for thread in set(threading.enumerate()) - threads:
        # Queues of the DataLoader's workers are closed without a wait: their threads may need a moment more. No thread
        # of ours has this name.
        if thread.name == "QueueFeederThread":
            thread.join(60)
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= threads


@pytest.mark.distributed
def test_two_ranks_stop_together(tmp_path: Path, shards: Path) -> None:
    values = {
        "name": "stopped",
        "model": "mammut_toy-XS",
        "samples_seen": 2048,
        "global_batch_size": 32,
        "schedule.warmup": 32,
        "data.train": shards,
        "data.bad_samples.max_rate": 0.01,
        "data.shuffle": json.dumps({"lanes": 4, "window": 32}),
        "logging.every": 64,
        "checkpoint.every": 512,
        "evaluation.suite": "null",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "mammut_clip.train", "toy", *(f"{key}={value}" for key, value in values.items())]
    done = subprocess.run([*command, "--runs", str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert "exitcode  : 2" in done.stderr, done.stderr[-4000:]
    run = RunDir(tmp_path / "single" / "stopped")
    assert run.status.state == "failed"
    for rank in range(2):
        log = (run.logs / f"attempt-1-rank-{rank}.log").read_text()
        assert "TooManyBadSamplesError" in log
        assert "samples were damaged" in log
    assert "in " + str(shards / "00000.tar") in (run.status.last_error or "")

    stop = run.status.samples_seen
    positions = replaced_positions(run, stop)
    assert listed_positions(run) == positions
    # at the first row with 50 damaged samples, and not before; what was tried in their place does not count
    assert len(positions) >= 50 > len(replaced_positions(run, stop - 64))
    assert run.metrics[-1]["samples_seen"] == stop
    assert [checkpoint.samples_seen for checkpoint in run.checkpoints] == [n for n in (512, 1024) if n < stop]
    assert sum(row["bad_samples"] for row in run.metrics) == len(list(quarantine.walk(run.quarantine_folder)))
    for rank in range(2):
        lines = (run.quarantine_folder / f"{rank}.jsonl").read_text().splitlines()
        assert {json.loads(line)["position"] % 2 for line in lines} == {rank}
