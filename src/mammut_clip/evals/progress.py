"""How far an evaluation is, told to whoever watches it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from mammut_clip.evals.points import Point
from mammut_clip.evals.sharing import Progress
from mammut_clip.evals.suite import OpenTask
from mammut_clip.runs.records import EvalRecord


class Report(Protocol):
    """Called on every rank; only rank 0's may say something."""

    def task(self, point: Point, entry: OpenTask) -> AbstractContextManager[Progress]:
        """A task begins; called with items done and in all, more than once where it has several passes."""
        ...

    def done(self, point: Point, entry: OpenTask, record: EvalRecord) -> None:
        """A task has its result."""
        ...

    def skipped(self, point: Point, entry: OpenTask, reason: str) -> None:
        """A task that the model cannot do."""
        ...

    def failed(self, point: Point, entry: OpenTask, reason: str) -> None:
        """A task whose data are bad."""
        ...


class _Silent:
    @contextmanager
    def task(self, point: Point, entry: OpenTask) -> Iterator[Progress]:
        yield lambda done, total: None

    def done(self, point: Point, entry: OpenTask, record: EvalRecord) -> None:
        pass

    def skipped(self, point: Point, entry: OpenTask, reason: str) -> None:
        pass

    def failed(self, point: Point, entry: OpenTask, reason: str) -> None:
        pass


SILENT = _Silent()
