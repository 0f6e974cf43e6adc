"""Rows of metrics: what is measured between two log points, put together over all ranks, and handed to the sinks.

A row waits for the device; between rows nothing does.
"""

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mammut_clip.config.run import RunConfig
from mammut_clip.cost.chips import peak_tflops
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_gather_rows
from mammut_clip.runs import metrics
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.sinks import open_sinks
from mammut_clip.train.sources import Source, Tally
from mammut_clip.train.step import LossTerms
from mammut_clip.train.step_times import StepTimes, peak_memory_gb

_SAMPLES, _SECONDS, _TRAIN_SECONDS = "samples", "seconds", "train_seconds"
"""What a row needs of an attempt before it, besides the numbers of the sources: since its last row, and in all."""


class Together(NamedTuple):
    """Numbers of all ranks."""

    means: list[float]
    sums: list[float]
    maxima: list[float]


def put_together(means: Sequence[Tensor], sums: Sequence[float], maxima: Sequence[float], process: Process) -> Together:
    """Each rank's scalars [] on its device, and plain numbers -> their means, sums and maxima over ranks.

    Collective, in one message, and the same to the bit on every rank: each adds up the numbers of all in their order.
    """
    plain = torch.tensor([*sums, *maxima], dtype=torch.float64, device=process.device)
    scalars = [scalar.detach().double().reshape(1) for scalar in means]
    gathered = all_gather_rows(torch.cat([*scalars, plain])[None])  # [W, numbers]
    first, second = len(means), len(means) + len(sums)
    message = torch.cat([gathered[:, :first].mean(0), gathered[:, first:second].sum(0), gathered[:, second:].amax(0)])
    found: list[float] = message.tolist()
    return Together(found[:first], found[first:second], found[second:])


class Telemetry:
    """Measures between log points and writes a row at each. Only rank 0 writes; every rank takes part in the numbers.

    metrics.jsonl is cut off at `start`, the samples seen before this attempt, and `pending` is what the checkpoint that
    it begins with holds of the row that was then under way.
    """

    def __init__(
        self,
        run: RunDir,
        config: RunConfig,
        process: Process,
        sources: Sequence[Source],
        start: int,
        gflops_per_sample: float,
        pending: Mapping[str, float],
    ) -> None:
        """`gflops_per_sample`: those that a training step executes, forward and backward."""
        if config.branched_from is not None and start == config.branched_from.samples_seen:
            pending = {}  # it belongs to a row of the run that this one was branched from
        self._run, self._config, self._process = run, config, process
        self._gflops_per_sample = gflops_per_sample
        self._peak_tflops = _peak_tflops(process.device, config)
        self._tally = Tally(sources, pending if process.is_main else {})
        self._seconds_before = pending.get(_SECONDS, 0.0)  # of the row under way, in an attempt before this one
        self._last_row = start - round(pending.get(_SAMPLES, 0))
        self._steps = 0  # since the last row or the start
        self._samples_before = start - self._last_row
        self.train_seconds = max(run.status.train_seconds, pending.get(_TRAIN_SECONDS, 0.0))
        """Time spent in steps until the last row, all attempts together."""
        self._sinks = open_sinks(run, config, start) if process.is_main else []
        self._times = StepTimes(process.device)

    def step(self) -> None:
        """A step has ended. Waits for nothing."""
        self._times.end_step()
        self._steps += 1

    def resume_clock(self) -> None:
        """Training goes on: what happened since the end of the last step (an evaluation) counts as no training."""
        self._times.restart()

    def log(
        self, samples_seen: int, losses: LossTerms, lr: float, grad_norm: Tensor, logit_scale: float | None
    ) -> dict[str, Any]:
        """One row for the step that ended at `samples_seen`; null stands for what is not finite. Collective."""
        terms = {
            "loss": losses.total,
            "contrastive_loss": losses.contrastive,
            "caption_loss": losses.caption,
            "contrastive_accuracy": losses.accuracy,
        }
        present = {name: term for name, term in terms.items() if term is not None}
        times = self._times.take()
        own = [sum(times), *_percentiles(times), peak_memory_gb(self._process.device)]
        means, sums, (seconds, *maxima) = put_together(list(present.values()), self._tally.take(), own, self._process)
        self.train_seconds += seconds
        covered = seconds + self._seconds_before
        row = {
            "samples_seen": samples_seen,
            "step": samples_seen // self._config.global_batch_size,
            **dict.fromkeys(terms),
            **dict(zip(present, means, strict=True)),
            "lr": lr,
            "grad_norm": float(grad_norm),
            "logit_scale": logit_scale,
            **self._speed((samples_seen - self._last_row) / max(covered, 1e-9)),
            **self._tally.fields(sums, samples_seen, covered),
            **dict(zip(_MAXIMA, (round(number, 6) for number in maxima), strict=True)),
            "train_seconds": round(self.train_seconds, 3),
            "time": round(time.time(), 3),
        }
        row = {name: None if _is_not_finite(value) else value for name, value in row.items()}
        self._last_row, self._steps, self._samples_before, self._seconds_before = samples_seen, 0, 0, 0.0
        for sink in self._sinks:
            sink.write(row)
        return row

    def pending(self) -> dict[str, float]:
        """What a checkpoint at this moment has to hold for the next row, whoever writes it. Collective.

        On return the rows before it are on the disk: no crash can leave a checkpoint without them.
        """
        own = self._times.total() / self._process.world_size
        _, (seconds, *sums), _ = put_together([], [own, *self._tally.take()], [], self._process)
        counted = self._tally.named(sums)
        if self._process.is_main:
            self._tally.carry(counted)
            metrics.flush_to_disk(self._run.metrics_file)
        return counted | {
            _SAMPLES: self._samples_before + self._steps * self._config.global_batch_size,
            _SECONDS: self._seconds_before + seconds,
            _TRAIN_SECONDS: self.train_seconds + seconds,
        }

    def _speed(self, samples_per_second: float) -> dict[str, float | None]:
        world, peak = self._process.world_size, self._peak_tflops
        tflops = samples_per_second * self._gflops_per_sample / 1e3
        return {
            "samples_per_second": round(samples_per_second, 2),
            "samples_per_second_per_gpu": round(samples_per_second / world, 2),
            "tflops_per_second": round(tflops, 6),
            "mfu": None if peak is None else round(tflops / (peak * world), 4),
        }

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for sink in reversed(self._sinks):
            sink.close(completed=kind is None)


_MAXIMA = ("step_seconds_p50", "step_seconds_p95", "step_seconds_max", "peak_memory_gb")
"""Fields that are those of the rank where they are highest."""


def _percentiles(seconds: Sequence[float]) -> list[float]:
    """p50, p95 and the longest."""
    return [float(value) for value in np.percentile(seconds or [0.0], [50, 95, 100])]


def _peak_tflops(device: torch.device, config: RunConfig) -> float | None:
    """What one device of the job can do at most; None for a CPU, and where it is not known."""
    if device.type != "cuda":
        return None
    return peak_tflops(torch.cuda.get_device_name(device), config.parallel.precision)


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
