"""`mammut-clip eval doctor`: which datasets of a suite are there and complete, and how to get the others."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import SuiteConfig, TaskConfig
from mammut_clip.data.evalsets import EvalSample, EvalSet, SelectionSample, SelectionSet, WinogavilSample, WinogavilSet
from mammut_clip.evals.subject import decoded
from mammut_clip.evals.suite import OpenTask, dataset_folder, open_task

State = Literal["ready", "incomplete", "absent", "unusable"]
Progress = Callable[[int, int], None]
"""Called with (samples read, samples in all)."""
Dataset = EvalSet | SelectionSet | WinogavilSet
_ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class DatasetReport:
    """How the dataset of one task of a suite is."""

    task: str
    dataset: str
    """Its name in results."""
    folder: Path
    split: str
    state: State
    """ready; incomplete: the folder lacks files or samples; absent: there is no such folder; unusable: what is there is
    not what the task needs, or cannot be read."""
    samples: int | None
    """Samples found; None where they cannot be counted."""
    expected: int | None
    """Samples that the suite expects; None where it takes what is there."""
    reason: str | None
    """What is wrong; None where it is ready."""
    how_to_get: tuple[str, ...]
    """Commands or words, line by line; for a dataset that is ready as well."""

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"folder": str(self.folder), "how_to_get": list(self.how_to_get)}


def examine(
    suite: SuiteConfig[Any],
    data_root: Path | None = None,
    *,
    thorough: bool = False,
    threads: int = 4,
    progress: Progress = lambda done, total: None,
) -> list[DatasetReport]:
    """A report on every task of a suite, in its order.

    Opening a dataset reads its lists of samples, classes and prompts; `thorough` also decodes every picture and reads
    every label, caption and mask, those of training splits included.
    """
    root = data_root or suite.data_root
    opened = [open_task(config, root) for config in suite.tasks]
    reports = [_report(entry, root) for entry in opened]
    if not thorough:
        return reports
    datasets = [_datasets(entry) for entry in opened]
    total = sum(len(dataset) for some in datasets for dataset in some)
    read = 0
    for number, some in enumerate(datasets):
        broken = []
        for problem in (problem for dataset in some for problem in _problems(dataset, threads)):
            read += 1
            progress(read, total)
            if problem is not None:
                broken.append(problem)
        if broken:
            more = f" (and {len(broken) - 1:,} more like it)" if len(broken) > 1 else ""
            reports[number] = replace(reports[number], state="unusable", reason=broken[0] + more)
    return reports


def _report(entry: OpenTask, root: Path) -> DatasetReport:
    config, folder = entry.config, dataset_folder(entry.config, root)
    return DatasetReport(
        task=config.name,
        dataset=config.dataset_name,
        folder=folder,
        split=config.split,
        state=_state(entry, folder),
        samples=entry.samples,
        expected=config.samples,
        reason=entry.problem,
        how_to_get=how_to_get(config, folder, root),
    )


def _state(entry: OpenTask, folder: Path) -> State:
    if entry.task is not None:
        return "ready"
    if not folder.exists():
        return "absent"
    return "incomplete" if entry.missing else "unusable"


def _datasets(entry: OpenTask) -> list[Dataset]:
    """The sets that a task reads: the one it measures, and one that it trains on."""
    if entry.task is None:
        return []
    return [value for value in vars(entry.task).values() if isinstance(value, EvalSet | SelectionSet | WinogavilSet)]


def _problems(dataset: Dataset, threads: int) -> Iterator[str | None]:
    """What is wrong with each sample, in their order; None for one that can be read."""

    def look(number: int) -> str | None:
        try:
            for picture in _pictures(dataset[number]):
                decoded(picture, dataset.where(number))
        except InputError as error:
            return str(error)
        return None

    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="doctor")
    try:
        yield from pool.map(look, range(len(dataset)))
    finally:
        pool.shutdown(cancel_futures=True)


def _pictures(sample: EvalSample | SelectionSample | WinogavilSample) -> tuple[bytes, ...]:
    return (sample.image,) if isinstance(sample, EvalSample) else sample.images


def how_to_get(config: TaskConfig, folder: Path, root: Path) -> tuple[str, ...]:
    """How to get a task's dataset, line by line: what the suite says, with its places filled in."""
    if config.source is None:
        return (f"the suite does not say where to get {config.dataset_name}; it belongs in {folder}",)
    where = {"{folder}": shlex.quote(str(folder)), "{data_root}": shlex.quote(str(root))}
    if _ON_THE_HUB.fullmatch(config.source):
        return (f"hf download {config.source} --repo-type dataset --local-dir {where['{folder}']}",)
    text = re.sub("|".join(map(re.escape, where)), lambda match: where[match[0]], config.source)
    return tuple(text.strip().splitlines())


def rows(reports: Sequence[DatasetReport]) -> list[dict[str, Any]]:
    """A line of a table for each dataset."""
    return [
        {
            "task": report.task,
            "state": report.state,
            "samples": report.samples,
            "expected": report.expected,
            "folder": str(report.folder),
        }
        for report in reports
    ]


def advice(reports: Sequence[DatasetReport]) -> list[str]:
    """What is wrong with the datasets that are not ready, and how to get them, line by line; what several tasks have in
    common is said once."""
    ways: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for report in reports:
        if report.state != "ready":
            complaint = "absent" if report.state == "absent" else f"{report.state}: {report.reason}"
            ways.setdefault(report.how_to_get, {}).setdefault(complaint, []).append(report.task)
    lines = []
    for way, complaints in ways.items():
        lines += [f"{', '.join(tasks)}: {complaint}" for complaint, tasks in complaints.items()]
        lines += [f"  {step}" for step in way]
    return lines
