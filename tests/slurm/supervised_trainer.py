"""A trainer without a model, for tests of what runs inside jobs: it starts in a fraction of a second, and keeps the
lease, status, checkpoints and exit codes of a run as `mammut_clip.train` does, by the same means.

`python supervised_trainer.py RUN`. A "step" is a hundredth of the run's samples and takes `step_seconds`. In the run's
folder `behaviour` says what goes wrong: `crash`, `out-of-memory`, `bad-input`, `silent` (no sign of life any more),
`die` (SIGKILL); with a number of samples after it, not before that point of the clock. `meet 4`: it waits until so many
runs of the sweep have begun. `hold`: it waits at 1 sample until it is told to stop, or no more to hold. `linger`: told
to stop, it takes until it is no more told to linger.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from mammut_clip.config.errors import InputError, RunInterruptedError
from mammut_clip.exits import guarded
from mammut_clip.runs.adjustments import Adjustments, adjusted, micro_batch_of
from mammut_clip.runs.failures import kind_of
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import hold_lease
from mammut_clip.runs.records import Status
from mammut_clip.train.interrupt import InterruptWatch

FITS = 2
"""Pairs at a time that its "GPU" has room for, where it runs out of memory at all."""


def main() -> int:
    run, rank = RunDir.at(Path(sys.argv[1])), int(os.environ["SLURM_PROCID"])
    with InterruptWatch() as signals:
        note(run, rank, "start")
        return main_rank(run, signals) if rank == 0 else other_rank(run, rank, signals)


def note(run: RunDir, rank: int, what: str) -> None:
    """A line in the run's `seen`, for the test to look at."""
    names = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS")
    seen = {"rank": rank, "what": what, "at": time.time(), **{name: os.environ.get(name) for name in names}}
    with (run.path / "seen").open("a") as file:
        file.write(json.dumps(seen) + "\n")


def other_rank(run: RunDir, rank: int, signals: InterruptWatch) -> int:
    """Until rank 0 has finished."""
    while run.status.state != "finished":
        time.sleep(0.05)
        if signals.received:
            note(run, rank, signal.Signals(signals.received).name)
            time.sleep(0.5)  # rank 0 writes its checkpoint
            raise RunInterruptedError(signals.received, 0)
    return 0


def main_rank(run: RunDir, signals: InterruptWatch) -> int:
    with hold_lease(run.lock_file):
        attempts = run.status.attempts + 1
        samples = run.checkpoints[-1].samples_seen if run.checkpoints else 0

        def write(state: str, error: Exception | None = None) -> None:
            kind = None if error is None else kind_of(error)
            Status(
                state=state, samples_seen=samples, attempts=attempts, last_error=error and str(error), error_kind=kind
            ).write(run.status_file)

        write("running")
        try:
            for samples in range(samples + 1, run.config.total_samples + 1):  # noqa: B020
                time.sleep(float(os.environ.get("STEP_SECONDS", "0.02")))
                misbehave(run, samples, signals)
                if signals.received:
                    checkpoint(run, samples)
                    note(run, 0, signal.Signals(signals.received).name)
                    while is_told(run, "linger"):
                        time.sleep(0.05)
                    raise RunInterruptedError(signals.received, samples)
        except RunInterruptedError as stop:
            write("interrupted", stop)
            raise
        except Exception as error:
            write("failed", error)
            raise
        checkpoint(run, samples)
        write("finished")
    note(run, 0, "end")
    return 0


def checkpoint(run: RunDir, samples: int) -> None:
    folder = run.checkpoint(samples).path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete").write_text("{}")


def is_told(run: RunDir, what: str) -> bool:
    file = run.path / "behaviour"
    return file.exists() and file.read_text() == what


def misbehave(run: RunDir, samples: int, signals: InterruptWatch) -> None:
    file = run.path / "behaviour"
    what, _, at = (file.read_text().strip() if file.exists() else "").partition(" ")
    if not what or (samples < int(at or 0) and what != "meet"):
        return
    if what == "crash":
        raise ValueError("told to crash")
    if what == "bad-input":
        raise InputError("told to find something missing")
    if what == "out-of-memory" and micro_batch_of(adjusted(run.config, Adjustments.of(run), 1), 1) > FITS:
        raise MemoryError(f"no room for more than {FITS} pairs")
    while what == "meet" and len(list(run.path.parent.glob("*/seen"))) < int(at):
        time.sleep(0.05)
    while what == "hold" and file.exists() and not signals.received:
        time.sleep(0.05)
    if what == "silent":
        note(run, 0, "silent")
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(guarded(main))
