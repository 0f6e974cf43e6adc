"""A suite, opened: its datasets found and checked before any model is built."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import ConfigError, InputError, MissingError, Problem
from mammut_clip.config.evals import SuiteConfig, TaskConfig
from mammut_clip.config.files import find_file
from mammut_clip.config.include import beside, included
from mammut_clip.config.load import read_mapping, validate
from mammut_clip.evals.task import Task
from mammut_clip.evals.tasks import kinds

_TAG = re.compile(r"^tasks\.(\d+)(?:\.\w+)?")


@dataclass(frozen=True)
class OpenTask:
    """A task with its entry in the suite; or why its dataset cannot be used."""

    config: TaskConfig
    task: Task[Any] | None
    problem: str | None = None
    missing: bool = False
    """Whether the problem is that something is not there, so that getting the rest of the dataset ends it."""
    samples: int | None = None
    """How many samples there are; None where the dataset could not be opened."""


@cache
def suite_schema() -> type[SuiteConfig[Any]]:
    """The schema of suites whose tasks are of any kind there is."""
    entry = reduce(or_, [kind.config for kind in kinds().values()])
    return SuiteConfig[Annotated[entry, Field(discriminator="kind")]]  # type: ignore[valid-type]


def load_suite(
    name: str, *, source: str = "command line", key: str = "suite", above: tuple[Path, ...] = ()
) -> SuiteConfig[Any]:
    """The suite of a name in evals/, or in a file, with what it includes; `above` are the files that include it."""
    file = find_file("evals", name, source=source, key=key)
    if file.resolve() in above:
        chain = " -> ".join(path.stem for path in (*above, file))
        raise ConfigError(source, [Problem(key, f"a suite cannot include itself ({chain})", name)])
    return parse_suite(beside(file, read_mapping(file)), str(file), (*above, file.resolve()))


def parse_suite(values: dict[str, Any], source: str, above: tuple[Path, ...] = ()) -> SuiteConfig[Any]:
    """A suite from plain values. Raises ConfigError with all that is wrong."""
    entries = values.get("tasks")
    unknown = [
        Problem(
            f"tasks.{number}.kind",
            f"no such kind of task; {nearest(str(entry.get('kind')), list(kinds()))}",
            entry.get("kind"),
        )
        for number, entry in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and entry.get("kind") not in kinds()
    ]
    if unknown:
        raise ConfigError(source, unknown)
    more = included(values, source, partial(load_suite, above=above))
    try:
        return validate(suite_schema(), more.before(values), source)
    except ConfigError as error:
        plain = [replace(problem, key=_key_in_file(problem.key, len(more.tasks))) for problem in error.problems]
        raise ConfigError(source, plain) from error


def _key_in_file(key: str, before: int) -> str:
    """A key as the file has it: without the kind, by which the schema was chosen, and without the included tasks that
    stand before its own."""
    return _TAG.sub(lambda match: f"tasks.{int(match[1]) - before}", key)


def dataset_folder(config: TaskConfig, root: Path) -> Path:
    """Where a task's dataset is: its folder, or that with the split behind its name, as DataComp's download calls it
    (wds_cars_test)."""
    folder = root / config.folder_name
    with_split = Path(f"{folder}_{config.split}")
    return with_split if with_split.is_dir() and not folder.exists() else folder


def open_suite(suite: SuiteConfig[Any], data_root: Path | None = None, only: Sequence[str] = ()) -> list[OpenTask]:
    """Open every dataset of the suite (or of the tasks in `only`); one that cannot be used is noted, not raised.

    Raises InputError for tasks that the suite does not have, and where no dataset at all can be used.
    """
    root = data_root or suite.data_root
    known = [task.name for task in suite.tasks]
    for name in only:
        if name not in known:
            raise InputError(f"suite {suite.name} has no task {name}; {nearest(name, known)}")
    opened = [open_task(task, root) for task in suite.tasks if not only or task.name in only]
    if all(entry.task is None for entry in opened):
        raise InputError("\n".join(f"{entry.config.name}: {entry.problem}" for entry in opened))
    return opened


def open_task(config: TaskConfig, root: Path) -> OpenTask:
    """Open the dataset of one task."""
    folder = dataset_folder(config, root)
    try:
        task = kinds()[config.kind].open(config, folder)
    except InputError as error:
        return OpenTask(config, None, str(error), isinstance(error, MissingError))
    found, expected = len(task), config.samples
    if expected is not None and found != expected:
        return OpenTask(config, None, f"{folder}: {found} samples; expected {expected}", found < expected, found)
    return OpenTask(config, task, samples=found)


def require_ready(tasks: Sequence[OpenTask]) -> None:
    """Raise InputError with every dataset that cannot be used."""
    problems = [f"{entry.config.name}: {entry.problem}" for entry in tasks if entry.task is None]
    if problems:
        raise InputError("\n".join(problems))
