"""Rows of metrics, and the status that goes with them."""

from torch import nn
from torch.distributed.tensor import DTensor

from mammut_clip.train.agreement import Agreement
from mammut_clip.train.attempt import Attempt
from mammut_clip.train.clock import Clock
from mammut_clip.train.data_watch import DataWatch
from mammut_clip.train.parallel import log_scale_of
from mammut_clip.train.parts import StepDone
from mammut_clip.train.telemetry import Telemetry


class LogRows:
    """Every `every` samples, and at the end: a row, status.json, and a look at how much of the data is damaged."""

    def __init__(
        self,
        clock: Clock,
        every: int,
        model: nn.Module,
        telemetry: Telemetry,
        data: DataWatch,
        attempt: Attempt,
        agreement: Agreement,
    ) -> None:
        self._clock, self._every, self._model = clock, every, model
        self._telemetry, self._data, self._attempt, self._agreement = telemetry, data, attempt, agreement

    def after_step(self, done: StepDone) -> None:
        """Collective where a row is due. Raises TooManyBadSamplesError, on all ranks alike."""
        self._telemetry.step()
        if not (self._clock.ended or self._clock.passes_multiple(self._every)):
            return
        samples = self._clock.samples_seen
        self._attempt.check_lease()
        row = self._telemetry.log(samples, done.losses, done.lr, done.grad_norm, _logit_scale(self._model))
        self._agreement.pace(self._clock.batch / row["samples_per_second"])
        self._attempt.train_seconds = self._telemetry.train_seconds
        self._attempt.write("running", samples)
        self._data.check_damage(samples)


def _logit_scale(model: nn.Module) -> float | None:
    log_scale = log_scale_of(model)
    if log_scale is None:
        return None
    whole = log_scale.full_tensor() if isinstance(log_scale, DTensor) else log_scale
    return float(whole.detach().exp())
