"""Who a process is, where it meets the others, how it joins and how it leaves them."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.distributed.meeting import HOST_SUFFIX, first_host, meeting_point
from mammut_clip.distributed.process import gpu_index
from mammut_clip.distributed.ranks import Ranks, find_ranks, tasks_per_node
from ports import reserved_port

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "11",
    "SLURM_TASKS_PER_NODE": "4(x2),3",
    "SLURM_JOB_NODELIST": "n[1-3]",
}
TASK = BATCH_SCRIPT | {
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NUM_TASKS": "11",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
    "SLURM_STEP_NODELIST": "n[1-3]",
}
ONE_TASK = TASK | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
ONE_NODE = TASK | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "n3"}


def test_torchrun_and_srun_say_who_a_process_is_and_a_batch_script_does_not() -> None:
    assert find_ranks(TORCHRUN) == Ranks(5, 8, 1, 4)
    assert find_ranks(TASK) == Ranks(9, 11, 1, 3)
    assert find_ranks(TASK | {"SLURM_NODEID": "1", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"}) == Ranks(4, 11, 0, 4)
    for alone in ({}, BATCH_SCRIPT, ONE_TASK, {"WORLD_SIZE": "1"}):
        assert find_ranks(alone) is None


def test_torchrun_inside_a_step_counts_not_the_step() -> None:
    assert find_ranks(TASK | TORCHRUN) == Ranks(5, 8, 1, 4)


def test_a_script_may_pass_the_ranks_of_srun_on() -> None:
    assert find_ranks(TASK | {"RANK": "9", "WORLD_SIZE": "11"}) == Ranks(9, 11, 1, 3)
    assert find_ranks(TASK | {"WORLD_SIZE": "11"}) == Ranks(9, 11, 1, 3)
    # other numbers than the step's are another job's: one process on each machine
    assert find_ranks(TASK | {"RANK": "1", "WORLD_SIZE": "2"}) == Ranks(1, 2, 0, 1)


def test_one_process_under_torchrun_has_a_rank() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert find_ranks(alone) == Ranks(0, 1, 0, 1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RANK": "1"}, "neither"),
        ({"WORLD_SIZE": "2"}, "neither"),
        (TORCHRUN | {"RANK": "x"}, "RANK = 'x': expected a number"),
        (TORCHRUN | {"RANK": "8"}, "rank 8 of 8"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, "4 of 4"),
        (TORCHRUN | {"WORLD_SIZE": "-1"}, "WORLD_SIZE = '-1'"),
        ({k: v for k, v in TASK.items() if k != "SLURM_LOCALID"}, "SLURM_LOCALID = None: expected a number"),
        ({k: v for k, v in TASK.items() if k != "SLURM_STEP_TASKS_PER_NODE"}, "expected numbers of tasks, such as"),
        (TASK | {"SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, "SLURM_NODEID = 2, but .* 2 node"),
        (TASK | {"SLURM_STEP_NUM_TASKS": "9"}, "rank 9 of 9"),
    ],
)
def test_variables_that_are_wrong_are_named(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_ranks(changed)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_tasks_per_node_are_read_as_slurm_writes_them(counts: list[int]) -> None:
    runs = [(value, len(list(group))) for value, group in itertools.groupby(counts)]
    written = ",".join(str(value) if times == 1 else f"{value}(x{times})" for value, times in runs)
    assert tasks_per_node(written) == counts


@pytest.mark.parametrize("text", ["", "4,", "4(x", "(x2)", "4(2)", "a"])
def test_other_text_is_no_number_of_tasks(text: str) -> None:
    with pytest.raises(InputError, match="expected numbers of tasks"):
        tasks_per_node(text)


def test_within_one_node_the_loopback_is_the_meeting_point() -> None:
    assert meeting_point(ONE_NODE)["MASTER_ADDR"] == "127.0.0.1"


def test_what_the_environment_sets_stays() -> None:
    assert meeting_point(ONE_NODE | {"MASTER_ADDR": "set"}).keys() == {"MASTER_PORT"}
    assert meeting_point(ONE_NODE | {"MASTER_PORT": "set"}).keys() == {"MASTER_ADDR"}
    assert meeting_point({"MASTER_ADDR": "set", "MASTER_PORT": "1"}) == {}
    with pytest.raises(InputError, match="MASTER_PORT not: start with torchrun or srun"):
        meeting_point(TORCHRUN | {"MASTER_ADDR": "set"})


@given(st.integers(1, 10**8), st.integers(0, 190), st.integers(0, 100), st.integers(0, 100))
def test_steps_that_are_near_each_other_have_ports_of_their_own(job: int, away: int, step: int, other: int) -> None:
    def port(job: int, step: int) -> int:
        environment = ONE_NODE | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}
        return int(meeting_point(environment)["MASTER_PORT"])

    assert 1024 < port(job, step) < 32_768
    if (away, step) != (0, other):
        assert port(job, step) != port(job + away, other)


def test_the_first_node_is_reached_by_its_name_with_the_suffix() -> None:
    node = {"SLURM_STEP_NODELIST": "local,n[4-7]"}
    assert meeting_point(TASK | node | {HOST_SUFFIX: "host"})["MASTER_ADDR"] == "localhost"
    assert meeting_point(TASK | {"SLURM_STEP_NODELIST": "localhost,n4"})["MASTER_ADDR"] == "localhost"
    with pytest.raises(InputError, match=rf"{HOST_SUFFIX} = '\.invalid': the name localhost\.invalid does not resolve"):
        meeting_point(TASK | {"SLURM_STEP_NODELIST": "localhost,n4", HOST_SUFFIX: ".invalid"})


def test_a_name_that_neither_resolves_nor_is_known_to_slurm_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no scontrol here
    with pytest.raises(InputError, match=r"first node, n1\.invalid, does not resolve.*scontrol.*set MASTER_ADDR"):
        meeting_point(TASK | {"SLURM_STEP_NODELIST": "n[1-3].invalid"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("jwb[0021-0022,0030]i,login", "jwb0021i"),
        ("lrdn[0003,0009]", "lrdn0003"),
        ("rack[2-3]node[05-07],n1", "rack2node05"),
        ("a-b[1]", "a-b1"),
    ],
)
def test_the_first_host_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_process_takes_the_gpu_of_its_local_rank_or_the_only_one() -> None:
    assert [gpu_index(rank, 4) for rank in range(4)] == [0, 1, 2, 3]
    assert [gpu_index(rank, 1) for rank in range(4)] == [0, 0, 0, 0]
    with pytest.raises(InputError, match="local rank 4 on a machine with 4 visible GPUs"):
        gpu_index(4, 4)


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


def start(code: str, world_size: int, folder: Path, port: int) -> list[subprocess.Popen[str]]:
    """Processes that run `code` with a rank each, as a launcher starts them."""
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=kept | variables | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world_size)},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]


ONE = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from mammut_clip.distributed import start_process, stop_process
from mammut_clip.distributed.batch_size import check_batch_size
from mammut_clip.distributed.collectives import all_gather_rows, all_reduce_sum, from_main, pass_on
process = start_process("cpu")
assert (process.rank, process.world_size, process.local_world_size, process.is_main) == (0, 1, 1, True)
assert dist.is_initialized()
rows = torch.arange(6.0).reshape(3, 2)
for result in (all_gather_rows(rows), all_reduce_sum(rows), pass_on(rows).wait(), from_main(rows)):
    assert torch.equal(result, rows)
check_batch_size(3)
check_batch_size(4)
process.wait_for_all()
model = torch.nn.Linear(2, 2)
fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
model(rows).sum().backward()
stop_process()
assert not dist.is_initialized()
"""


@pytest.mark.distributed
def test_one_process_under_torchrun_has_a_group_that_does_no_harm(tmp_path: Path, port: int) -> None:
    (process,) = start(ONE, 1, tmp_path, port)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


PEER_IS_LOST = """
import os, signal, time
import torch, torch.distributed as dist
from mammut_clip.distributed import process, start_process, stop_process
process._FLEE_SECONDS = 1.0
me = start_process("cpu")
try:
    me.wait_for_all()
    if me.rank == {hangs}:
        open("hanging", "w").close()
        time.sleep(600)
    if me.rank == {dies}:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    under_way = dist.all_reduce(torch.ones(100_000), async_op=True)
    if {hangs} == 1:
        raise ValueError("one of mine")
    under_way.wait()
finally:
    stop_process()
"""


@pytest.mark.distributed
def test_a_peer_that_dies_or_hangs_holds_nobody_back_from_leaving_with_its_error(tmp_path: Path, port: int) -> None:
    left, dead = start(PEER_IS_LOST.format(hangs=-1, dies=1), 2, tmp_path, port)
    _, errors = left.communicate(timeout=300)
    assert (left.returncode, dead.wait()) == (1, -signal.SIGKILL)
    assert "RuntimeError" in errors.splitlines()[-1]

    left, hanging = start(PEER_IS_LOST.format(hangs=1, dies=-1), 2, tmp_path, port)
    try:
        _, errors = left.communicate(timeout=300)
        assert left.returncode == 1
        assert errors.splitlines()[-1].endswith("ValueError: one of mine")
        assert "it ends without them" in errors
        while not (tmp_path / "hanging").exists():
            assert hanging.poll() is None
            time.sleep(0.01)
        assert hanging.poll() is None
    finally:
        hanging.kill()
        hanging.wait()
        assert hanging.stderr is not None
        hanging.stderr.close()
