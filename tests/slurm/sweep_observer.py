"""Looks at a sweep's runs from outside while it goes on: how far they are, and who trains them."""

import itertools
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType

from toy_sweep import ToySweep


class Observer:
    """Inside the block, looks several times a second.

    overlaps: run -> trainers that lived at the same time, though of different jobs, restarts or steps. No run may have
    two. progress: run -> (monotonic time, samples seen) at each moment at which it was further than ever before.
    """

    def __init__(self, sweep: ToySweep) -> None:
        self.overlaps: dict[str, set[frozenset[str]]] = defaultdict(set)
        self.progress: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self.looks = 0
        self._latest: dict[str, int] = defaultdict(int)
        self._repeated: dict[str, int] = defaultdict(int)
        self._sweep = sweep
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> "Observer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def reached(self, run: str) -> int:
        """The furthest that a run has ever been."""
        return self.progress[run][-1][1] if self.progress[run] else 0

    def standstill(self, run: str, since: float) -> float:
        """Seconds: the longest time after a moment in which the run did not come further than it had ever been."""
        times = [since, *(moment for moment, _ in self.progress[run] if moment > since)]
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)

    def repeated(self, run: str) -> int:
        """Samples that it was trained on again: by how much its rows were cut back, each time."""
        return self._repeated[run]

    def _look_on(self) -> None:
        while not self._over.wait(0.25):
            self.looks += 1
            trainers = trainers_by_run(self._sweep.path)
            for name, found in trainers.items():
                if len(found) > 1:
                    self.overlaps[name].add(frozenset(found))
            for name in self._sweep.run_names:
                samples = self._sweep.samples(name)
                if samples < self._latest[name]:  # its rows were cut back to the checkpoint
                    self._repeated[name] += self._latest[name] - samples
                self._latest[name] = samples
                if samples > self.reached(name):
                    self.progress[name].append((time.monotonic(), samples))


def trainers_by_run(sweep: Path) -> dict[str, set[str]]:
    """Run -> the Slurm steps (job, restart, step) of which a training process lives now."""
    found: dict[str, set[str]] = defaultdict(set)
    for pid, run in training_processes(sweep):
        try:
            lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        values = dict(line.decode(errors="replace").split("=", 1) for line in lines if b"=" in line)
        names = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID")
        if "SLURM_PROCID" in values:
            found[run].add(" ".join(values.get(name, "-") for name in names))
    return found


def training_processes(sweep: Path) -> list[tuple[int, str]]:
    """(pid, run) of every process that trains a run of the sweep; srun, which waits for them, is none."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"mammut_clip.train" not in words or Path(words[0].decode(errors="replace")).name in ("srun", "env"):
            continue
        runs = [Path(word.decode(errors="replace")) for word in words if word.startswith(str(sweep).encode() + b"/")]
        found += [(int(entry.name), runs[0].name)] if runs else []
    return found
