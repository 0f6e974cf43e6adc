"""An evaluation on the terminal: a bar with the time left, and a line for every result."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mammut_clip.config.quantity import format_quantity
from mammut_clip.evals.points import Point
from mammut_clip.evals.sharing import Progress as Advance
from mammut_clip.evals.suite import OpenTask
from mammut_clip.runs.records import EvalRecord


class TerminalReport:
    """Rank 0's, on standard error. The bar counts samples of all tasks at all points."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console)
        self._total = self._bar.add_task("", total=total)
        self._done = 0

    def __enter__(self) -> "TerminalReport":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.update(self._total, description="evaluated")
        self._bar.stop()

    @contextmanager
    def task(self, point: Point, entry: OpenTask) -> Iterator[Advance]:
        """As Report."""
        samples = len(entry.task) if entry.task is not None else 0
        self._bar.update(self._total, description=escape(f"{name_of(point)} {entry.config.name}"))

        def advance(done: int, total: int) -> None:
            # a task has several passes: the last of them is the one over pictures
            self._bar.update(self._total, completed=self._done + samples * done / max(1, total))

        yield advance
        self._advance(samples)

    def done(self, point: Point, entry: OpenTask, record: EvalRecord) -> None:
        """As Report."""
        shown = f"{record.metric} {record.metrics[str(record.metric)]:.4f}"
        self._say(f"{name_of(point)} {entry.config.name}: {shown} ({record.samples:,} samples, {record.seconds:.1f} s)")

    def skipped(self, point: Point, entry: OpenTask, reason: str) -> None:
        """As Report."""
        self._advance(len(entry.task) if entry.task is not None else 0)
        self._say(f"{name_of(point)} {entry.config.name}: left out: {reason}")

    def failed(self, point: Point, entry: OpenTask, reason: str) -> None:
        """As Report."""
        self._say(f"{name_of(point)} {entry.config.name}: FAILED: {reason}")

    def _advance(self, samples: int) -> None:
        self._done += samples
        self._bar.update(self._total, completed=self._done)

    def _say(self, line: str) -> None:
        self._bar.console.print(escape(line), soft_wrap=True, highlight=False)


def name_of(point: Point) -> str:
    """A point in a few words."""
    if point.samples_seen is None:
        return point.pretrained
    return f"{point.folder.parent.parent.name}@{format_quantity(point.samples_seen)}"
