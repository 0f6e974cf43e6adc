"""Running a suite over one set of weights: what is missing is measured, and every result written as it comes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import AverageConfig
from mammut_clip.distributed.collectives import on_main
from mammut_clip.evals import results
from mammut_clip.evals.points import Point
from mammut_clip.evals.progress import SILENT, Report
from mammut_clip.evals.subject import Precision, Subject
from mammut_clip.evals.suite import OpenTask
from mammut_clip.evals.task import Task
from mammut_clip.runs.records import EvalRecord


@dataclass
class Outcome:
    """What came of a suite at one point."""

    point: Point
    records: dict[str, EvalRecord] = field(default_factory=dict)
    """Task or average -> result."""
    failed: dict[str, str] = field(default_factory=dict)
    """Task -> what is wrong with its data."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Task -> why a model of this kind cannot do it."""
    stopped: bool = False
    """Whether `should_stop` ended it before all tasks were done."""


def missing(
    tasks: Sequence[OpenTask], point: Point, outcome: Outcome, precision: Precision | None = None
) -> list[OpenTask]:
    """The tasks that have no result yet; those that have go to the outcome. Collective: rank 0 looks."""

    def look() -> dict[str, EvalRecord]:
        found = {
            entry.config.name: results.existing(point, entry.config, entry.task, precision)
            for entry in tasks
            if entry.task is not None
        }
        return {name: record for name, record in found.items() if record is not None}

    outcome.records |= on_main(look)
    outcome.failed |= {entry.config.name: str(entry.problem) for entry in tasks if entry.task is None}
    return [entry for entry in tasks if entry.task is not None and entry.config.name not in outcome.records]


def evaluate(
    subject: Subject,
    tasks: Sequence[OpenTask],
    outcome: Outcome,
    report: Report = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Measure tasks and write their results to the outcome's point. Collective.

    A task whose data are bad is noted in the outcome, and the next is done. `should_stop` is asked before each task, on
    every rank. Raises InputError where a result cannot be written.
    """
    for entry in tasks:
        if should_stop():
            outcome.stopped = True
            return
        name = entry.config.name
        assert entry.task is not None
        reason = entry.task.unfit(subject)
        if reason is not None:
            outcome.unfit[name] = reason
            report.skipped(outcome.point, entry, reason)
            continue
        with report.task(outcome.point, entry) as progress:
            shared = replace(subject.shared, progress=progress)
            try:
                record = _measure(replace(subject, shared=shared), entry.task, entry, outcome.point)
            except InputError as error:
                outcome.failed[name] = str(error)
                report.failed(outcome.point, entry, str(error))
                continue
        on_main(partial(results.write, outcome.point, name, record))
        outcome.records[name] = record
        report.done(outcome.point, entry, record)


def _measure(subject: Subject, task: Task[Any], entry: OpenTask, point: Point) -> EvalRecord:
    started = time.monotonic()
    collected = task.collect(subject)

    def score() -> EvalRecord:
        metrics = task.score(collected, subject.device)
        return results.make_record(point, entry.config, task, metrics, subject, time.monotonic() - started)

    return on_main(score)


def write_averages(averages: Sequence[AverageConfig], outcome: Outcome) -> None:
    """The averages of which every task has a result. Collective."""

    def average() -> dict[str, EvalRecord]:
        made = {config.name: results.make_average(outcome.point, config, outcome.records) for config in averages}
        done = {name: record for name, record in made.items() if record is not None}
        for name, record in done.items():
            if EvalRecord.read(outcome.point.result_file(name)) != record:
                results.write(outcome.point, name, record)
        return done

    outcome.records |= on_main(average)
