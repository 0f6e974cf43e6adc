"""A run on two processes that is killed at 30 random moments ends exactly as one that was left alone.

Killed while it starts, trains, or writes a checkpoint, all of it at once or one rank of it; then the same command is
given again. The seed decides what kind of moment comes when; the machine decides what exactly it hits.
"""

import io
import random
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killable_job import Job

from finished_runs import flat, rows, state
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs import quarantine
from mammut_clip.runs.layout import RunDir

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

BATCH, STEPS = 32, 400
MOMENTS = ["starting"] * 7 + ["training"] * 10 + ["writing"] * 9 + ["one rank"] * 4
CONFIG: dict[str, Any] = {
    "model": "mammut_toy-XS",
    "samples_seen": STEPS * BATCH,
    "global_batch_size": BATCH,
    "data": {"workers": 0, "crop_scale": [0.5, 1.0], "filters": {"min_caption": 20}},
    "optimizer": {"lr": 1e-3},
    "schedule": {"warmup": 20 * BATCH},
    "parallel": {"threads": 1, "mode": "fsdp"},
    # rows and checkpoints fall together only now and then: between them, part of a row is in the checkpoint
    "logging": {"every": 3 * BATCH},
    "checkpoint": {"every": 8 * BATCH, "keep_last": 2, "permanent": [100 * BATCH, 250 * BATCH]},
}


def write_broken_pictures(shard: Path, samples: int) -> None:
    """Samples that a run must replace, and list in its quarantine."""
    with tarfile.open(shard, "w") as tar:
        for number in range(samples):
            for name, content in {f"{number}.jpg": b"no picture", f"{number}.txt": b"a caption that is long"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


class Runs:
    """The run that is left alone and the one that is killed: the same but for their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources = [str(folder / "train"), str(folder / "broken.tar")]
        write_toy_train(folder / "train", 1024, samples_per_shard=256)
        write_broken_pictures(folder / "broken.tar", 16)

    def start(self, name: str) -> Job:
        config = {**CONFIG, "name": name, "data": {**CONFIG["data"], "train": self._sources}}
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        arguments = [str(path), "--runs", str(self._folder / "runs"), "--device", "cpu"]
        return Job(arguments, self._folder / f"{name}.out", processes=2)

    def run_dir(self, name: str) -> RunDir:
        return RunDir(self._folder / "runs" / "single" / name)


def is_writing(run: RunDir) -> bool:
    return any(run.checkpoints_folder.glob(".*.unfinished")) if run.checkpoints_folder.is_dir() else False


def kill_at(moment: str, job: Job, run: RunDir, starting_seconds: float, dice: random.Random) -> None:
    """Kill it at a moment of this kind; returns once all of it is gone."""
    began = time.time()
    if moment == "starting":
        time.sleep(dice.uniform(0.0, starting_seconds))
        assert job.is_running, job.text
        job.kill()
        return
    wanted = dice.randint(1, 4)
    job.until_running(lambda: sum(row["time"] > began for row in run.metrics) >= wanted, every=0.05)
    match moment:
        case "writing":
            job.until_running(lambda: is_writing(run), every=0.0005)
            time.sleep(dice.uniform(0.0, 0.01))
            job.kill()
        case "training":
            time.sleep(dice.uniform(0.0, 0.2))
            job.kill()
        case "one rank":
            job.signal_rank(dice.randrange(2), signal.SIGKILL)
            assert job.wait(seconds=60) != 0


def test_a_run_killed_at_30_random_moments_ends_as_one_left_alone(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    alone, killed = runs.run_dir("alone"), runs.run_dir("killed")
    began = time.time()
    with runs.start("alone") as job:
        assert job.wait() == 0, job.text
    starting_seconds = alone.metrics[0]["time"] - began

    dice = random.Random(5)
    moments = dice.sample(MOMENTS, k=len(MOMENTS))
    assert len(moments) == 30
    cut_off = 0
    for moment in moments:
        with runs.start("killed") as job:
            kill_at(moment, job, killed, starting_seconds, dice)
        assert killed.status.state != "finished"
        cut_off += is_writing(killed)
    assert cut_off >= 3, "hardly any checkpoint was cut off: the test does not see what it is for"
    with runs.start("killed") as job:
        assert job.wait() == 0, job.text

    assert killed.status.state == "finished" and killed.status.samples_seen == STEPS * BATCH
    assert rows(killed) == rows(alone)
    assert [row["samples_seen"] for row in rows(alone)][:3] == [3 * BATCH, 6 * BATCH, 9 * BATCH]
    assert quarantine.read(killed.quarantine_folder) == quarantine.read(alone.quarantine_folder) != []
    assert [c.samples_seen for c in killed.checkpoints] == [c.samples_seen for c in alone.checkpoints]
    for one, other in zip(killed.checkpoints, alone.checkpoints, strict=True):
        found, expected = flat(state(one, tmp_path / "one.pt")), flat(state(other, tmp_path / "other.pt"))
        assert found.keys() == expected.keys() and any("exp_avg" in path for path in found)
        for path, value in expected.items():
            same = torch.equal(found[path], value) if isinstance(value, torch.Tensor) else found[path] == value
            assert same, f"{path} at {one.samples_seen} samples seen"
