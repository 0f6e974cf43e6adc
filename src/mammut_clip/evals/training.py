"""Evaluation inside a training job: what the trainer calls at points of its clock."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mammut_clip.config.cluster import available_cores
from mammut_clip.config.errors import InputError
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.evals.points import run_point
from mammut_clip.evals.run import Outcome, evaluate, missing, write_averages
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import make_subject
from mammut_clip.evals.suite import load_suite, open_suite, require_ready
from mammut_clip.evals.whole import whole_model
from mammut_clip.models.build import build_empty
from mammut_clip.runs.layout import RunDir

Evaluate = Callable[[RunDir, nn.Module, int, Process, Callable[[], bool]], None]
"""(run, model in evaluation mode, samples seen, process, whether to stop before the next task); collective."""


def evaluation_callback(config: RunConfig) -> Evaluate | None:
    """What the trainer calls; None where its config asks for no suite.

    Everything is opened here, so that what is missing is found before training begins: raises InputError where a
    dataset cannot be used, or where no task of the suite is one for this model.
    """
    if config.evaluation.suite is None:
        return None
    suite = load_suite(config.evaluation.suite, source=f"run {config.name}", key="evaluation.suite")
    root = config.evaluation.data_root
    tasks = open_suite(suite, Path(root) if root else None)
    require_ready(tasks)
    architecture = config.model.architecture
    _check_fit(config, [entry.task.unfit for entry in tasks if entry.task is not None])

    def run_suite(run: RunDir, model: nn.Module, samples_seen: int, process: Process, stop: Callable[[], bool]) -> None:
        outcome = Outcome(run_point(run, samples_seen))
        left = missing(tasks, outcome.point, outcome)
        if left:
            shared = Shared(process, reading_threads(process))
            subject = make_subject(whole_model(model, architecture, process.device), architecture, shared)
            evaluate(subject, left, outcome, should_stop=stop)
        if outcome.failed:  # data that were complete at the start; the run must not pass for one that was measured
            raise InputError("\n".join(f"evaluation of {name}: {reason}" for name, reason in outcome.failed.items()))
        write_averages(suite.averages, outcome)

    return run_suite


def reading_threads(process: Process) -> int:
    """Threads that read and decode, where each process of a machine has its share of the cores."""
    return max(1, available_cores() // process.local_world_size)


def _check_fit(config: RunConfig, unfit: list[Callable[..., str | None]]) -> None:
    process = Process(rank=0, world_size=1, local_rank=0, device=torch.device("meta"))
    architecture = config.model.architecture
    subject = make_subject(build_empty(architecture), architecture, Shared(process))
    reasons = [reason(subject) for reason in unfit]
    if all(reason is not None for reason in reasons):
        raise InputError(
            f"run {config.name}: evaluation.suite = {config.evaluation.suite!r}: no task of it is one for "
            f"{config.model.name}: each {reasons[0]}"
        )
