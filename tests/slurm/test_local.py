"""Jobs on this machine: how their commands end."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mammut_clip.config.cluster import load_cluster
from mammut_clip.slurm.local import LocalJob, submit_local

LOCAL = load_cluster("local")


def wait_until_ended(job: LocalJob, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while job.is_running:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)


def test_the_exit_code_of_the_command_is_recorded(tmp_path: Path) -> None:
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MINE", "HF_HUB_OFFLINE")
    code = f"import os, sys; print('got', *(os.environ.get(name) for name in {names})); sys.exit(5)"
    cluster = load_cluster("local", ["cpus_per_task=3", "gpus_per_node=2", "offline=true"])
    environment = {"MINE": "x y"}
    job = submit_local(cluster, [sys.executable, "-c", code], tmp_path, "j", visible_gpus=(1,), environment=environment)
    wait_until_ended(job)
    assert job.ended is not None and job.ended["exit_code"] == 5 and not job.was_stopped
    assert "got 3 1 x y 1" in job.log.read_text()


def test_a_command_that_will_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('{}', 'w').close(); time.sleep(60)"
    )
    files = [tmp_path / "parent", tmp_path / "child"]
    inner = [sys.executable, "-c", child.format(files[1])]
    outer = f"import subprocess; subprocess.Popen({inner!r}); " + child.format(files[0])
    job = submit_local(LOCAL, [sys.executable, "-c", outer], tmp_path, "j", grace_seconds=0.5)
    while not all(file.exists() for file in files):
        time.sleep(0.05)
    job.cancel()
    wait_until_ended(job)
    assert job.ended is not None and job.ended["exit_code"] == -9 and job.was_stopped
    alive = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in alive.splitlines() if str(files[1]) in line and not line.startswith("Z")]


def test_the_work_is_pickled_by_reference_and_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "relative")
    job = submit_local(LOCAL, ["true"], Path("folder"), "j")
    wait_until_ended(job)
    assert job.ended is not None and job.ended["exit_code"] == 0
    pickled = next((tmp_path / "folder").glob("*_submitted.pkl")).read_bytes()
    assert b"mammut_clip.slurm.work" in pickled
