"""What a run does when its gradients stay NaN or infinite."""

import sys

from mammut_clip.config.quantity import format_quantity
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter, restore
from mammut_clip.train.clock import Clock
from mammut_clip.train.logs import logger
from mammut_clip.train.parts import StepDone
from mammut_clip.train.parts.save import SaveCheckpoints
from mammut_clip.train.update import LossIsNotFiniteError, Update


class NonFiniteSteps:
    """Steps that were skipped in a row, too many of them: back to the weights of the last checkpoint, or the end.

    After a rewind the run goes on with the samples that follow, and saves its state at once: an attempt that begins
    there does not meet the same samples again.
    """

    def __init__(
        self,
        clock: Clock,
        run: RunDir,
        update: Update,
        writer: CheckpointWriter,
        saver: SaveCheckpoints,
        process: Process,
    ) -> None:
        self._clock, self._run, self._update = clock, run, update
        self._writer, self._saver, self._process = writer, saver, process
        self._limits = run.config.non_finite
        # reading the count makes a CPU wait for its GPU: not at every step there
        self._look_every = 1 if process.device.type == "cpu" else max(1, self._limits.in_a_row // 2)
        self._rewinds = 0

    def after_step(self, _: StepDone) -> None:
        """Collective where the run rewinds. Raises LossIsNotFiniteError, on all ranks alike."""
        if self._clock.step % self._look_every and not self._clock.ended:
            return
        skipped = self._update.in_a_row()
        if skipped < self._limits.in_a_row:
            return
        if self._limits.then == "stop":
            raise self._error(skipped, "")
        if self._rewinds >= self._limits.rewinds:
            raise self._error(skipped, f" after {self._rewinds} rewinds")
        self._rewind(skipped)

    def _rewind(self, skipped: int) -> None:
        self._writer.finish()
        restored = restore(self._run, self._update.model, self._update.optimizer, self._process)
        if restored is None:
            raise self._error(skipped, ", and there is no checkpoint to go back to")
        self._rewinds += 1
        self._update.forget_streak()
        here, back = format_quantity(self._clock.samples_seen), format_quantity(restored.samples_seen)
        message = f"{skipped} steps in a row were not finite: weights of {back} samples seen, going on at {here}"
        logger.warning(message)
        if self._process.is_main:
            print(message, file=sys.stderr, flush=True)
        self._saver.save(replace=True)

    def _error(self, skipped: int, why: str) -> LossIsNotFiniteError:
        return LossIsNotFiniteError(skipped, self._clock.samples_seen, why)
