"""The training of one run, from its run directory: build, resume, loop, record.

How a run resumes: (1) the model is built from the seed, (2) parallelised, (3) the latest complete checkpoint is loaded
into model and optimiser, (4) metrics after it are dropped, (5) the stream starts at its position. Nothing else is kept.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import RunInterruptedError
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import gflops_per_sample
from mammut_clip.data.stream import TrainStream, open_train_stream
from mammut_clip.data.text import load_tokenizer, tokenizer_digest
from mammut_clip.distributed import Process
from mammut_clip.models.measure import with_costs
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import State, Status
from mammut_clip.train import checkpoint as checkpoints
from mammut_clip.train.inputs import prepare
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train.logs import attempt_log, logger
from mammut_clip.train.manifest import make_manifest
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
        """Raises RunInterruptedError, LossIsNotFiniteError, DiskFullError or InputError; status.json says so too."""
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
            raise

    def _train(self, watch: InterruptWatch) -> None:
        config, process = self.config, self.process
        self.run.check_tokenizer(tokenizer_digest(config.model.architecture.text_cfg))
        stream = self._open_stream()
        architecture = with_costs(config.model.architecture)
        resumes = bool(self.run.checkpoints)  # then first weights are not worth fetching from a hub
        model = build_parallel(architecture.without_pretraining() if resumes else architecture, config, process)
        optimizer = make_optimizer(model, config.optimizer)
        self._samples = self._resume(model, optimizer)
        if process.is_main and self.run.manifest is None:
            make_manifest(config, architecture, process).write(self.run.manifest_file)
        self._write_status("running")
        logger.info(
            "start at %d of %d samples on %d process(es)",
            self._samples,
            config.total_samples,
            process.world_size,
        )
        gflops = gflops_per_sample(architecture).exact_step
        with Telemetry(self.run, config, process, self._samples, gflops) as telemetry:
            self._loop(stream, model, optimizer, telemetry, watch)
        self._measure(model)
        self._write_status("finished")

    def _open_stream(self) -> TrainStream:
        config, architecture, process = self.config, self.config.model.architecture, self.process
        if not process.is_main:
            process.wait_for_all()  # rank 0 writes the index of new shards, the others read it
        stream = open_train_stream(
            config.data,
            load_tokenizer(architecture.text_cfg),
            image_size=architecture.vision_cfg.image_size,
            seed=config.seed,
            global_batch_size=config.global_batch_size,
            rank=process.rank,
            world_size=process.world_size,
        )
        if process.is_main:
            process.wait_for_all()
        return stream

    def _resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        found = self.run.checkpoints
        if not found:
            return 0
        checkpoints.load(found[-1], model, optimizer, self.process)
        return found[-1].samples_seen

    def _loop(
        self,
        stream: TrainStream,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        telemetry: Telemetry,
        watch: InterruptWatch,
    ) -> None:
        config, total = self.config, self.config.total_samples
        model.train()
        for batch in stream.batches(self._samples, total):
            start = self._samples
            # a tower of another package may have dropout: its draws belong to the position, not to what ran before
            torch.manual_seed(hash((config.seed, start, self.process.rank)))
            lr = learning_rate(start, total, config.optimizer.lr, config.schedule)
            losses = compute_losses(model, prepare(batch, config, self.process.device), config, self.process)
            norm = optimiser_step(model, optimizer, losses, lr, config)
            self._samples = start + config.global_batch_size
            ended = self._samples >= total
            if ended or self._passes(start, config.logging.every):
                telemetry.log(self._samples, losses, lr, norm, self._logit_scale(model))
                self._spent = telemetry.train_seconds
                self._write_status("running")
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
