"""Evaluation at its points of the clock, on all ranks."""

from collections.abc import Callable

import torch
from torch import nn

from mammut_clip.config.errors import RunInterruptedError
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.agreement import Agreement
from mammut_clip.train.clock import Clock
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train.parallel import bare
from mammut_clip.train.parts import StepDone
from mammut_clip.train.telemetry import Telemetry
from mammut_clip.train.watch import Watch

Evaluate = Callable[[RunDir, nn.Module, int, Process, Callable[[], bool]], None]
"""Called on every rank with the run, the model in evaluation mode, the samples seen, the process, and what says on
every rank alike whether to leave the rest for the next attempt. What was measured before is not measured again."""


class Evaluations:
    """Every `every` samples, and at the end."""

    def __init__(
        self,
        clock: Clock,
        run: RunDir,
        model: nn.Module,
        process: Process,
        evaluate: Evaluate | None,
        telemetry: Telemetry,
        watch: Watch,
        signals: InterruptWatch,
        agreement: Agreement,
    ) -> None:
        self._clock, self._run, self._model, self._process = clock, run, model, process
        self._evaluate, self._telemetry, self._watch = evaluate, telemetry, watch
        self._signals, self._agreement = signals, agreement
        self._every = run.config.evaluation.every

    def after_step(self, _: StepDone) -> None:
        """Collective where an evaluation is due."""
        if self._is_due():
            self._measure()

    def catch_up(self) -> None:
        """Before the first step of an attempt: what the attempt before it was due to measure here and did not."""
        if self._clock.samples_seen and self._is_due():
            self._measure()

    def _is_due(self) -> bool:
        return self._evaluate is not None and (self._clock.ended or self._clock.passes_multiple(self._every))

    def _measure(self) -> None:
        """Raises RunInterruptedError where a signal came at the end of the run; before it, StopWhenAsked does."""
        assert self._evaluate is not None
        stopped_by = 0

        def stop() -> bool:
            nonlocal stopped_by
            (stopped_by,) = self._agreement.reached(0, self._signals.received)
            return bool(stopped_by)

        with self._watch.paused("evaluating"), torch.no_grad():
            self._model.eval()
            self._evaluate(self._run, bare(self._model), self._clock.samples_seen, self._process, stop)
            self._model.train()
        if stopped_by and self._clock.ended:
            raise RunInterruptedError(stopped_by, self._clock.samples_seen)
        self._telemetry.resume_clock()
