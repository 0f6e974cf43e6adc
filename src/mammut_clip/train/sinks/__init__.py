"""Where rows of metrics go: metrics.jsonl, which is the truth, and what shows the same rows elsewhere.

Weights & Biases and TensorBoard are optional: where one of them fails (a network, a key that is not set), the run says
so once and goes on without it. An attempt first hands them the rows that attempts before it wrote and they did not get.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

from mammut_clip.config.errors import InputError
from mammut_clip.config.run import RunConfig
from mammut_clip.runs import metrics
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.logs import logger, tell
from mammut_clip.train.sinks.tensorboard import TensorBoardSink
from mammut_clip.train.sinks.terminal import open_terminal
from mammut_clip.train.sinks.wandb import WandbSink

Row = dict[str, Any]


class Sink(Protocol):
    """Takes rows in the order of the clock."""

    def write(self, row: Row) -> None: ...

    def close(self, completed: bool) -> None:
        """No more rows come; `completed`: because the run has reached its budget."""
        ...


def check_sinks(config: RunConfig) -> None:
    """Raise InputError where the config asks for a sink whose package is missing; quick, and before anything starts."""
    wanted = {"tensorboard": config.logging.tensorboard, "wandb": config.logging.wandb_project is not None}
    for package, is_wanted in wanted.items():
        if is_wanted and find_spec(package) is None:
            key = "logging.tensorboard" if package == "tensorboard" else "logging.wandb_project"
            extra = "'mammut-clip[tensorboard]'" if package == "tensorboard" else package
            raise InputError(
                f"{key}: the package {package} is not installed: pip install {extra}, or leave the key out"
            )


def open_sinks(run: RunDir, config: RunConfig, start: int) -> list[Sink]:
    """All that the config asks for, brought to `start`, the samples seen when the attempt begins.

    Raises DiskFullError where metrics.jsonl cannot be cut off there.
    """
    sinks: list[Sink] = [MetricsFile(run, start)]
    if config.logging.wandb_project is not None:
        sinks.append(BestEffort("Weights & Biases", lambda: WandbSink(run, config)))
    if config.logging.tensorboard:
        sinks.append(BestEffort("TensorBoard", lambda: TensorBoardSink(run, start)))
    sinks.append(open_terminal(config.name, start, config.total_samples))
    return sinks


class MetricsFile:
    """metrics.jsonl. Raises DiskFullError where there is no room."""

    def __init__(self, run: RunDir, start: int) -> None:
        self._path = run.metrics_file
        metrics.rewind(self._path, start)

    def write(self, row: Row) -> None:
        metrics.append(self._path, row)

    def close(self, completed: bool) -> None:
        pass


class BestEffort:
    """A sink that a run does without where it fails."""

    def __init__(self, name: str, open_sink: Callable[[], Sink]) -> None:
        self._name = name
        self._sink: Sink | None = None
        try:
            self._sink = open_sink()
        except Exception as error:
            self._give_up(error)

    def write(self, row: Row) -> None:
        if self._sink is None:
            return
        try:
            self._sink.write(row)
        except Exception as error:
            self._give_up(error)

    def close(self, completed: bool) -> None:
        if self._sink is None:
            return
        try:
            self._sink.close(completed)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._sink = None
        logger.warning("%s failed", self._name, exc_info=error)
        tell(f"{self._name}: {error}; training goes on without it, metrics.jsonl has every row")
