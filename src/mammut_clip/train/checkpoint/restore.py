"""Back to the newest checkpoint that can be used; what is passed over is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

from mammut_clip.config.errors import InputError
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import on_main
from mammut_clip.models.sharded import UnreadableError, open_sharded
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint.folder import settle
from mammut_clip.train.checkpoint.state import load_state
from mammut_clip.train.logs import logger, tell


@dataclass(frozen=True)
class Restored:
    """Where a run goes on."""

    samples_seen: int
    pending: Mapping[str, float] = field(default_factory=dict)
    """What CheckpointWriter.save was given."""
    skipped: tuple[str, ...] = ()
    """Newer checkpoints that could not be used, and why."""


NOTHING_RESTORED = Restored(0)
"""A run that begins with its first weights."""


def restore(run: RunDir, model: nn.Module, optimizer: torch.optim.Optimizer, process: Process) -> Restored | None:
    """Put the newest usable checkpoint into model and optimizer, on any number of processes; None where there is none.

    Collective. No checkpoint may be under way (CheckpointWriter.finish). Those that are passed over stay where they
    are. Raises InputError, on all ranks alike, where there are checkpoints and none can be used, or where one is of
    another model or optimizer; model and optimizer are then unusable.
    """
    skipped: list[str] = []
    below: int | None = None
    while True:
        choice = on_main(partial(_choose, run, below))
        skipped += choice.skipped
        if choice.samples_seen is None:
            break
        below = choice.samples_seen
        reason = _load(run, below, model, optimizer, process)
        if reason is None:
            _tell(run, below, skipped, process)
            return Restored(below, choice.pending, tuple(skipped))
        skipped.append(reason)
    if skipped:
        raise InputError(
            f"{run.checkpoints_folder}: no checkpoint of this run can be used. To begin again from the first weights, "
            "remove them.\n  " + "\n  ".join(skipped)
        )
    return None


_Outcome = tuple[Literal["loaded", "damaged", "foreign"], str]


@dataclass(frozen=True)
class _Choice:
    """The newest checkpoint that seems whole, and the newer ones that do not."""

    samples_seen: int | None
    pending: dict[str, float]
    skipped: tuple[str, ...]


def _choose(run: RunDir, below: int | None) -> _Choice:
    """The next candidate: of less than `below` samples seen. Rank 0 alone looks, so that all ranks see the same."""
    skipped: list[str] = []
    try:
        if below is None:
            settle(run)
        for checkpoint in reversed(run.all_checkpoints):
            if below is not None and checkpoint.samples_seen >= below:
                continue
            damage, marker = checkpoint.damage(), checkpoint.marker
            if damage is None and marker is not None:
                return _Choice(checkpoint.samples_seen, marker.pending, tuple(skipped))
            skipped.append(f"{checkpoint.path}: {damage}")
    except OSError as error:
        raise InputError(f"{run.checkpoints_folder}: cannot be looked at ({error})") from error
    return _Choice(None, {}, tuple(skipped))


def _load(
    run: RunDir, samples_seen: int, model: nn.Module, optimizer: torch.optim.Optimizer, process: Process
) -> str | None:
    """None where every rank has its part; else why the checkpoint is damaged. Raises InputError, on all ranks, where it
    is of another model or optimizer."""
    outcome: _Outcome = ("loaded", "")
    try:
        load_state(model, optimizer, open_sharded(run.checkpoint(samples_seen).path))
    except UnreadableError as error:
        outcome = ("damaged", str(error))
    except InputError as error:
        outcome = ("foreign", str(error))
    outcomes = _of_all(outcome, process)
    foreign = [text for kind, text in outcomes if kind == "foreign"]
    if foreign:
        raise InputError(foreign[0])
    return next((text for kind, text in outcomes if kind == "damaged"), None)


def _of_all(outcome: _Outcome, process: Process) -> list[_Outcome]:
    if process.world_size == 1:
        return [outcome]
    outcomes = [outcome] * process.world_size
    dist.all_gather_object(outcomes, outcome)
    return outcomes


def _tell(run: RunDir, samples_seen: int, skipped: list[str], process: Process) -> None:
    for reason in skipped:
        if process.is_main:
            tell(f"skipped {reason}")
        else:
            logger.info("skipped %s", reason)
    logger.info("restored %s", run.checkpoint(samples_seen).path)
