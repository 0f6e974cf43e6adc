"""`mammut-clip slurm doctor` on a real Slurm, healthy and with faults."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster
from cluster_network import INFINIBAND, NetworkedCluster

from mammut_clip.slurm.queue import read_queue

pytestmark = pytest.mark.slurm

SITE = ("gpus_per_node=0", "cores_per_node=1", "cpus_per_task=1", "whole_nodes=false", "time_limit_minutes=30")
COMMAND = (str(Path(sys.executable).with_name("mammut-clip")), "slurm", "doctor", *SITE)


def examine(folder: Path, *overrides: str, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """What was looked at -> its findings."""
    done = subprocess.run([*COMMAND, "--json", *overrides], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] == (code == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in told["findings"]:
        found.setdefault(finding["what"], []).append(finding)
    return found


def problems(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [finding for findings in found.values() for finding in findings if finding["verdict"] == "problem"]


def left_over(folder: Path) -> list[Path]:
    return [*folder.glob("runs/.slurm-doctor-*"), *folder.glob(".mammut-clip-doctor-*")]


def no_job_is_left() -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        queue = read_queue()
        if queue is not None and all(job.is_over for job in queue.values()):
            return True
        time.sleep(0.1)
    return False


def test_a_wrong_partition_and_a_long_time_limit_are_named(slurm: SlurmCluster, tmp_path: Path) -> None:
    [wrong] = problems(examine(tmp_path, "partition=mian", code=3))
    assert wrong["what"] == "partition"
    assert "mian" in wrong["found"]
    assert "did you mean main?" in wrong["advice"]
    [wrong] = problems(examine(tmp_path, "partition=short", code=3))
    assert wrong["what"] == "sbatch"
    assert "time_limit_minutes 30" in wrong["found"]


def test_a_site_in_order_but_for_one_folder(slurm: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    found = examine(tmp_path, f"shared_paths=[{tmp_path}, {tmp_path}/absent]", f"scratch={tmp_path}/work", code=3)
    [wrong] = problems(found)
    assert wrong["what"] == "shared"
    assert f"{tmp_path}/absent on n" in wrong["found"]
    assert "shared_paths" in wrong["advice"]
    assert {finding["found"].partition(":")[0] for finding in found["shared"]} == {
        f"{tmp_path}/runs",
        f"{tmp_path}",
        f"{tmp_path}/absent on n1",
    }
    [scratch] = found["scratch"]
    assert scratch["found"].startswith(f"{tmp_path}/work: ")
    assert scratch["verdict"] in ("ok", "note")  # a note where this machine's disk is nearly full: test_doctor_findings
    for what in ("programs", "arrays", "partition", "sbatch", "probe", "ranks", "cores", "meeting"):
        assert [finding["verdict"] for finding in found[what]] == ["ok"], found[what]
    assert found["ranks"][0]["found"] == "2 started by srun: 1 on n1, 1 on n2"
    assert "answers in" in found["controller"][0]["found"]
    for what in ("controller", "all_reduce", "gloo", "clocks", "signal", "requeue"):  # a warning: this machine is busy
        assert found[what][0]["verdict"] in ("ok", "warning"), found[what]
    assert "restart 1" in found["requeue"][0]["found"]
    assert no_job_is_left()
    assert [path.parent.name for path in left_over(tmp_path)] == ["runs"]  # kept, as something was wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "what", "words", "advice"),
    [
        ("host_suffix=-ib", "ranks", "n1-ib does not resolve", "host_suffix"),
        ("setup=['echo module: not found', exit 4]", "probe", "exit code 4", "setup"),
        ("environment.GLOO_SOCKET_IFNAME=ib7", "ranks", "ib7", "network_interfaces"),
        ("cpus_per_task=8", "nodes", "8 CPUs are asked for", "cpus_per_task"),
        ("limits.array_size=5000", "arrays", "5000", "limits.array_size: 1000"),
    ],
)
def test_what_is_wrong_is_named(
    slurm: SlurmCluster, tmp_path: Path, override: str, what: str, words: str, advice: str
) -> None:
    overrides = [override, *(["cores_per_node=8"] if "cpus_per_task" in override else [])]
    probe = [] if what in ("ranks", "probe") else ["--no-probe"]
    wrong = problems(examine(tmp_path, *overrides, *probe, code=3))[0]
    assert wrong["what"] == what
    assert words in wrong["found"]
    assert advice in wrong["advice"]
    assert no_job_is_left()


@pytest.mark.slow
def test_a_folder_that_the_nodes_do_not_share_is_named(networked_slurm: NetworkedCluster, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    namespace = ["nsenter", "-t", str(networked_slurm.processes_of("n2")[0]), "-m"]
    subprocess.run([*namespace, "mount", "-t", "tmpfs", "none", str(private)], check=True)
    [wrong] = problems(examine(tmp_path, f"shared_paths=[{tmp_path}, {private}]", code=3))
    assert wrong["what"] == "shared"
    assert wrong["found"] == f"{private}: n1 does not see what n2 wrote"


@pytest.mark.slow
@pytest.mark.parametrize("start", ["srun", "torchrun"])
def test_the_fast_network_is_the_one_in_use(networked_slurm: NetworkedCluster, tmp_path: Path, start: str) -> None:
    found = examine(tmp_path, "host_suffix=i", "network_interfaces=[ib0]", f"start={start}", "cores_per_node=2")
    meeting = found["meeting"][0]["found"]
    assert meeting.startswith("n1i:")
    assert meeting.endswith(f" = {networked_slurm.address('n1', INFINIBAND)}, on ib0 of n1")
    assert found["network"][0]["found"] == "TCP between nodes over ib0"
    assert found["ranks"][0]["found"] == f"4 started by {start}: 2 on n1, 2 on n2"
    assert not problems(found)
    assert not left_over(tmp_path)


@pytest.mark.slow
def test_the_slow_network_is_noticed(networked_slurm: NetworkedCluster, tmp_path: Path) -> None:
    found = examine(tmp_path, "network_interfaces=[ib0]", "environment.GLOO_SOCKET_IFNAME=eth0")
    assert found["network"][0]["verdict"] == "warning"
    assert "eth0" in found["network"][0]["found"]
    assert found["meeting"][0]["verdict"] == "note"


@pytest.mark.slow
@pytest.mark.parametrize("held", [True, False])
def test_ctrl_c_cancels_the_probe(slurm: SlurmCluster, tmp_path: Path, held: bool) -> None:
    process = subprocess.Popen(
        [*COMMAND, *(["sbatch_options=[--hold]"] if held else [])], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    wanted = {"PENDING"} if held else {"RUNNING"}
    if not held:
        while not any(job.state in wanted for job in (read_queue() or {}).values()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == (3 if held else 130), output
    assert ("release" in output) == held
    assert no_job_is_left()
