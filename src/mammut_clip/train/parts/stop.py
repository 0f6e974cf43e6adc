"""Ending before the budget is reached: a signal, or a checkpoint that could not be written."""

from mammut_clip.config.errors import RunInterruptedError
from mammut_clip.train.agreement import Agreement
from mammut_clip.train.checkpoint import CheckpointWriter
from mammut_clip.train.clock import Clock
from mammut_clip.train.interrupt import InterruptWatch
from mammut_clip.train.parts import StepDone
from mammut_clip.train.parts.save import SaveCheckpoints


class StopWhenAsked:
    """What happens on one rank stops all of them, after the same step."""

    def __init__(
        self,
        clock: Clock,
        signals: InterruptWatch,
        agreement: Agreement,
        writer: CheckpointWriter,
        saver: SaveCheckpoints,
    ) -> None:
        self._clock, self._signals, self._agreement = clock, signals, agreement
        self._writer, self._saver = writer, saver

    def after_step(self, _: StepDone) -> None:
        """Collective every few steps. Raises RunInterruptedError, or what went wrong in writing a checkpoint."""
        if self._clock.ended:
            return
        could_not_write = self._writer.failure() is not None
        signal_number, failed = self._agreement.reached(self._clock.step, self._signals.received, int(could_not_write))
        if failed:
            self._writer.finish()
        if signal_number:
            self._saver.save()
            self._writer.finish()
            raise RunInterruptedError(signal_number, self._clock.samples_seen)
