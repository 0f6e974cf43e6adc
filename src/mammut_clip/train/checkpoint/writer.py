"""Checkpoints while training goes on: the loop waits for a copy of the state, a thread does the rest."""

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.marker import Marker
from mammut_clip.train.checkpoint.staging import Staging
from mammut_clip.train.checkpoint.state import buffers_of, state_of
from mammut_clip.train.checkpoint.write import Job, write
from mammut_clip.train.logs import logger
from mammut_clip.train.waiting import Waiting

_SLOWEST = timedelta(hours=2)
"""How long ranks wait for the one that writes slowest. One that died is noticed at once, by its connection."""
_PATIENCE = 30.0
"""Seconds that a checkpoint under way is given when training ends in an error."""


class CheckpointWriter:
    """Writes checkpoints of one run, one at a time. Every rank has one, and they act together.

    A context manager: on the way out it waits for what is under way, on the way out of an error not for ever.
    """

    def __init__(
        self,
        run: RunDir,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        process: Process,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        """`may_write`: called on rank 0, in another thread, before the run's directory is changed; what it raises ends
        the checkpoint (a lease that is lost)."""
        self._run, self._model, self._optimizer, self._process = run, model, optimizer, process
        self._may_write = may_write
        self._staging = Staging(process, buffers_of(model))
        self._waiting = Waiting(process.device)
        self._group: dist.ProcessGroup | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> "CheckpointWriter":
        """Collective."""
        warnings.filterwarnings("ignore", message=".*torch.distributed is disabled, unavailable or uninitialized.*")
        if self._process.world_size > 1:
            # of its own, and on the CPU: the thread's messages must not get between those of the steps
            group = dist.new_group(backend="gloo", timeout=_SLOWEST)
            assert isinstance(group, dist.ProcessGroup)
            self._group = group
        return self

    def save(self, samples_seen: int, pending: Mapping[str, float] | None = None, *, replace: bool = False) -> None:
        """Begin to write the state at `samples_seen`; returns when it is copied. Collective.

        Waits first for the checkpoint before, and raises as `finish` what went wrong with it. `pending`: what
        `Restored` gives back. Where a whole checkpoint of this point exists it stays, unless the state is another now
        (`replace`).
        """
        with self._waiting.here():
            self.finish()
            staged = self._staging.copy(state_of(self._model, self._optimizer))
            marker = Marker(samples_seen=samples_seen, world_size=self._process.world_size, pending=dict(pending or {}))
            job = Job(self._run, marker, replace, staged, self._process, self._group, self._may_write)
            # a daemon: one that waits for a dead peer does not keep the process alive
            self._thread = threading.Thread(target=self._write, args=(job,), name="checkpoint", daemon=True)
            self._thread.start()

    def failure(self) -> BaseException | None:
        """What went wrong in the background and has not been raised yet; does not wait."""
        return self._failure

    def finish(self) -> None:
        """Return when the last checkpoint is in its place. Raises DiskFullError or CheckpointWriteError, on all ranks
        alike, where it could not be written; once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def numbers(self) -> list[float]:
        """Seconds that this rank's training stood still for checkpoints since last asked. Waits for the device."""
        return [self._waiting.take()]

    def row(self, sums: Sequence[float], samples_seen: int, seconds: float) -> dict[str, Any]:
        """`checkpoint_wait`: their share of the time, the mean over ranks."""
        share = sums[0] / self._process.world_size / max(seconds, 1e-9)
        return {"checkpoint_wait": round(min(1.0, share), 4)}

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.finish()
            if self._group is not None:
                dist.destroy_process_group(self._group)
        elif self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                logger.warning("the checkpoint that was being written was left unfinished")
            elif self._failure is not None:
                logger.warning("the checkpoint that was being written failed: %s", self._failure)

    def _write(self, job: Job) -> None:
        try:
            if self._process.device.type == "cuda":
                torch.cuda.set_device(self._process.device)  # a new thread's is the first: its memory is not ours
            write(job)
        except BaseException as error:
            self._failure = error
