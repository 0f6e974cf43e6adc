"""Which results are there already, and what a new one records."""

import hashlib
import json
from importlib.metadata import version
from typing import Any

from mammut_clip.config.atomic import write_json
from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import AverageConfig, TaskConfig
from mammut_clip.evals.points import Point
from mammut_clip.evals.subject import Precision, Subject
from mammut_clip.evals.task import Metrics, Task
from mammut_clip.runs.records import EvalRecord

# what says where data are, how many at a time, or what is shown first; and not what is measured
_NO_PART_OF_THE_RESULT = {"name", "source", "folder", "batch_size", "metric", "samples"}


def definition_of(config: TaskConfig, task: Task[Any]) -> str:
    """Digest of everything but weights and pictures that decides a result."""
    values = config.model_dump(mode="json", exclude=_NO_PART_OF_THE_RESULT | {"classnames", "templates"})
    text = json.dumps({"config": values, "task": task.definition(), "samples": len(task)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def existing(point: Point, config: TaskConfig, task: Task[Any], precision: Precision | None) -> EvalRecord | None:
    """The result that stands in the point's folder; None where it is absent, unreadable, of other weights, of another
    definition of the task, or in another precision than the one asked for (None: any).

    Where another suite gave the task another metric to be known by, the file is written anew with this one's.
    """
    record = EvalRecord.read(point.result_file(config.name))
    if record is None or record.checkpoint != point.identity or record.definition != definition_of(config, task):
        return None
    if precision not in (None, record.precision):
        return None
    metric = _metric(config, task, record.metrics)
    if metric != record.metric:
        record = record.model_copy(update={"metric": metric})
        write(point, config.name, record)
    return record


def _metric(config: TaskConfig, task: Task[Any], metrics: Metrics) -> str:
    metric = config.metric or task.metric
    if metric not in metrics:
        raise InputError(f"task {config.name}: metric = {metric!r}: expected one of {', '.join(metrics)}")
    return metric


def make_record(
    point: Point, config: TaskConfig, task: Task[Any], metrics: Metrics, subject: Subject, seconds: float
) -> EvalRecord:
    """The record of a result. Raises InputError where the config asks for a metric that the task does not give."""
    return EvalRecord(
        dataset=config.dataset_name,
        model=point.model,
        pretrained=point.pretrained,
        task=task.benchmark_name,
        metrics=metrics,
        metric=_metric(config, task, metrics),
        samples_seen=point.samples_seen,
        checkpoint=point.identity,
        definition=definition_of(config, task),
        precision=subject.precision,
        preprocessing=subject.preprocessing,
        samples=len(task),
        seconds=round(seconds, 3),
        processes=subject.shared.process.world_size,
        mammut_clip=version("mammut-clip"),
    )


def make_average(point: Point, config: AverageConfig, results: dict[str, EvalRecord]) -> EvalRecord | None:
    """The average's record, of each task's own metric; None where a task has no result yet."""
    if not all(name in results for name in config.tasks):
        return None
    members = [results[name] for name in config.tasks]
    values = [float(member.metrics[member.metric]) for member in members if member.metric is not None]
    digest = hashlib.sha256(" ".join(str(member.definition) for member in members).encode()).hexdigest()[:16]
    precisions = sorted({str(member.precision) for member in members})
    return EvalRecord(
        dataset=config.name,
        model=point.model,
        pretrained=point.pretrained,
        task="average",
        metrics={"average": sum(values) / len(values)},
        metric="average",
        samples_seen=point.samples_seen,
        checkpoint=point.identity,
        definition=digest,
        precision=", ".join(precisions),
        samples=len(members),
        mammut_clip=version("mammut-clip"),
    )


def write(point: Point, name: str, record: EvalRecord) -> None:
    """Write a result, whole or not at all. Raises InputError where that fails."""
    write_json(point.result_file(name), record.model_dump(mode="json"))
