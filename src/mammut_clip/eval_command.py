"""`mammut-clip eval`: a suite over runs, sweeps and models from elsewhere, in this process or in each of torchrun's.

The model of a run is built once; what differs between its checkpoints is read into it. Runs of one architecture that
follow each other share it too.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import SuiteConfig
from mammut_clip.config.model import ModelConfig
from mammut_clip.distributed import Process, start_process, stop_process
from mammut_clip.distributed.collectives import on_every, on_main
from mammut_clip.eval_progress import TerminalReport, name_of
from mammut_clip.eval_targets import ModelTarget, RunTarget, Target, expand, find_target
from mammut_clip.evals.progress import SILENT, Report
from mammut_clip.evals.run import Outcome, evaluate, missing, write_averages
from mammut_clip.evals.sharing import Shared
from mammut_clip.evals.subject import Precision, Subject
from mammut_clip.evals.suite import OpenTask, load_suite, open_suite
from mammut_clip.evals.training import reading_threads
from mammut_clip.runs.layout import Checkpoint, SweepDir
from mammut_clip.runs.records import EvalRecord

_ENDED = ("finished", "failed")


@dataclass(frozen=True)
class Request:
    """What to evaluate, on what."""

    targets: Sequence[str]
    suite: str
    data_root: Path | None = None
    tasks: Sequence[str] = ()
    """Only these of the suite."""
    all_checkpoints: bool = False
    follow: float | None = None
    """Go on while runs train, looking for new checkpoints after this many seconds; None looks once."""
    model: str | None = None
    out: Path = Path("eval_results")
    precision: Precision | None = None
    """None takes fp32, and existing results in any."""
    batch_size: int | None = None
    """In place of that of each task."""
    threads: int | None = None
    device: str | None = None

    @property
    def every_checkpoint(self) -> bool:
        """Whether all that there are of a run are meant, not its last one."""
        return self.all_checkpoints or self.follow is not None


@dataclass
class Summary:
    """What came of a request."""

    outcomes: list[Outcome] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Point or run -> why nothing of it could be evaluated."""

    @property
    def records(self) -> list[EvalRecord]:
        """Every result, in the order of points and of the suite."""
        return [record for outcome in self.outcomes for record in outcome.records.values()]

    @property
    def problems(self) -> list[str]:
        """What went wrong, a line each."""
        lines = [f"{name}: {reason}" for name, reason in self.unreadable.items()]
        failed = {(task, reason) for outcome in self.outcomes for task, reason in outcome.failed.items()}
        return lines + [f"{task}: {reason}" for task, reason in sorted(failed)]


@dataclass(frozen=True)
class _Job:
    """A point with what is to be measured there."""

    target: Target
    checkpoint: Checkpoint | None
    outcome: Outcome
    left: list[OpenTask]


def run_request(request: Request, say: Callable[[str], None]) -> tuple[Summary, Process]:
    """Evaluate what is missing. Raises InputError, before any model is built, where nothing can be evaluated."""
    suite = load_suite(request.suite)
    if request.batch_size is not None:
        batch_size = {"batch_size": request.batch_size}
        suite = suite.model_copy(update={"tasks": [task.model_copy(update=batch_size) for task in suite.tasks]})
    tasks = open_suite(suite, request.data_root, request.tasks)
    process = start_process(request.device)
    try:
        session = _Session(request, suite, tasks, process, say if process.is_main else lambda _: None)
        session.run()
        return session.summary, process
    finally:
        stop_process()


class _Session:
    """One request under way. Every method is collective."""

    def __init__(
        self,
        request: Request,
        suite: SuiteConfig[Any],
        tasks: list[OpenTask],
        process: Process,
        say: Callable[[str], None],
    ) -> None:
        self._request, self._suite, self._tasks = request, suite, tasks
        self._process, self._say = process, say
        self._shared = Shared(process, request.threads or reading_threads(process))
        self._built: tuple[ModelConfig, Subject] | None = None
        self.summary = Summary()

    def run(self) -> None:
        """Evaluate what there is and, where asked, what there will be."""
        while True:
            targets = self._targets()
            going_on = self._request.follow is not None and self._anything_to_come(targets)  # before it is looked
            self.summary = Summary()
            self._evaluate(list(self._jobs(targets)))
            self._write_tables()
            if not going_on:
                return
            on_main(lambda: time.sleep(self._request.follow or 0))

    def _targets(self) -> list[Target]:
        names = on_main(lambda: expand(self._request.targets))
        model, out = self._request.model, self._request.out
        return [on_every(partial(find_target, name, model, out)) for name in names]

    def _jobs(self, targets: list[Target]) -> Iterator[_Job]:
        for target in targets:
            if isinstance(target, ModelTarget):
                yield self._job(target, None, Outcome(target.point))
                continue
            checkpoints = on_main(partial(target.checkpoints, every=self._request.every_checkpoint))
            if not checkpoints and self._request.follow is None:
                self._no_checkpoint(target, alone=len(targets) == 1)
            for checkpoint in checkpoints:
                yield self._job(target, checkpoint, Outcome(target.point(checkpoint)))

    def _no_checkpoint(self, target: RunTarget, *, alone: bool) -> None:
        message = f"{target.run.path}: this run has no complete checkpoint yet"
        if alone:
            raise InputError(message)
        self._say(message)

    def _job(self, target: Target, checkpoint: Checkpoint | None, outcome: Outcome) -> _Job:
        return _Job(target, checkpoint, outcome, missing(self._tasks, outcome.point, outcome, self._request.precision))

    def _evaluate(self, jobs: list[_Job]) -> None:
        total = sum(len(entry.task) for job in jobs for entry in job.left if entry.task is not None)
        shown = TerminalReport(total) if total and self._process.is_main else None
        bar: AbstractContextManager[Any] = nullcontext() if shown is None else shown
        with bar:
            for job in jobs:
                self._do(job, SILENT if shown is None else shown)
        order = [entry.config.name for entry in self._tasks] + [average.name for average in self._suite.averages]
        for outcome in self.summary.outcomes:
            outcome.records = {name: outcome.records[name] for name in order if name in outcome.records}

    def _do(self, job: _Job, report: Report) -> None:
        # Once more, now that its turn has come: others may evaluate the same sweep.
        left = missing(job.left, job.outcome.point, job.outcome, self._request.precision)
        for entry in job.left:
            if entry.config.name in job.outcome.records:
                report.skipped(job.outcome.point, entry, "measured meanwhile by another process")
        if left:
            try:
                subject = self._subject(job)
            except InputError as error:
                if not isinstance(job.target, RunTarget):
                    raise
                if self._was_removed(job.target, job.checkpoint):
                    self._say(f"{name_of(job.outcome.point)}: this checkpoint was removed meanwhile")
                    return
                self.summary.unreadable[name_of(job.outcome.point)] = str(error)
                return
            evaluate(subject, left, job.outcome, report)
        write_averages(self._suite.averages, job.outcome)
        self.summary.outcomes.append(job.outcome)

    def _was_removed(self, target: RunTarget, checkpoint: Checkpoint | None) -> bool:
        """Whether one of every checkpoint is gone since they were listed: training keeps the last ones only."""
        if checkpoint is None or target.only is not None or not self._request.every_checkpoint:
            return False
        return on_main(lambda: not checkpoint.path.exists())

    def _subject(self, job: _Job) -> Subject:
        precision = self._request.precision or "fp32"
        target, checkpoint = job.target, job.checkpoint
        if isinstance(target, ModelTarget):
            self._built = None
            return on_every(lambda: target.make(self._shared, precision))
        architecture = target.run.config.model.architecture
        if self._built is None or self._built[0] != architecture:
            self._built = None  # gives its memory back before the next is built
            self._built = architecture, on_every(lambda: target.make(self._shared, precision))
        subject = self._built[1].with_new_weights()
        assert checkpoint is not None
        on_every(lambda: target.load(subject.model, checkpoint))
        return subject

    def _anything_to_come(self, targets: list[Target]) -> bool:
        """Whether any run may write further checkpoints."""

        def look() -> bool:
            runs = [target.run for target in targets if isinstance(target, RunTarget) and target.only is None]
            return any(run.status.state not in _ENDED for run in runs)

        return on_main(look)

    def _write_tables(self) -> None:
        """results.parquet of every sweep that was named."""

        def write() -> None:
            folders = [SweepDir(Path(name)) for name in self._request.targets if Path(name).is_dir()]
            sweeps = [folder for folder in folders if next(folder.runs(), None) is not None]
            if sweeps:
                from mammut_clip.runs import table  # brings pandas

                for sweep in sweeps:
                    table.write(sweep)

        on_main(write)
