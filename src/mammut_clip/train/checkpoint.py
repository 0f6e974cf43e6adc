"""Sharded checkpoints (torch.distributed.checkpoint): written under another name, complete only with their marker.

Saved by any number of processes, loaded by any other: parameters and optimiser state are reshared on loading.
The random state needs no saving: initial weights, sample order and augmentation are functions of seed and position.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.errors import InputError
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import COMPLETE_MARKER, Checkpoint, RunDir


def save(
    run: RunDir, samples_seen: int, model: nn.Module, optimizer: torch.optim.Optimizer, process: Process
) -> Checkpoint:
    """Write the state at `samples_seen`. Every rank calls it. Raises DiskFullError where there is no room."""
    checkpoint = run.checkpoint(samples_seen)
    unfinished = checkpoint.path.with_name(f".{samples_seen}.unfinished")
    with disk_errors(checkpoint.path):
        if process.is_main:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        process.wait_for_all()
        with _quiet(), _first_failure():
            dcp.save(_state(model, optimizer), checkpoint_id=unfinished, no_dist=process.world_size == 1)
        if process.is_main:
            marker = {"samples_seen": samples_seen, "world_size": process.world_size}
            (unfinished / COMPLETE_MARKER).write_text(json.dumps(marker) + "\n")
            shutil.rmtree(checkpoint.path, ignore_errors=True)
            unfinished.rename(checkpoint.path)
        process.wait_for_all()
    return checkpoint


def load(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, process: Process) -> None:
    """Put a checkpoint's state into model and optimiser, on any number of processes."""
    state = _state(model, optimizer)
    try:
        with _quiet(), _first_failure():
            dcp.load(state, checkpoint_id=checkpoint.path, no_dist=process.world_size == 1)
    except Exception as error:
        raise InputError(
            f"{checkpoint.path}: this checkpoint cannot be loaded into the run's model ({error})"
        ) from error
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def prune(run: RunDir, keep_last: int) -> None:
    """Delete all but the latest `keep_last` checkpoints, and what crashes left half-written."""
    for checkpoint in run.checkpoints[:-keep_last]:
        run.remove_checkpoint(checkpoint)
    folder = run.path / "checkpoints"
    for leftover in folder.glob(".*.unfinished") if folder.is_dir() else []:
        shutil.rmtree(leftover, ignore_errors=True)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optimizer": optimizer_state}


@contextmanager
def _first_failure() -> Iterator[None]:
    """Raise what went wrong on the first failing rank; PyTorch wraps it in a BaseException of its own."""
    try:
        yield
    except CheckpointException as error:
        failure, _ = next(iter(error.failures.values()))
        raise failure from error


@contextmanager
def _quiet() -> Iterator[None]:
    """One process without a process group is meant here; PyTorch warns of it at every call."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")
        warnings.filterwarnings("ignore", message=".*no_dist.*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
