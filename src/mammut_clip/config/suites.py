"""What a sweep must know of its evaluation suite, without torch: the names of its tasks, and where its data are."""

from pathlib import Path

from pydantic import ConfigDict

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.evals import SuiteConfig, TaskConfig
from mammut_clip.config.files import find_file, is_path
from mammut_clip.config.include import beside, included
from mammut_clip.config.load import read_mapping, validate
from mammut_clip.config.sweep import SweepEvaluation


class _AnyTask(TaskConfig):
    """A task of any kind, whose own keys are for that kind to check."""

    model_config = ConfigDict(extra="ignore")


def resolve_evaluation(evaluation: SweepEvaluation, *, source: str) -> tuple[SweepEvaluation, list[str]]:
    """The evaluation with paths that hold in any working directory, and the names of its suite's tasks.

    `source`: the file that names the suite. Raises ConfigError.
    """
    suite = _suite(evaluation.suite, source=source, key="evaluation.suite")
    root = Path(suite.data_root if evaluation.data_root is None else evaluation.data_root).expanduser().absolute()
    named = evaluation.suite
    if is_path(Path(named)):
        named = str(Path(named).absolute())
    resolved = evaluation.model_copy(update={"suite": named, "data_root": str(root)})
    return resolved, [task.name for task in suite.tasks]


def _suite(name: str, *, source: str, key: str, above: tuple[Path, ...] = ()) -> SuiteConfig[_AnyTask]:
    file = find_file("evals", name, source=source, key=key)
    if file.resolve() in above:
        raise ConfigError(source, [Problem(key, "a suite cannot include itself", name)])
    values = beside(file, read_mapping(file))
    inner = (*above, file.resolve())

    def load(name: str, *, source: str, key: str) -> SuiteConfig[_AnyTask]:
        return _suite(name, source=source, key=key, above=inner)

    more = included(values, str(file), load)
    return validate(SuiteConfig[_AnyTask], more.before(values), str(file))
