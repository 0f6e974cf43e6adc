"""What a suite's file takes from other files: tasks of other suites, so that a dataset is described once, and lists of
class names and prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mammut_clip.config.base import Config, nearest
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.evals import IMAGENET, AverageConfig, IncludeConfig, SuiteConfig, TaskConfig
from mammut_clip.config.files import is_path
from mammut_clip.config.load import validate


class Load(Protocol):
    """Reads the suite that an include names."""

    def __call__(self, name: str, *, source: str, key: str) -> SuiteConfig[Any]: ...


@dataclass
class Included:
    """What a suite takes from others, each once."""

    tasks: list[TaskConfig] = field(default_factory=list)
    averages: list[AverageConfig] = field(default_factory=list)

    def before(self, values: dict[str, Any]) -> dict[str, Any]:
        """The suite's own values with all this: its tasks before them, its averages behind them."""
        tasks, averages = values.get("tasks", []), values.get("averages", [])
        merged: dict[str, Any] = {}
        if self.tasks and isinstance(tasks, list):
            merged["tasks"] = [*self.tasks, *tasks]
        if self.averages and isinstance(averages, list):
            merged["averages"] = [*averages, *self.averages]
        return values | merged


class _Includes(Config):
    include: tuple[IncludeConfig, ...] = ()


def included(values: dict[str, Any], source: str, load: Load) -> Included:
    """The tasks and averages that a suite's `include` names, in the order of the suites they come from.

    Raises ConfigError for an `include` of the wrong form and for names that the other suite does not have.
    """
    found = Included()
    for number, entry in enumerate(_entries(values, source)):
        key = f"include.{number}"
        suite = load(entry.suite, source=source, key=f"{key}.suite")
        chosen = _chosen(entry, suite, source, key)
        found.tasks += [task for task in chosen.tasks if task not in found.tasks]
        found.averages += [average for average in chosen.averages if average not in found.averages]
    return found


def _entries(values: dict[str, Any], source: str) -> Sequence[IncludeConfig]:
    return validate(_Includes, {"include": values["include"]}, source).include if "include" in values else ()


def _chosen(entry: IncludeConfig, suite: SuiteConfig[Any], source: str, key: str) -> Included:
    if entry.tasks is None and entry.averages is None:
        return Included(list(suite.tasks), list(suite.averages))
    averages = {average.name: average for average in suite.averages}
    unknown = _unknown("task", entry.tasks, [task.name for task in suite.tasks], suite.name, key)
    unknown += _unknown("average", entry.averages, list(averages), suite.name, key)
    if unknown:
        raise ConfigError(source, unknown)
    chosen = [averages[name] for name in entry.averages or []]
    names = {*(entry.tasks or []), *(name for average in chosen for name in average.tasks)}
    return Included([task for task in suite.tasks if task.name in names], chosen)


def _unknown(what: str, names: list[str] | None, known: list[str], suite: str, key: str) -> list[Problem]:
    return [
        Problem(f"{key}.{what}s", f"suite {suite} has no such {what}; {nearest(name, known)}", name)
        for name in names or []
        if name not in known
    ]


def beside(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a suite's file, with relative paths of other suites and of lists of words taken from its folder."""
    found = dict(values)
    if "tasks" in values:
        found["tasks"] = _anchored(values["tasks"], ("classnames", "templates"), lambda path: path != IMAGENET, file)
    if "include" in values:
        found["include"] = _anchored(values["include"], ("suite",), is_path, file)
    return found


def _anchored(entries: Any, keys: tuple[str, ...], meant: Callable[[Path], bool], file: Path) -> Any:
    """Entries of a list, with the paths under some keys made relative to a file's folder; other values as they are."""
    if not isinstance(entries, list):
        return entries

    def anchored(entry: dict[str, Any]) -> dict[str, Any]:
        given = {key: Path(entry[key]) for key in keys if isinstance(entry.get(key), str)}
        return entry | {key: str(file.parent / path) for key, path in given.items() if meant(path)}

    return [anchored(entry) if isinstance(entry, dict) else entry for entry in entries]
