"""A process that saves checkpoints and is killed (SIGKILL) at a moment that the test names."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoint_case import ONE, Case

from gloo_processes import forking
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def start(target: Callable[..., None], *arguments: Any, **options: Any) -> multiprocessing.process.BaseProcess:
    """A process of its own."""
    process = forking().Process(target=target, args=arguments, kwargs=options)
    process.start()
    return process


def save_once(path: Path, samples_seen: int, die_at: int, *, replace: bool = False) -> None:
    """Save the state after samples_seen / 64 steps, and die before change number `die_at` to the run's directory."""
    run = RunDir(path)
    case = Case(run, steps=samples_seen // 64)
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event in CHANGES and str(path) in str(arguments[0]):
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        writer.save(samples_seen, replace=replace)


def save_for_ever(path: Path) -> None:
    """Save the state after every step."""
    run = RunDir(path)
    case = Case(run, steps=0)
    with CheckpointWriter(run, case.model, case.optimizer, ONE) as writer:
        for step in range(1, 100_000):
            case.step()
            writer.save(64 * step, {"step": step})
