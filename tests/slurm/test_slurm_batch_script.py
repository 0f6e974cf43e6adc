"""The batch script of docs/training.md on a real Slurm: told to stop, queued again, and finished."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cluster import SlurmCluster

from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs.layout import RunDir

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SIZES = {
    "nodes=4": "nodes=2",
    "ntasks-per-node=4": "ntasks-per-node=1",
    "cpus-per-task=12": "cpus-per-task=1",
    "time=06:00": "time=00:30",
}
"""What the page asks for, and what the small cluster has."""
CONFIG = {
    "name": "mine",
    "model": "mammut_toy-XS",
    "samples_seen": 16_384,
    "global_batch_size": 32,
    "data": {"train": ["shards"], "workers": 0},
    "optimizer": {"lr": 1e-3},
    "logging": {"every": 32},
    "parallel": {"threads": 1},
}


def batch_script() -> str:
    """The page's, for the small cluster and this Python."""
    block = re.search(r"(?:^    .*\n|^\n)*^    #!/bin/bash\n(?:^    .*\n)+", PAGE.read_text(), re.MULTILINE)
    assert block is not None
    script = re.sub(r"^    ", "", block[0], flags=re.MULTILINE).lstrip()
    for theirs, ours in SIZES.items():
        assert theirs in script
        script = script.replace(theirs, ours)
    return script.replace(" --gres=gpu:4", " --output=output").replace("python -m", f"{sys.executable} -m")


def wait_for(condition: Callable[[], bool], folder: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (folder / "output").read_text()[-4000:]
        time.sleep(0.1)


def test_it_goes_on_after_a_requeue(slurm: SlurmCluster, tmp_path: Path) -> None:
    write_toy_train(tmp_path / "shards", 512, samples_per_shard=256)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "job.sh").write_text(batch_script())
    submitted = subprocess.run(["sbatch", "--parsable", "job.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    run = RunDir(tmp_path / "runs" / "single" / "mine")
    wait_for(lambda: len(run.metrics) >= 3, tmp_path)
    slurm.ask("scancel", "--signal=USR1", job)  # as --signal does: to all tasks, not to the script
    wait_for(lambda: run.status.state == "interrupted", tmp_path)
    stopped_at = run.status.samples_seen
    assert 0 < stopped_at < CONFIG["samples_seen"]
    wait_for(lambda: run.status.state == "finished", tmp_path)
    assert run.status.attempts == 2
    assert f"start at {stopped_at} of 16384" in (run.logs / "attempt-2-rank-0.log").read_text()
    assert [row["step"] for row in run.metrics] == list(range(1, 513))
    wait_for(lambda: job not in slurm.ask("squeue", "-h", "-o", "%A"), tmp_path)
