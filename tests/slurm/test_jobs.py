"""Jobs: what a batch script holds, how commands end on this machine, how the queue is read."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit.slurm.slurm import _make_sbatch_string

from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.distributed.meeting import HOST_SUFFIX
from mammut_clip.slurm import submit
from mammut_clip.slurm.jobs import slurm_parameters
from mammut_clip.slurm.queue import QueuedJob, parse_queue

LOCAL = load_cluster("local")


def script_of(cluster: ClusterConfig, processes: int) -> str:
    return _make_sbatch_string("true", "/f", **slurm_parameters(cluster, "job", processes))


def test_the_batch_script_says_what_the_cluster_file_says() -> None:
    cluster = load_cluster("juwels-booster", ["account=proj", "qos=low", "exclude_nodes=[jwb0026, 'jwb[0098-0099]']"])
    lines = script_of(cluster, 8).splitlines()
    for expected in (
        "#SBATCH --account=proj",
        "#SBATCH --partition=booster",
        "#SBATCH --qos=low",
        "#SBATCH --exclude='jwb0026,jwb[0098-0099]'",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=12",
        "#SBATCH --gres=gpu:4",
        "#SBATCH --time=360",
        "#SBATCH --signal=USR2@300",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        "export NCCL_SOCKET_IFNAME=ib0",
        "export GLOO_SOCKET_IFNAME=ib0",
        "export WANDB_MODE=offline",
        f"export {HOST_SUFFIX}=i",
    ):
        assert expected in lines
    assert any(line.startswith("srun ") and "--kill-on-bad-exit=1" in line for line in lines)


def test_a_job_smaller_than_a_node_asks_for_its_share() -> None:
    lines = script_of(load_cluster("generic"), 2).splitlines()
    assert {"#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=2", "#SBATCH --gres=gpu:2"} <= set(lines)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\0", exclude_categories=("Cs",))))
def test_no_value_of_a_variable_is_ever_read_by_the_shell(value: str) -> None:
    cluster = ClusterConfig(
        kind="slurm", time_limit_minutes=60, peak_tflops=1, efficiency=0.5, environment={"VALUE": value}
    )
    [line] = [line for line in script_of(cluster, 1).split("\n") if line.startswith("export VALUE=")]
    assert shlex.split(line, comments=True) == ["export", f"VALUE={value}"]


def wait_until_ended(job: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while job.is_running:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)


def test_commands_run_in_turn_and_their_exit_codes_are_recorded(tmp_path: Path) -> None:
    code = "import os, sys; e = os.environ; print('got', e['OMP_NUM_THREADS'], e['CUDA_VISIBLE_DEVICES']); sys.exit({})"
    cluster = load_cluster("local", ["cpus_per_task=3", "gpus_per_node=2"])
    commands = [[sys.executable, "-c", code.format(n)] for n in (0, 5)]
    job = submit(cluster, commands, tmp_path, "j", visible_gpus=(1,))
    wait_until_ended(job)
    assert [record["exit_code"] for record in job.ended] == [0, 5]
    assert job.log.read_text().count("got 3 1") == 2


def test_a_command_that_will_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('{}', 'w').close(); time.sleep(60)"
    )
    files = [tmp_path / "parent", tmp_path / "child"]
    inner = [sys.executable, "-c", child.format(files[1])]
    outer = f"import subprocess; subprocess.Popen({inner!r}); " + child.format(files[0])
    job = submit(
        LOCAL, [[sys.executable, "-c", outer], ["touch", str(tmp_path / "next")]], tmp_path, "j", grace_seconds=0.5
    )
    while not all(file.exists() for file in files):
        time.sleep(0.05)
    job.cancel()
    wait_until_ended(job)
    assert [record["exit_code"] for record in job.ended] == [-9]
    assert not (tmp_path / "next").exists()
    alive = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in alive.splitlines() if str(files[1]) in line and not line.startswith("Z")]


def test_the_work_is_pickled_by_reference_and_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "relative")
    job = submit(LOCAL, [["true"]], Path("folder"), "j")
    wait_until_ended(job)
    assert [record["exit_code"] for record in job.ended] == [0]
    pickled = next((tmp_path / "folder").glob("*_submitted.pkl")).read_bytes()
    assert b"mammut_clip.slurm.work" in pickled


def test_the_queue_is_read_with_reasons_that_hold_commas_and_names_that_hold_bars() -> None:
    text = "12|PENDING|ReqNodeNotAvail, UnavailableNodes:n2|a|b\n13|RUNNING|None|c\nslurm_load_jobs error\n"
    assert parse_queue(text) == {
        "12": QueuedJob("12", "a|b", "PENDING", "ReqNodeNotAvail, UnavailableNodes:n2"),
        "13": QueuedJob("13", "c", "RUNNING", "None"),
    }
