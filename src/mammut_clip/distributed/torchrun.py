"""torchrun as one task of a Slurm step on each node: `python -m mammut_clip.distributed.torchrun RANKS -m module ...`.

The first node's torchrun holds the store where all meet, on the step's own port. Each is told whether it is that one,
which it cannot know where the address is not its host's name (JSC's `jwb0001i`), and by which address the others reach
it, or rank 0 would hand out that of the slow network.

SIGUSR1 and SIGUSR2 are handed on to the ranks, as often as they come, and torchrun itself goes on until those have
ended. By itself it would die of them; told to pass them on (--signals-to-handle), it gives up at the second one, and
the ranks die with it in the middle of their checkpoint.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from mammut_clip.config.errors import InputError
from mammut_clip.distributed.meeting import first_address, own_address, port
from mammut_clip.distributed.ranks import integer


def torchrun_arguments(environment: Mapping[str, str], ranks: int, command: Sequence[str]) -> list[str]:
    """What follows `torchrun` on this node. Raises InputError outside a Slurm step."""
    if "SLURM_STEP_NODELIST" not in environment:
        raise InputError("torchrun is started like this by srun, as one task on each node; found no step of Slurm")
    job, step = integer(environment, "SLURM_JOB_ID"), integer(environment, "SLURM_STEP_ID")
    return [
        f"--nnodes={integer(environment, 'SLURM_STEP_NUM_NODES')}",
        f"--nproc-per-node={ranks}",
        "--rdzv-backend=c10d",
        f"--rdzv-id={job}.{step}",
        f"--rdzv-endpoint={first_address(environment)}:{port(environment)}",
        f"--rdzv-conf=is_host={int(integer(environment, 'SLURM_NODEID') == 0)}",
        f"--local-addr={own_address(environment)}",
        *command,
    ]


def children() -> Iterator[int]:
    """Ids of the processes that this one has started."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                yield int(stat.parent.name)


def _hand_on(number: int, _frame: FrameType | None) -> None:
    for child in children():
        with suppress(ProcessLookupError):
            os.kill(child, number)


def main(arguments: Sequence[str]) -> int:
    """Be this node's torchrun; the exit code."""
    ranks, *command = arguments
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _hand_on)
    try:
        told = torchrun_arguments(os.environ, int(ranks), command)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    from torch.distributed.run import main as torchrun

    try:
        torchrun(told)
    finally:  # nobody is left to hand them to, and at Python's end they would kill this process
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
