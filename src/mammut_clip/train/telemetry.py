"""What a run says while it trains: metrics.jsonl, Weights & Biases, a progress bar or log lines."""

import math
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.runs import metrics
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.data_watch import DataWatch
from mammut_clip.train.step import LossTerms

_MUCH_WAITING = 0.2
"""Share of the time from which on waiting for data is worth a word."""


class LossIsNotFiniteError(RuntimeError):
    """The loss became NaN or infinite: training on is pointless."""


def add_up(
    losses: LossTerms, numbers: Sequence[float], process: Process
) -> tuple[dict[str, float | None], list[float]]:
    """The means over ranks of the losses by name, and the sums of numbers. Collective, in one message."""
    terms = {"loss": losses.total, "contrastive_loss": losses.contrastive, "caption_loss": losses.caption}
    present = {name: term.detach().double() for name, term in terms.items() if term is not None}
    message = torch.tensor(numbers, dtype=torch.float64, device=process.device)
    sums = all_reduce_sum(torch.cat([torch.stack(list(present.values())), message])).tolist()
    means = {name: total / process.world_size for name, total in zip(present, sums, strict=False)}
    return {name: means.get(name) for name in terms}, sums[len(present) :]


class Telemetry:
    """Measures between log points and writes one row at each. Only rank 0 writes; every rank takes part in means."""

    def __init__(
        self, run: RunDir, config: RunConfig, process: Process, data: DataWatch, start: int, gflops_per_sample: float
    ) -> None:
        self._run, self._config, self._process, self._data = run, config, process, data
        self._gflops_per_sample = gflops_per_sample
        self._samples, self._since = start, time.perf_counter()
        self.train_seconds = run.status.train_seconds
        self._wandb: Any = None
        self._progress: Progress | None = None
        if process.is_main:
            self._open()

    def _open(self) -> None:
        metrics.rewind(self._run.metrics_file, self._samples)
        if self._config.logging.wandb_project:
            import wandb  # slow to import, and only wanted here

            self._wandb = wandb.init(
                project=self._config.logging.wandb_project,
                name=self._config.name,
                group=self._config.sweep,
                id=f"{self._config.sweep}-{self._config.name}",
                resume="allow",
                dir=str(self._run.path),
                config=self._config.model_dump(mode="json"),
            )
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[shown]}"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()
            total = self._config.total_samples
            self._task = self._progress.add_task(self._config.name, total=total, completed=self._samples, shown="")

    def log(
        self, samples_seen: int, losses: LossTerms, lr: float, grad_norm: torch.Tensor, logit_scale: float | None
    ) -> dict[str, Any]:
        """One row for the step that ended at `samples_seen`. Collective. Raises LossIsNotFiniteError."""
        means, sums = add_up(losses, self._data.numbers(), self._process)
        row: dict[str, Any] = {
            "samples_seen": samples_seen,
            "step": samples_seen // self._config.global_batch_size,
            **means,
            "lr": lr,
            "grad_norm": float(grad_norm),
            "logit_scale": logit_scale,
        }
        seconds = time.perf_counter() - self._since
        speed = (samples_seen - self._samples) / max(seconds, 1e-9)
        self.train_seconds += seconds
        row |= {
            "samples_per_second": round(speed, 2),
            "tflops_per_second": round(speed * self._gflops_per_sample / 1e3, 6),
            **self._data.row(sums, samples_seen, seconds),
            "train_seconds": round(self.train_seconds, 3),
            "time": round(time.time(), 3),
        }
        self._samples = samples_seen
        if self._process.is_main:
            self._write(row)
        if not math.isfinite(row["loss"]):
            raise LossIsNotFiniteError(
                f"the loss is {row['loss']} at {format_quantity(samples_seen)} samples seen; "
                "a lower optimizer.lr or a longer schedule.warmup usually helps"
            )
        self._since = time.perf_counter()
        return row

    def _write(self, row: dict[str, Any]) -> None:
        metrics.append(self._run.metrics_file, {key: None if _is_nan(value) else value for key, value in row.items()})
        if self._wandb is not None:
            self._wandb.log({k: v for k, v in row.items() if v is not None}, step=row["samples_seen"])
        shown = _shown(row)
        if self._progress is not None:
            self._progress.update(self._task, completed=row["samples_seen"], shown=shown)
        else:
            clock = f"{format_quantity(row['samples_seen'])} of {format_quantity(self._config.total_samples)} samples"
            print(f"{self._config.name}  {clock}  {shown}", file=sys.stderr, flush=True)

    def resume_clock(self) -> None:
        """Leave the time since the last row (a checkpoint, an evaluation) out of the speed."""
        self._since = time.perf_counter()

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if kind is None else 1)


def _shown(row: dict[str, Any]) -> str:
    """What a row says on the terminal."""
    shown = f"loss {row['loss']:.4f}  {row['samples_per_second']:.0f} samples/s"
    if row["data_wait"] > _MUCH_WAITING:
        shown += f"  waits {row['data_wait']:.0%} for data"
    return shown + (f"  bad {row['bad_samples']}" if row["bad_samples"] else "")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
