"""The training of one run, from its run directory: build, resume, loop, record.

How a run resumes: (1) the model is built from the seed, (2) parallelised, (3) the newest usable checkpoint is loaded
into model and optimiser, (4) metrics and quarantine after it are dropped, (5) the stream starts at its position.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from mammut_clip.config.errors import InputError, RunInterruptedError
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import gflops_per_sample
from mammut_clip.data.stream import Batch
from mammut_clip.data.text import tokenizer_digest
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import on_main
from mammut_clip.models.measure import with_costs
from mammut_clip.runs.adjustments import KEY, Adjustments, adjusted
from mammut_clip.runs.failures import kind_of
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import Lease
from mammut_clip.train.agreement import Agreement
from mammut_clip.train.ahead import inputs_ahead
from mammut_clip.train.attempt import Attempt, PeerFailedError
from mammut_clip.train.checkpoint import NOTHING_RESTORED, CheckpointWriter, restore
from mammut_clip.train.clock import Clock
from mammut_clip.train.data_watch import DataWatch
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train.logs import attempt_log, logger, tell
from mammut_clip.train.manifest import make_manifest
from mammut_clip.train.mesh import layout_of
from mammut_clip.train.open_data import open_data
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel, hush_ddp
from mammut_clip.train.parts import Part, StepDone
from mammut_clip.train.parts.evaluate import Evaluate, Evaluations
from mammut_clip.train.parts.log import LogRows
from mammut_clip.train.parts.non_finite import NonFiniteSteps
from mammut_clip.train.parts.save import SaveCheckpoints
from mammut_clip.train.parts.stop import StopWhenAsked
from mammut_clip.train.profiling import Profile, profiling
from mammut_clip.train.schedule import learning_rate
from mammut_clip.train.step import compute_gradients
from mammut_clip.train.telemetry import Telemetry
from mammut_clip.train.update import Update
from mammut_clip.train.watch import Watch


@dataclass
class Trainer:
    """One run in one process of the job. `train()` brings it to its budget, from wherever it stands."""

    run: RunDir
    process: Process
    evaluate: Evaluate | None = None
    lease: Lease | None = None
    """The right to write the run's records, on rank 0; None where nobody else can come near it."""
    profile: bool = False
    """Whether a few steps are recorded with PyTorch's profiler."""
    signals: InterruptWatch | None = None
    """Where signals are noted already; None notes them while this trains."""

    def __post_init__(self) -> None:
        self.config: RunConfig = self.run.config
        self.config.check_world_size(self.process.world_size, str(self.run.config_file))
        if self.config.parallel.threads:
            torch.set_num_threads(self.config.parallel.threads)

    def train(self) -> None:
        """Raises RunInterruptedError, LossIsNotFiniteError, TooManyBadSamplesError, LeaseLostError, PeerFailedError,
        DiskFullError or InputError; status.json says so too."""
        attempt = Attempt(self.run, self.process, self.lease)

        def ended_hard(reason: str) -> None:
            attempt.write_end("failed", reason, watch.failure_kind())

        with (
            nullcontext(self.signals) if self.signals is not None else InterruptWatch() as signals,
            attempt_log(self.run.logs, attempt.number, self.process.rank) as log,
            Watch(self.process, self.config.parallel.hang_after, log, on_end=ended_hard) as watch,
            ExitStack() as stack,  # innermost: what is closed on the way out may take a while, after the news is out
        ):
            try:
                self._train(stack, attempt, signals, watch)
            except RunInterruptedError as stop:
                attempt.write_end("interrupted", str(stop))
                raise
            except KeyboardInterrupt:
                attempt.write_end("interrupted", "stopped at once by a second Ctrl-C")
                raise
            except Exception as error:
                watch.failed(error)
                self._fail(attempt, error, watch)
                raise

    def _fail(self, attempt: Attempt, error: Exception, watch: Watch) -> None:
        """Record why the attempt failed. Raises PeerFailedError where that is another rank's failure, of which `error`
        is only the consequence."""
        first = watch.first_failure()
        own = f"{type(error).__name__}: {error}"
        is_own = first is None or own[:200] in first or isinstance(error, InputError)  # those all ranks raise alike
        kind = kind_of(error) if is_own else watch.failure_kind()
        attempt.write_end("failed", own if is_own else str(first), kind)
        if not is_own:
            raise PeerFailedError(str(first), kind) from error

    def _train(self, stack: ExitStack, attempt: Attempt, signals: InterruptWatch, watch: Watch) -> None:
        with watch.paused("starting"):
            try:
                on = self._start(stack, attempt)
            except InputError as error:
                if signals.received:  # the signal ended processes that make an index too: it is to blame
                    raise RunInterruptedError(signals.received, attempt.samples_seen) from error
                raise
        agreement, clock, run = Agreement(self.process), on.clock, self.run
        saver = SaveCheckpoints(clock, self.config, on.writer, on.update, on.telemetry, watch)
        evaluations = Evaluations(
            clock, run, on.model, self.process, self.evaluate, on.telemetry, watch, signals, agreement
        )
        parts: list[Part] = [
            LogRows(clock, self.config.logging.every, on.model, on.telemetry, on.data, attempt, agreement),
            NonFiniteSteps(clock, run, on.update, on.writer, saver, self.process),
            saver,
            evaluations,
            StopWhenAsked(clock, signals, agreement, on.writer, saver),
        ]
        evaluations.catch_up()
        self._loop(on, parts, watch)
        with watch.paused("writing the last checkpoint"):
            on.writer.finish()
        attempt.write("finished", clock.samples_seen)

    def _loop(self, on: "_Running", parts: list[Part], watch: Watch) -> None:
        config, clock = self.config, on.clock
        on.model.train()
        watch.at(clock.samples_seen, "waiting for data")
        for inputs in inputs_ahead(on.data.watch(on.batches), config, self.process.device):
            watch.at(clock.samples_seen, "computing")
            lr = learning_rate(clock.samples_seen, clock.total, config.optimizer.lr, config.schedule)
            losses = compute_gradients(on.model, inputs, config, self.process)
            done = StepDone(losses, lr, on.update.apply(lr))
            clock.advance()
            for part in parts:
                part.after_step(done)
            on.profile.step()
            watch.at(clock.samples_seen, "waiting for data")

    def _start(self, stack: ExitStack, attempt: Attempt) -> "_Running":
        """Everything that a step needs, at the place where the run stands. Collective."""
        self._adjust()
        config, process, run = self.config, self.process, self.run
        run.check_tokenizer(tokenizer_digest(config.model.architecture.text_cfg))
        stream = open_data(config, process)
        run.check_samples(stream.index.digest)
        architecture = with_costs(config.model.architecture)
        layout = layout_of(config, process, architecture)
        # with a checkpoint, first weights are not worth fetching from a hub
        first = architecture.without_pretraining() if run.checkpoints else architecture
        if layout.mode == "ddp":
            hush_ddp(process)
        model = build_parallel(first, config, process, layout)
        optimizer = make_optimizer(model, config.optimizer)
        restored = restore(run, model, optimizer, process)
        if restored is None:
            run.check_first_start()
            restored = NOTHING_RESTORED
        clock = Clock(restored.samples_seen, config.total_samples, config.global_batch_size)
        if process.is_main and run.manifest is None:
            make_manifest(config, architecture, process, layout, stream.index.digest).write(run.manifest_file)
        attempt.write("running", clock.samples_seen)
        logger.info("start at %d of %d samples on %d processes", clock.samples_seen, clock.total, process.world_size)
        update = Update(model, optimizer, config, process)
        writer = stack.enter_context(CheckpointWriter(run, model, optimizer, process, attempt.check_lease))
        data = DataWatch(run, stream.order, process, clock.samples_seen)
        gflops = gflops_per_sample(architecture).exact_step
        telemetry = Telemetry(
            run, config, process, (data, update, writer), clock.samples_seen, gflops, restored.pending
        )
        stack.enter_context(telemetry)
        profile = stack.enter_context(profiling(run, process, self.profile))
        # on every way out the workers and threads that load ahead end here
        batches = stack.enter_context(closing(stream.batches(clock.samples_seen, clock.total)))
        return _Running(clock, batches, model, update, writer, data, telemetry, profile)

    def _adjust(self) -> None:
        """Take up what earlier attempts could not do as the config says. Collective: rank 0 reads, as others may be
        shown an older file."""
        adjustments = on_main(lambda: Adjustments.of(self.run))
        config = adjusted(self.config, adjustments, self.process.world_size)
        if adjustments is not None and config is not self.config:
            self.config = config
            if self.process.is_main:
                tell(
                    f"{KEY} is {adjustments.micro_batch_size} here: {adjustments.why} "
                    f"({self.run.adjustments_file.name}; remove it to have the config's again)"
                )


@dataclass(frozen=True)
class _Running:
    """What a step needs."""

    clock: Clock
    batches: Iterator[Batch]
    model: nn.Module
    update: Update
    writer: CheckpointWriter
    data: DataWatch
    telemetry: Telemetry
    profile: Profile
