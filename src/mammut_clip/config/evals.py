"""Evaluation suites: which tasks, where their data are. What the entries of evals/*.yaml have in common.

The keys that one kind of task has for itself stand with that task, in mammut_clip/evals/tasks.
"""

from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, model_validator

from mammut_clip.config.base import Config, nearest
from mammut_clip.config.run import SafeName

IMAGENET = Path("imagenet")
"""In place of a file: open_clip's class names or prompts."""
Layout = Literal["clip_benchmark", "image_folder", "ade20k", "sugar_crepe", "winoground", "winogavil", "shards"]


class TaskConfig(Config):
    """One task on one dataset."""

    name: SafeName
    """Name of the task; its result is evals/<samples>/<name>.json."""
    kind: str
    """What is measured, and how; each kind has further keys of its own."""
    dataset: str = ""
    """The dataset's name in results, as CLIP_benchmark has it, such as vtab/caltech101; empty takes the task's name."""
    folder: str = ""
    """Folder of the dataset, relative to the suite's data_root; empty takes wds_ and the dataset's name, - for /."""
    layout: Layout = "clip_benchmark"
    """How the files lie in the folder (docs/evaluation-data.md)."""
    split: str = "test"
    """Which split of it."""
    samples: int | None = Field(None, ge=1)
    """How many samples the split has; another number is an error. Null takes what is there."""
    source: str | None = None
    """How to get the dataset, for `mammut-clip eval doctor`: the name of the repository on the Hugging Face hub that is
    the folder, such as djghosh/wds_cars_test; or commands or words, in which {folder} and {data_root} are filled in."""
    batch_size: int = Field(64, ge=1)
    """Pictures or texts per forward pass of one process. Results do not depend on the number of processes, and on
    this one by rounding only."""
    metric: str | None = None
    """The metric that averages and overviews show; null takes the kind's own."""

    @property
    def dataset_name(self) -> str:
        """The name in results."""
        return self.dataset or self.name

    @property
    def folder_name(self) -> str:
        """Folder below data_root."""
        return self.folder or "wds_" + self.dataset_name.replace("/", "-")


class PromptedTaskConfig(TaskConfig):
    """A task that describes classes in words; the words come from the dataset unless they are given here."""

    classnames: list[str] | Path | None = Field(None)
    """Class number -> name, or a file with a name per line, relative to the folder of the suite's file; null takes the
    dataset's classnames.txt. `imagenet` is the list of open_clip."""
    templates: list[str] | Path | None = Field(None)
    """Prompts with `{c}` where the class goes, or a file with one per line, relative to the folder of the suite's file;
    null takes the dataset's zeroshot_classification_templates.txt. `imagenet` are the 80 of open_clip."""


class AverageConfig(Config):
    """The mean over tasks of the metric that each of them is known by."""

    name: SafeName
    """Its result is evals/<samples>/<name>.json, written once every task of it has one."""
    tasks: list[str] = Field(min_length=1)
    """Names of tasks of the suite."""


class IncludeConfig(Config):
    """What is taken from another suite; with neither tasks nor averages, all of it."""

    suite: str
    """Its name in evals/, or a YAML file, relative to the folder of this one."""
    tasks: list[str] | None = None
    """Names of its tasks."""
    averages: list[str] | None = None
    """Names of its averages, which come with their tasks."""


T = TypeVar("T", bound=TaskConfig)


class SuiteConfig(Config, Generic[T]):
    """A named list of tasks."""

    name: SafeName
    """Name of the suite."""
    data_root: Path = Path()
    """Folder that holds the datasets; a run's evaluation.data_root or --data-root replaces it."""
    include: tuple[IncludeConfig, ...] = ()
    """Tasks and averages of other suites; they come before those of this one."""
    tasks: list[T] = Field(min_length=1)
    """What is measured."""
    averages: tuple[AverageConfig, ...] = ()
    """What is averaged."""

    @model_validator(mode="after")
    def _names(self) -> "SuiteConfig[T]":
        tasks = [task.name for task in self.tasks]
        names = tasks + [average.name for average in self.averages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tasks or averages have the same name: {', '.join(twice)}")
        for average in self.averages:
            for name in average.tasks:
                if name not in tasks:
                    raise ValueError(f"the average {average.name} names the task {name!r}; {nearest(name, tasks)}")
        return self
