"""The watch over real processes on gloo: killed, stopped, stuck, failing; each ends all, with the first error last.

One scenario is one set of three processes. They are forked from a server that has loaded torch once.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gloo_processes import forking
from mammut_clip.distributed import Process
from mammut_clip.train.watch import Limits, Watch

pytestmark = pytest.mark.distributed

WORLD = 3
PATIENT = Limits(turn=0.1, beat=0.3, silence=60.0, settle=1.0, collect=2.0, grace=1.0, goodbye=2.0)
"""Nobody is taken for dead because this machine is busy."""
IMPATIENT = replace(PATIENT, silence=6.0)
NEVER = 600.0
GENTLE = replace(PATIENT, grace=NEVER)
"""Main threads must end by themselves: the test fails where one is waited for so long."""
CPU = torch.device("cpu")

Body = Callable[[Watch, int, Path], None]


@dataclass(frozen=True)
class Ended:
    """What is left of one process."""

    pid: int
    exit_code: int | None
    stderr: str
    log: str

    @property
    def last_line(self) -> str:
        return self.stderr.strip().splitlines()[-1]


def rank_main(rank: int, body: Body, hang_after: float, limits: Limits, folder: Path) -> None:
    """What the trainer does around its loop."""
    with (folder / f"{rank}.err").open("w") as stderr:
        os.dup2(stderr.fileno(), 2)
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    process = Process(rank, WORLD, rank, CPU)
    watch = Watch(process, hang_after, folder / f"{rank}.log", (folder / "status").write_text, limits)
    try:
        with watch:
            try:
                body(watch, rank, folder)
            except Exception as error:
                watch.failed(error)
                raise
    except Exception:
        traceback.print_exc()
        print(f"error: {watch.first_failure()}", file=sys.stderr)
        if rank == 0:
            (folder / "status").write_text(watch.first_failure() or "")
        sys.exit(1)
    dist.destroy_process_group()


def start(body: Body, hang_after: float, limits: Limits, folder: Path) -> list[ForkServerProcess]:
    context = forking()
    arguments = [(rank, body, hang_after, limits, folder) for rank in range(WORLD)]
    processes = [context.Process(target=rank_main, args=given, daemon=True) for given in arguments]
    for process in processes:
        process.start()
    return processes


def collect(processes: list[ForkServerProcess], folder: Path) -> list[Ended]:
    """Wait for all; one that does not end within minutes fails the test."""
    deadline = time.monotonic() + 300
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    still = [process.pid for process in processes if process.is_alive()]
    for pid in still:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    files = [(folder / f"{rank}.err", folder / f"{rank}.log") for rank in range(WORLD)]
    texts = [(err.read_text(), log.read_text() if log.exists() else "") for err, log in files]
    assert not still, texts
    return [Ended(p.pid or 0, p.exitcode, *text) for p, text in zip(processes, texts, strict=True)]


def wait_for_all(folder: Path) -> None:
    """Return when all ranks have come to the place where something happens to one of them."""
    deadline = time.monotonic() + 300
    while len(list(folder.glob("*.there"))) < WORLD:
        assert time.monotonic() < deadline, [path.read_text() for path in folder.glob("*.err")]
        time.sleep(0.01)


def all_reduce(watch: Watch) -> None:
    watch.at(12_800, "computing")
    dist.all_reduce(torch.zeros(8))


def arrive(folder: Path, rank: int) -> None:
    (folder / f"{rank}.there").touch()


# --- an error on one rank, while the others wait for it in a collective


def one_raises(watch: Watch, rank: int, _: Path, failing: int) -> None:
    watch.at(12_736, "computing")
    if rank == failing:
        raise ValueError("label 7 is out of range")
    all_reduce(watch)


@pytest.mark.parametrize("failing", [0, 1])
def test_the_error_of_one_rank_ends_all_and_is_shown_last(tmp_path: Path, failing: int) -> None:
    ended = collect(start(partial(one_raises, failing=failing), NEVER, GENTLE, tmp_path), tmp_path)
    first = f"rank {failing} on host {os.uname().nodename}: ValueError: label 7 is out of range"
    for process in ended:
        assert process.last_line == f"error: {first}"
        assert process.exit_code == 1
    assert "in all_reduce" in ended[1 - failing].stderr + ended[2].stderr  # other errors came later
    assert (tmp_path / "status").read_text() == first


# --- a process is killed


def wait_in_a_collective(watch: Watch, rank: int, folder: Path) -> None:
    watch.at(12_800, "computing")
    arrive(folder, rank)
    if rank == 1:
        time.sleep(NEVER)
    all_reduce(watch)


def test_a_killed_process_is_named_instead_of_the_errors_that_follow(tmp_path: Path) -> None:
    processes = start(wait_in_a_collective, NEVER, GENTLE, tmp_path)
    wait_for_all(tmp_path)
    os.kill(processes[1].pid or 0, signal.SIGKILL)
    ended = collect(processes, tmp_path)
    assert [process.exit_code for process in ended] == [1, -signal.SIGKILL, 1]
    assert "in all_reduce" in ended[0].stderr + ended[2].stderr
    for process in (ended[0], ended[2]):
        assert process.last_line.startswith(f"error: rank 1 on host {os.uname().nodename} (pid {ended[1].pid})")
        assert "ended without a word" in process.last_line


def wait_in_vain(watch: Watch, rank: int, folder: Path) -> None:
    watch.at(12_800, "computing")
    arrive(folder, rank)
    time.sleep(NEVER)


def test_rank_0_killed_takes_the_others_down(tmp_path: Path) -> None:
    processes = start(wait_in_vain, NEVER, PATIENT, tmp_path)
    wait_for_all(tmp_path)
    os.kill(processes[0].pid or 0, signal.SIGKILL)
    ended = collect(processes, tmp_path)
    assert [process.exit_code for process in ended] == [-signal.SIGKILL, 1, 1]
    for process in ended[1:]:
        assert process.last_line.startswith("error: rank 0 on host ")
        assert f"(pid {ended[0].pid}) ended without a word" in process.last_line


# --- a process is stopped, or its threads do not get to run: no sign of life, but its connection stands


def test_a_stopped_process_is_missed_and_ends_too_when_it_wakes_up(tmp_path: Path) -> None:
    processes = start(wait_in_vain, NEVER, IMPATIENT, tmp_path)
    wait_for_all(tmp_path)
    stopped = processes[1].pid or 0
    os.kill(stopped, signal.SIGSTOP)
    for process in (processes[0], processes[2]):
        process.join(300)
    assert processes[1].is_alive()
    os.kill(stopped, signal.SIGCONT)
    for process in collect(processes, tmp_path):
        assert f"rank 1 on host {os.uname().nodename} (pid {stopped}) gave no sign of life for " in process.last_line
        assert process.exit_code == 1
    assert "rank 1" in (tmp_path / "status").read_text()


def hold_the_interpreter(watch: Watch, rank: int, _: Path) -> None:
    watch.at(12_800, "computing")
    if rank == 1:
        ctypes.PyDLL(None).sleep(14)
    time.sleep(NEVER)


def test_a_process_whose_threads_do_not_run_is_missed_and_says_where_it_is(tmp_path: Path) -> None:
    processes = start(hold_the_interpreter, NEVER, IMPATIENT, tmp_path)
    ended = collect(processes, tmp_path)
    for process in ended:
        assert "gave no sign of life" in process.last_line
    assert "in hold_the_interpreter" in ended[1].stderr


# --- a step hangs


def stuck_in_data(watch: Watch, rank: int, _: Path) -> None:
    with watch.paused("starting"):
        dist.barrier()
    if rank == 2:
        watch.at(12_736, "waiting for data")
        time.sleep(NEVER)
    all_reduce(watch)


def test_a_hanging_step_names_the_rank_that_holds_up_the_others(tmp_path: Path) -> None:
    ended = collect(start(stuck_in_data, 5.0, PATIENT, tmp_path), tmp_path)
    host = os.uname().nodename
    sentence = (
        f"nothing has moved for 5 s: rank 2 on host {host} (pid {ended[2].pid}) is still waiting for data at "
        "12,736 samples; all others are computing at 12,800 samples"
    )
    assert (tmp_path / "status").read_text() == sentence
    for rank, process in enumerate(ended):
        assert process.last_line == f"error: {sentence}"
        assert process.exit_code == 1
        for text in (process.log, process.stderr):
            assert f"rank {rank} on host {host} (pid {process.pid}) has been" in text
            assert "in stuck_in_data" in text
            assert ("in all_reduce" in text) == (rank != 2)


# --- nothing is wrong


def leave_one_after_the_other(watch: Watch, rank: int, folder: Path) -> None:
    arrive(folder, rank)
    going_on = torch.ones(())
    while going_on:
        watch.at(64, "computing")
        going_on.fill_(not (folder / "continued").exists())
        dist.all_reduce(going_on, dist.ReduceOp.MIN)
        time.sleep(0.01)
    with watch.paused("evaluating"):
        time.sleep(7.0)  # longer than a step may take
    if rank == 2:
        time.sleep(PATIENT.goodbye + 1)  # much later than rank 0, which cannot wait so long


def test_a_job_that_was_suspended_goes_on_and_ends_well(tmp_path: Path) -> None:
    processes = start(leave_one_after_the_other, 6.0, IMPATIENT, tmp_path)
    wait_for_all(tmp_path)
    for process in processes:
        os.kill(process.pid or 0, signal.SIGSTOP)
    time.sleep(8.0)  # longer than a step may take, and than a rank may be silent
    for process in processes:
        os.kill(process.pid or 0, signal.SIGCONT)
    (tmp_path / "continued").touch()
    for process in collect(processes, tmp_path):
        assert (process.exit_code, process.log) == (0, "")
        assert "error" not in process.stderr  # faulthandler, which does not know why time has passed, may have spoken
    assert not (tmp_path / "status").exists()


# --- under torchrun, whose agent ends the others too

UNDER_TORCHRUN = """
import os, signal, sys, traceback
from pathlib import Path
import torch
import torch.distributed as dist
from mammut_clip.distributed import start_process
from mammut_clip.train.watch import Watch

signal.signal(signal.SIGTERM, lambda *_: None)  # training stops after its step, which does not end
process = start_process("cpu")
with Watch(process, 600.0, Path(sys.argv[1]) / "log") as watch:
    watch.at(64, "computing")
    if process.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        dist.all_reduce(torch.zeros(8))
    except Exception as error:
        watch.failed(error)
print(f"error: {watch.first_failure()}", file=sys.stderr)
sys.exit(1)
"""


@pytest.mark.slow
def test_under_torchrun_the_rank_that_was_killed_is_named_too(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNDER_TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--log-dir", str(tmp_path / "logs"), "--redirects", "3", str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (stderr,) = (tmp_path / "logs").glob("**/0/stderr.log")
    last = stderr.read_text().strip().splitlines()[-1]
    assert last.startswith("error: rank 1 on host ")
    assert "ended without a word" in last
