"""Evaluations follow checkpoints: which are due, from the run directories alone.

A checkpoint is evaluated when every task of the suite has its result in evals/<samples>/. Which checkpoints are meant
says evaluation.points of the sweep.
"""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from mammut_clip.config.errors import InputError
from mammut_clip.config.load import load_config
from mammut_clip.config.run import RunConfig
from mammut_clip.runs.ends import End, read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.marker import COMPLETE_MARKER
from mammut_clip.runs.retention import kept_points
from mammut_clip.slurm.policy import decide
from mammut_clip.slurm.task import Task
from mammut_clip.sweep.stored import Launched, StoredRun, StoredSweep

FIRST_GUESS_SECONDS = 600.0
"""Predicted for the first evaluations of a sweep; later ones go by what those took."""
_MEASURED = 20
"""Of so many evaluations that are done, the median is taken."""


@dataclass(frozen=True)
class Evaluated:
    """How far the evaluation of one run is."""

    done: tuple[int, ...]
    """Points of the clock at which every task has its result."""
    missing: tuple[int, ...]
    """Complete checkpoints that should have them and have not, earliest first."""


NOTHING = Evaluated((), ())


def evaluated(run: RunDir, total_samples: int, stored: StoredSweep) -> Evaluated:
    """What there is of the sweep's evaluation at a run. Looks at names of files only."""
    if stored.evaluation is None or not stored.evaluation_tasks:
        return NOTHING
    tasks, points = stored.evaluation_tasks, stored.evaluation.points
    if points == "final" or stored.evaluation.where == "training":
        if _has_results(run, total_samples, tasks):
            return Evaluated((total_samples,), ())
        return Evaluated((), tuple(_complete(run, [total_samples])))
    done = tuple(point for point in _numbered(run.path / "evals") if _has_results(run, point, tasks))
    there = _complete(run, _numbered(run.checkpoints_folder))
    missing = [point for point in there if point not in done]
    if points == "permanent" and any(point != total_samples for point in missing):
        stays = _permanent(run, there)
        missing = [point for point in missing if point in stays or point == total_samples]
    return Evaluated(done, tuple(missing))


def due_evaluations(launched: Launched, busy: Collection[str]) -> list[Task]:
    """An evaluation for each run that has checkpoints without results, and is neither `busy` (ids of tasks that are
    in jobs), nor cancelled or given up, nor waiting for its next try."""
    stored = launched.stored
    if stored.evaluation is None or stored.evaluation.where != "jobs":
        return []
    due: list[tuple[StoredRun, tuple[int, ...]]] = []
    took: list[float] = []
    for entry in stored.runs:
        task_id = evaluation_id(entry.id)
        if entry.dropped or task_id in busy:
            continue
        run = launched.run(entry.id)
        found = evaluated(run, entry.total_samples, stored)
        if found.missing and may_start(run, found.missing, stored):
            due.append((entry, found.missing))
        elif found.done and len(took) < _MEASURED:
            took += list(_durations(run))
    seconds = median(took) if took else FIRST_GUESS_SECONDS
    return [_task(launched, entry, missing, seconds) for entry, missing in due]


def evaluation_id(run_id: str) -> str:
    """The id of the task that evaluates a run."""
    return f"{run_id}.eval"


def may_start(run: RunDir, missing: Sequence[int], stored: StoredSweep) -> bool:
    """Whether policy lets the evaluation of these checkpoints start now."""
    every_end = read_ends(run.ends_file)
    words = [end.kind for end in every_end if end.kind in ("cancelled", "retry")]
    if words[-1:] == ["cancelled"]:
        return False
    decision = decide(ends_that_count(run, missing, every_end), stored.policy)
    return decision.action == "start" and decision.not_before <= time.time()


def ends_that_count(run: RunDir, missing: Sequence[int], every_end: Sequence[End]) -> list[End]:
    """The ends of a run's evaluations by which to decide whether the missing ones are tried again.

    An evaluation that was done does not stand against checkpoints that came later. Where it left a checkpoint without
    results that was there when it began, it has failed like any other.
    """
    oldest = min((_completed_at(run, point) for point in missing), default=0.0)
    counting: list[End] = []
    for end in every_end:
        if end.work != "evaluate" and end.kind != "retry":
            continue
        if end.kind != "done":
            counting.append(end)
        elif (end.began or end.ended) < oldest:
            counting = []
        else:
            error = f"it ended well and left {len(missing)} checkpoints without results"
            counting.append(end.model_copy(update={"kind": "crash", "error": error}))
    return counting


def _task(launched: Launched, entry: StoredRun, missing: Sequence[int], seconds: float) -> Task:
    evaluation = launched.stored.evaluation
    assert evaluation is not None
    run = launched.run(entry.id)
    # With `all`, keep_last may remove one of them before the evaluation comes to it: it takes what it finds.
    everything = evaluation.points == "all"
    targets = [str(run.path)] if everything else [f"{run.path}@{point}" for point in missing]
    options = ["--suite", evaluation.suite]
    if evaluation.data_root is not None:
        options += ["--data-root", evaluation.data_root]
    if everything:
        options.append("--all-checkpoints")
    arguments = ("-m", "mammut_clip.cli", "eval", *targets, *options)
    return Task(evaluation_id(entry.id), "evaluate", str(run.path), arguments, 1, seconds)


def _complete(run: RunDir, points: Sequence[int]) -> list[int]:
    """Those of the points that have a complete checkpoint."""
    return [point for point in points if run.checkpoint(point).is_complete]


def _completed_at(run: RunDir, point: int) -> float:
    try:
        return (run.checkpoint(point).path / COMPLETE_MARKER).stat().st_mtime
    except OSError:  # removed since
        return time.time()


def _has_results(run: RunDir, point: int, tasks: Sequence[str]) -> bool:
    try:
        there = set(os.listdir(run.eval_file(point, "").parent))  # noqa: PTH208 (5,000 runs a second)
    except OSError:
        return False
    return all(f"{task}.json" in there for task in tasks)


def _numbered(folder: Path) -> list[int]:
    """The numbers among the names in a folder, ascending."""
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())  # noqa: PTH208
    except OSError:
        return []


def _permanent(run: RunDir, points: Sequence[int]) -> set[int]:
    """Those of the points that no later checkpoint removes."""
    config = _config(run.config_file)
    return set() if config is None else kept_points(points, config)


@cache
def _config(file: Path) -> RunConfig | None:
    """A run keeps its config for life. None where another version wrote it: its trainer will say so."""
    try:
        return load_config(RunConfig, file)
    except InputError:
        return None


def _durations(run: RunDir) -> Iterator[float]:
    for end in read_ends(run.ends_file, "evaluate"):
        if end.kind == "done" and end.began is not None:
            yield end.ended - end.began
