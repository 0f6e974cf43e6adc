"""Evaluation at its points of the clock, on all ranks."""

from collections.abc import Callable

import torch
from torch import nn

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.clock import Clock
from mammut_clip.train.parallel import bare
from mammut_clip.train.parts import StepDone
from mammut_clip.train.telemetry import Telemetry
from mammut_clip.train.watch import Watch

Evaluate = Callable[[RunDir, nn.Module, int, Process], None]
"""Called on every rank with the run, the model in evaluation mode, the samples seen and the process."""


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
    ) -> None:
        self._clock, self._run, self._model, self._process = clock, run, model, process
        self._evaluate, self._telemetry, self._watch = evaluate, telemetry, watch
        self._every = run.config.evaluation.every

    def after_step(self, _: StepDone) -> None:
        """Collective where an evaluation is due."""
        if self._is_due():
            self._measure()

    def catch_up(self) -> None:
        """Before the first step of an attempt: what the attempt before it was due to measure here and did not."""
        here = self._clock.samples_seen
        if here and self._is_due() and (self._clock.ended or not any(at == here for at, _ in self._run.evals)):
            self._measure()

    def _is_due(self) -> bool:
        return self._evaluate is not None and (self._clock.ended or self._clock.passes_multiple(self._every))

    def _measure(self) -> None:
        assert self._evaluate is not None
        with self._watch.paused("evaluating"), torch.no_grad():
            self._model.eval()
            self._evaluate(self._run, bare(self._model), self._clock.samples_seen, self._process)
            self._model.train()
        self._telemetry.resume_clock()
