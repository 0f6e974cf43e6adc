"""A trainer without a model, for tests of the launcher: takes run directories as `mammut_clip.train` does, and keeps
their locks, status and metrics as it does. What goes wrong stands in a run's folder, in `behaviour`:
`fail` (always), `fail-once`, `die` (SIGKILL, always), `die-once`, `sleep SECONDS`, `sleep-once SECONDS`, `until FILE`
(is there), `memory PAIRS` (out of memory with more at a time), `checkpoint` (leaves its last one).
Under srun every rank notes where it is told to meet the others, and rank 0 alone "trains".
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from mammut_clip.runs import RunDir, Status, metrics
from mammut_clip.runs.adjustments import Adjustments, adjusted, micro_batch_of
from mammut_clip.runs.lease import RunIsLockedError, hold_lease


class StoppedError(Exception):
    pass


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StoppedError


def train(run: RunDir) -> bool:
    """Whether it finished."""
    attempts = run.status.attempts + 1
    total = run.config.total_samples
    # One line per start, so that tests can count how often a run was trained.
    with (run.path / "starts").open("a") as file:
        file.write(f"{os.getpid()} {os.environ.get('SLURM_JOB_ID', '')}\n")
    Status(state="running", attempts=attempts).write(run.status_file)
    metrics.append(run.metrics_file, {"samples_seen": total // 2, "loss": 1.5})
    behaviour = (run.path / "behaviour").read_text().split() if (run.path / "behaviour").exists() else ["none"]
    if behaviour[0] == "sleep" or (behaviour[0] == "sleep-once" and attempts == 1):
        time.sleep(float(behaviour[1]))
    while behaviour[0] == "until" and not Path(behaviour[1]).exists():
        time.sleep(0.05)
    if behaviour[0] == "die" or (behaviour[0] == "die-once" and attempts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour[0] == "fail" or (behaviour[0] == "fail-once" and attempts == 1):
        Status(state="failed", attempts=attempts, last_error="ValueError: told to").write(run.status_file)
        return False
    adjustments = Adjustments.of(run)
    if behaviour[0] == "memory" and micro_batch_of(adjusted(run.config, adjustments, 1), 1) > int(behaviour[1]):
        Status(state="failed", attempts=attempts, last_error="no memory", error_kind="out_of_memory").write(
            run.status_file
        )
        return False
    if behaviour[0] == "checkpoint":
        run.checkpoint(total).path.mkdir(parents=True)
        (run.checkpoint(total).path / "complete").write_text("{}")
    metrics.append(run.metrics_file, {"samples_seen": total, "loss": 1.0})
    Status(state="finished", attempts=attempts, samples_seen=total).write(run.status_file)
    return True


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _stop)
    done = True
    for argument in sys.argv[1:]:
        run = RunDir.at(Path(argument))
        rank = os.environ.get("SLURM_PROCID", "0")
        names = ("MASTER_ADDR", "MASTER_PORT", "SRUN_CPUS_PER_TASK", "OMP_NUM_THREADS", "CLUSTER_SAYS")
        (run.path / f"rank-{rank}.json").write_text(json.dumps({name: os.environ.get(name) for name in names}))
        if rank != "0":
            continue
        if run.status.state == "finished":
            continue
        try:
            with hold_lease(run.lock_file):
                done = train(run) and done
        except RunIsLockedError:
            done = False
        except StoppedError:
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            status = run.status
            Status(state="interrupted", attempts=status.attempts).write(run.status_file)
            return 143
    return 0 if done else 3


if __name__ == "__main__":
    sys.exit(main())
