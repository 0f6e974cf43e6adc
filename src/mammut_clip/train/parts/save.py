"""Checkpoints at their points of the clock."""

from mammut_clip.config.run import RunConfig
from mammut_clip.train.checkpoint import CheckpointWriter
from mammut_clip.train.clock import Clock
from mammut_clip.train.parts import StepDone
from mammut_clip.train.telemetry import Telemetry
from mammut_clip.train.update import Update
from mammut_clip.train.watch import Watch


class SaveCheckpoints:
    """Every `checkpoint.every` samples, at the permanent points and at the end.

    While gradients are not finite nothing is saved, since the weights may be what is wrong: a checkpoint that is due
    then waits for the first step that is all right.
    """

    def __init__(
        self,
        clock: Clock,
        config: RunConfig,
        writer: CheckpointWriter,
        update: Update,
        telemetry: Telemetry,
        watch: Watch,
    ) -> None:
        self._clock, self._config, self._writer = clock, config, writer
        self._update, self._telemetry, self._watch = update, telemetry, watch
        self._is_due = False
        self._saved_at = clock.samples_seen

    def after_step(self, _: StepDone) -> None:
        """Collective where a checkpoint is due."""
        clock = self._clock
        if clock.passes_multiple(self._config.checkpoint.every) or clock.passes_any(self._config.permanent_points):
            self._is_due = True
        if clock.ended or (self._is_due and self._update.in_a_row() == 0):
            self.save()

    def save(self, *, replace: bool = False) -> None:
        """Save now, if that has not been done; `replace` what an earlier attempt saved at this point. Collective."""
        if self._saved_at != self._clock.samples_seen or replace:
            with self._watch.paused("copying the state for a checkpoint"):  # waits for one that is still being written
                self._writer.save(self._clock.samples_seen, self._telemetry.pending(), replace=replace)
            self._saved_at = self._clock.samples_seen
        self._is_due = False
