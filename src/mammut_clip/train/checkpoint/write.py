"""One checkpoint, from the copy of the state to its place on disk; every rank does its part at the same time."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import InputError
from mammut_clip.distributed import Process
from mammut_clip.runs.failures import ErrorKind
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.marker import Marker
from mammut_clip.train.checkpoint import folder
from mammut_clip.train.checkpoint.room import RoomTellingWriter
from mammut_clip.train.checkpoint.staging import Staged
from mammut_clip.train.logs import logger

T = TypeVar("T")


class CheckpointWriteError(InputError):
    """A checkpoint could not be written."""

    error_kind: ErrorKind = "crash"
    """Another try may well succeed."""


@dataclass(frozen=True)
class Job:
    """What is to be written."""

    run: RunDir
    marker: Marker
    replace: bool
    """Whether the state at this point of the clock is another than an existing checkpoint's."""
    staged: Staged
    process: Process
    group: dist.ProcessGroup | None
    """Of all ranks, on gloo, and nobody else's while this goes on; None for one process."""
    may_write: Callable[[], None]
    """Called on rank 0 before anything in the run's directory changes; raises where another process owns it now."""


def write(job: Job) -> None:
    """Write, mark and rename one checkpoint, and delete those that need not stay. Collective.

    Raises DiskFullError or CheckpointWriteError, the same on every rank whose connections stand; nothing complete is
    lost then.
    """
    samples_seen = job.marker.samples_seen
    if not _on_main(job, lambda: folder.begin(job.run, samples_seen, replace=job.replace)):
        return
    try:
        index = _write_files(job)
        _on_main(job, lambda: folder.publish(job.run, index, job.marker))
    except InputError:
        if job.process.is_main:
            _if_allowed(job, lambda: folder.give_up(job.run, samples_seen))
        raise
    if job.process.is_main:
        _if_allowed(job, lambda: folder.prune(job.run))  # what cannot be deleted now is after the next one is written


def _write_files(job: Job) -> Metadata:
    job.staged.wait()
    # without copying ahead, which is for tensors on GPUs and would wait for the steps that go on there
    writer = RoomTellingWriter(folder.unfinished(job.run, job.marker.samples_seen), per_thread_copy_ahead=0)
    try:
        return dcp.save(
            dict(job.staged.state), storage_writer=writer, process_group=job.group, no_dist=job.group is None
        )
    except CheckpointException as error:  # no Exception; holds what went wrong on each rank, and is the same on all
        rank, (cause, _) = min(error.failures.items(), key=lambda failure: failure[0])
        raise _failure(job, _Failed.by(cause, rank)) from cause
    except Exception as error:  # of the connections
        raise _failure(job, _Failed.by(error, job.process.rank)) from error


def _if_allowed(job: Job, delete: Callable[[], None]) -> None:
    """Delete what is needed no more, unless another process owns the run now, and may be writing there."""
    try:
        job.may_write()
        delete()
    except Exception as error:
        logger.warning("%s: what is needed no more was not deleted (%s)", job.run.checkpoints_folder, error)


@dataclass(frozen=True)
class _Failed:
    """What went wrong on one rank, so that it can be told to the others."""

    reason: str
    full: int | None
    """The error number of a full disk or an exhausted quota."""

    @classmethod
    def by(cls, error: BaseException, rank: int) -> "_Failed":
        full: int | None = None
        cause: BaseException | None = error
        while cause is not None and full is None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                full = cause.errno
            cause = cause.__cause__ or cause.__context__
        return cls(f"rank {rank}: {type(error).__name__}: {error}", full)


def _failure(job: Job, failed: _Failed) -> InputError:
    path = job.run.checkpoint(job.marker.samples_seen).path
    if failed.full is not None:
        return DiskFullError(path, OSError(failed.full, failed.reason))
    return CheckpointWriteError(
        f"{path}: this checkpoint could not be written ({failed.reason}). Nothing complete was lost: the same command "
        "continues from the one before it."
    )


def _on_main(job: Job, work: Callable[[], T]) -> T:
    """What rank 0 gets from `work`, on every rank; what goes wrong there is raised on every rank."""
    outcome: list[T | _Failed | None] = [None]
    cause: Exception | None = None
    if job.process.is_main:
        try:
            job.may_write()
            outcome = [work()]
        except Exception as error:
            outcome, cause = [_Failed.by(error, 0)], error
    if job.group is not None:
        try:
            dist.broadcast_object_list(outcome, group_src=0, group=job.group)
        except Exception as error:
            raise _failure(job, _Failed.by(error, job.process.rank)) from error
    if isinstance(outcome[0], _Failed):
        raise _failure(job, outcome[0]) from cause
    return cast(T, outcome[0])
