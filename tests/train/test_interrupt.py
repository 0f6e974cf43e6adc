"""Signals that ask for a stop: what this process notes, and what torchrun makes of them for several."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gloo_processes import forking
from mammut_clip import distributed
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.__main__ import main
from mammut_clip.train.interrupt import InterruptWatch

MakeRun = Callable[..., RunDir]

STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.parametrize("number", STOPPING)
def test_each_signal_is_noted_and_the_process_goes_on(number: int) -> None:
    before = {each: signal.getsignal(each) for each in STOPPING}
    with InterruptWatch() as watch:
        assert watch.received == 0
        os.kill(os.getpid(), number)
        assert watch.received == number
    assert {each: signal.getsignal(each) for each in STOPPING} == before


def test_a_signal_is_noted_from_the_construction_on() -> None:
    watch = InterruptWatch()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        with watch:
            assert watch.received == signal.SIGUSR1


def test_the_first_signal_counts_and_others_change_nothing() -> None:
    with InterruptWatch() as watch:
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), number)
            assert watch.received == signal.SIGUSR2


def test_a_second_ctrl_c_stops_at_once() -> None:
    with InterruptWatch() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert watch.received == signal.SIGINT


def stopped_twice(target: str) -> None:
    """A training that is told to stop at its start, and by another signal when it has done so."""
    start = distributed.start_process

    def start_and_stop(*given: Any) -> distributed.Process:
        os.kill(os.getpid(), signal.SIGUSR1)
        return start(*given)

    distributed.start_process = start_and_stop
    code = main([target])
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGUSR2)
    sys.exit(code)


def test_the_first_signal_decides_the_exit_code_also_on_the_way_out(make_run: MakeRun) -> None:
    """srun --kill-on-bad-exit sends SIGTERM to the ranks that end a moment after the first."""
    process = forking().Process(target=stopped_twice, args=(str(make_run().path),))
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGUSR1


WORKER = """
import sys, time
from pathlib import Path
from mammut_clip.train.interrupt import InterruptWatch
with InterruptWatch() as watch:
    from mammut_clip.distributed import start_process, stop_process
    from mammut_clip.train.agreement import Agreement
    process = start_process("cpu")
    agreement = Agreement(process)
    agreement.pace(0.01)
    folder, step, number = Path(sys.argv[1]), 0, 0
    while not number:
        step += 1
        time.sleep(0.01)
        (number,) = agreement.reached(step, watch.received)
        if step == 10:
            (folder / f"at-work-{process.rank}").touch()
    time.sleep(0.5)  # the checkpoint
    (folder / f"{process.rank}").write_text(f"{number} {step} {process.local_rank} {process.local_world_size}")
    stop_process()
sys.exit(128 + number)
"""


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("number", "options"),
    [
        pytest.param(signal.SIGTERM, [], marks=pytest.mark.slow),  # a training gets it in test_crashes.py
        (signal.SIGINT, []),
        (signal.SIGUSR1, ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"]),
    ],
    ids=["SIGTERM", "Ctrl-C", "SIGUSR1"],
)
def test_torchrun_passes_it_on_once_and_all_stop_after_the_same_step(
    tmp_path: Path, number: signal.Signals, options: list[str]
) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    with (tmp_path / "output").open("w") as output:
        # A process group of its own: as in a terminal, Ctrl-C goes to all of it. torchrun's workers leave it.
        running = subprocess.Popen(
            [*torchrun, tmp_path / "worker.py", tmp_path], stdout=output, stderr=output, process_group=0
        )
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("at-work-*"))) < 2:
        assert running.poll() is None, (tmp_path / "output").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, number)
    code = running.wait(timeout=300)
    told = [(tmp_path / str(rank)).read_text().split() for rank in (0, 1)]
    assert told[0][:2] == told[1][:2]
    assert told[0][0] == str(int(number))
    assert [each[2:] for each in told] == [["0", "2"], ["1", "2"]]
    assert code == 1  # torchrun's, whatever its workers' codes are
