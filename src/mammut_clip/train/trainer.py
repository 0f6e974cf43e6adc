"""The training of one run, from its run directory: build, resume, loop, record.

How a run resumes: (1) the model is built from the seed, (2) parallelised, (3) the latest complete checkpoint is loaded
into model and optimiser, (4) metrics and quarantine after it are dropped, (5) the stream starts at its position.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import RunInterruptedError
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import gflops_per_sample
from mammut_clip.data.stream import Batch
from mammut_clip.data.text import tokenizer_digest
from mammut_clip.distributed import Process
from mammut_clip.models.measure import with_costs
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import State, Status
from mammut_clip.train import checkpoint as checkpoints
from mammut_clip.train.ahead import inputs_ahead
from mammut_clip.train.bad_sample_limit import TooManyBadSamplesError
from mammut_clip.train.data_watch import DataWatch
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train.logs import attempt_log, logger
from mammut_clip.train.manifest import make_manifest
from mammut_clip.train.open_data import open_data
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import bare, build_parallel, log_scale_of
from mammut_clip.train.schedule import learning_rate
from mammut_clip.train.step import compute_losses, optimiser_step
from mammut_clip.train.telemetry import Telemetry

Evaluate = Callable[[RunDir, nn.Module, int, Process], None]
"""Called on every rank with the run, the model in evaluation mode, the samples seen and the process."""


@dataclass
class Trainer:
    """One run in one process of the job. `train()` brings it to its budget, from wherever it stands."""

    run: RunDir
    process: Process
    evaluate: Evaluate | None = None

    def __post_init__(self) -> None:
        self.config: RunConfig = self.run.config
        self.config.check_world_size(self.process.world_size, str(self.run.config_file))
        if self.config.parallel.threads:
            torch.set_num_threads(self.config.parallel.threads)

    def train(self) -> None:
        """Raises RunInterruptedError, LossIsNotFiniteError, TooManyBadSamplesError, DiskFullError or InputError;
        status.json says so too."""
        before = self.run.status
        self._attempts, self._spent = before.attempts + 1, before.train_seconds
        self._samples = before.samples_seen
        try:
            with (
                attempt_log(self.run.logs, self._attempts, self.process.rank),
                InterruptWatch(self.process) as watch,
            ):
                self._train(watch)
        except RunInterruptedError as stop:
            self._write_status("interrupted", str(stop))
            raise
        except KeyboardInterrupt:
            self._write_status("interrupted", "stopped at once by a second Ctrl-C")
            raise
        except Exception as error:
            with suppress(DiskFullError):  # then `error` says so already
                self._write_status("failed", f"{type(error).__name__}: {error}")
            if isinstance(error, TooManyBadSamplesError):
                self.process.wait_for_all()  # all ranks raise it: none ends the job before rank 0 has said why
            raise

    def _train(self, watch: InterruptWatch) -> None:
        config, process = self.config, self.process
        self.run.check_tokenizer(tokenizer_digest(config.model.architecture.text_cfg))
        stream = open_data(config, process)
        self.run.check_samples(stream.index.digest)
        architecture = with_costs(config.model.architecture)
        resumes = bool(self.run.checkpoints)  # then first weights are not worth fetching from a hub
        model = build_parallel(architecture.without_pretraining() if resumes else architecture, config, process)
        optimizer = make_optimizer(model, config.optimizer)
        self._samples = self._resume(model, optimizer)
        if process.is_main and self.run.manifest is None:
            make_manifest(config, architecture, process, stream.index.digest).write(self.run.manifest_file)
        self._write_status("running")
        logger.info(
            "start at %d of %d samples on %d process(es)",
            self._samples,
            config.total_samples,
            process.world_size,
        )
        gflops = gflops_per_sample(architecture).exact_step
        data = DataWatch(self.run, stream.order, process, self._samples)
        with (
            Telemetry(self.run, config, process, data, self._samples, gflops) as telemetry,
            # on every way out the workers and threads that load ahead end here
            closing(stream.batches(self._samples, config.total_samples)) as batches,
        ):
            self._loop(data.watch(batches), data, model, optimizer, telemetry, watch)
        self._measure(model)
        self._write_status("finished")

    def _resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        found = self.run.checkpoints
        if not found:
            return 0
        checkpoints.load(found[-1], model, optimizer, self.process)
        return found[-1].samples_seen

    def _loop(
        self,
        batches: Iterator[Batch],
        data: DataWatch,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        telemetry: Telemetry,
        watch: InterruptWatch,
    ) -> None:
        config, total = self.config, self.config.total_samples
        model.train()
        for inputs in inputs_ahead(batches, config, self.process.device):
            start = self._samples
            # a tower of another package may have dropout: its draws belong to the position, not to what ran before
            torch.manual_seed(hash((config.seed, start, self.process.rank)))
            lr = learning_rate(start, total, config.optimizer.lr, config.schedule)
            losses = compute_losses(model, inputs, config, self.process)
            norm = optimiser_step(model, optimizer, losses, lr, config)
            self._samples = start + config.global_batch_size
            ended = self._samples >= total
            if ended or self._passes(start, config.logging.every):
                telemetry.log(self._samples, losses, lr, norm, self._logit_scale(model))
                self._spent = telemetry.train_seconds
                self._write_status("running")
                data.check_damage(self._samples)
            signal_number = watch.agreed(self._samples // config.global_batch_size)
            if ended or signal_number or self._passes(start, config.checkpoint.every):
                checkpoints.save(self.run, self._samples, model, optimizer, self.process)
                if self.process.is_main:
                    checkpoints.prune(self.run, config.checkpoint.keep_last)
                telemetry.resume_clock()
            if signal_number and not ended:
                raise RunInterruptedError(signal_number, self._samples)

    def _passes(self, start: int, every: int | None) -> bool:
        """Whether a multiple of `every` lies in the batch that began at `start`."""
        return every is not None and self._samples // every > start // every

    def _logit_scale(self, model: nn.Module) -> float | None:
        log_scale = log_scale_of(model)
        if log_scale is None:
            return None
        whole = log_scale.full_tensor() if isinstance(log_scale, DTensor) else log_scale
        return float(whole.detach().exp())

    def _measure(self, model: nn.Module) -> None:
        if self.evaluate is not None:
            model.eval()
            with torch.no_grad():
                self.evaluate(self.run, bare(model), self._samples, self.process)

    def _write_status(self, state: State, error: str | None = None) -> None:
        if self.process.is_main:
            Status(
                state=state,
                samples_seen=self._samples,
                attempts=self._attempts,
                last_error=error,
                updated_at=time.time(),
                train_seconds=round(self._spent, 3),
            ).write(self.run.status_file)
