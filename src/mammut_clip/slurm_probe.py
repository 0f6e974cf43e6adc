"""One rank of `mammut-clip slurm doctor`'s probe, started as a rank of training is: it joins the others, measures, and
waits for the signal. What it sees goes to <folder>/rank-<n>.json after every stage: where it hangs is known too.

    python -m mammut_clip.slurm_probe FOLDER SECONDS [SHARED_FOLDER ...] [--scratch FOLDER]
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from mammut_clip.config.cluster import available_cores
from mammut_clip.config.errors import InputError
from mammut_clip.distributed.ranks import Ranks, find_ranks
from mammut_clip.slurm.doctor.node import (
    connections_by_interface,
    find_marks,
    interfaces,
    leave_mark,
    look_at_folder,
    mark_file,
)
from mammut_clip.slurm.doctor.reports import RankReport, rank_file

_SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """The exit code: 0 where this rank saw everything and got its signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("shared", nargs="*")
    parser.add_argument("--scratch")
    options = parser.parse_args(arguments)
    report = _begin()
    for number in _SIGNALS:
        signal.signal(number, _noting(report))
    file = rank_file(options.folder, report.rank)
    report.write(file)
    try:
        _measure(report, file, [str(options.folder.resolve().parent), *options.shared], options.scratch)
    except Exception as error:  # told to whoever asked, in place of a traceback in a log
        report.error = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        report.write(file)
        return 1
    return _await_signal(report, file, options.seconds)


def _begin() -> RankReport:
    alone = Ranks(rank=0, world_size=1, local_rank=0, local_world_size=1)
    ranks = find_ranks(os.environ) or alone
    return RankReport(
        stage="begun",
        rank=ranks.rank,
        world_size=ranks.world_size,
        local_rank=ranks.local_rank,
        node=os.environ.get("SLURMD_NODENAME", ""),
        host=socket.gethostname(),
        began=time.time(),
        cores=available_cores(),
        threads=os.environ.get("OMP_NUM_THREADS"),
        visible_gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
        interfaces=interfaces(),
    )


def _noting(report: RankReport) -> Callable[[int, FrameType | None], None]:
    def note(number: int, _frame: FrameType | None) -> None:
        report.signals.setdefault(signal.Signals(number).name, time.time())

    return note


def _measure(report: RankReport, file: Path, shared: list[str], scratch: str | None) -> None:
    from mammut_clip.distributed.process import start_process
    from mammut_clip.slurm_probe_network import measure_bandwidth, measure_clock, names_of_nodes, see_gpus, sum_is_right

    report.stage = "meeting"
    report.write(file)
    process = start_process()
    report.stage = "measuring"
    report.device = str(process.device)
    see_gpus(report, process)
    if report.world_size > 1:
        report.master = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        report.master_ip = socket.gethostbyname(os.environ["MASTER_ADDR"])
    report.write(file)
    report.sum_right = sum_is_right(process)
    nodes = names_of_nodes(report)
    measure_clock(report, nodes)
    measure_bandwidth(report, process)
    report.talked_over = connections_by_interface(report.interfaces, int(os.environ.get("MASTER_PORT", 0)))
    job = os.environ.get("SLURM_JOB_ID", "0")
    first_on_node = nodes.index(report.node) == report.rank
    if first_on_node:
        for path in shared:
            leave_mark(path, job, report.node)
    process.wait_for_all()
    if first_on_node:
        report.folders = [look_at_folder(path) for path in shared]
        for folder in report.folders:
            find_marks(folder, job, set(nodes))
        if scratch is not None:
            report.folders.append(look_at_folder(scratch))
    process.wait_for_all()
    if first_on_node:
        for path in shared:
            mark_file(path, job, report.node).unlink(missing_ok=True)


def _await_signal(report: RankReport, file: Path, seconds: float) -> int:
    report.stage = "ready"
    report.write(file)
    deadline = time.monotonic() + seconds
    while not report.signals and time.monotonic() < deadline:
        time.sleep(0.01)
    if not report.signals:
        return 1
    report.stage = "signalled"
    report.write(file)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # ranks that failed must not wait in the group for those that did not
