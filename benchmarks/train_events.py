"""What interrupts a training, beside open_clip_train: its start, its checkpoints, and being killed.

Each side trains with a checkpoint every few steps, is killed a few steps after one of them, and the same command is
given again. open_clip_train writes checkpoints between epochs only, so its epochs are as long as ours are apart.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

from benchmarks.attempts import Attempt, attempt
from benchmarks.peers import peers_python
from benchmarks.result import Measurement, Row, Settings
from benchmarks.training_case import PEER, Case, Place, gpu_workers, our_command, peer_command, small_clip
from mammut_clip.config.model import load_model_config

QUESTION = "How long to a training's first step, from kill -9 to a new one, and how long does it stand still to save?"
EVERY, CHECKPOINTS, BEYOND = 12, 4, 6
"""Steps between checkpoints; how many are written; how many steps after the last one the training is killed."""


@dataclass(frozen=True)
class Found:
    """What one repetition of one side gave, in seconds where nothing else is said."""

    first_step: float
    """From the start of the process."""
    new_step: float
    """From the kill to the first step that had not been made before it."""
    lost_samples: int
    """Trained again."""
    stall: float
    """Per checkpoint."""
    stall_percent: float
    """Of the time from the first step to the last one before the kill."""
    with_checkpoint: float
    """From a step to the next: mean over those with a checkpoint between them."""
    without_checkpoint: float
    """The median over the others."""
    state_mb: float
    """Size of a checkpoint."""


def case(device: str) -> Case:
    """That of `train` on two cores, or on the GPU."""
    steps = EVERY * (CHECKPOINTS + 1)
    if device == "cuda":
        return Case(load_model_config("ViT-B-32"), 1024, steps, 4, True, gpu_workers(), None)
    return Case(small_clip(), 64, steps, 4, False, 1, 2)


def measure(settings: Settings) -> Measurement:
    """Rows of seconds, shares and samples. Raises where a side fails."""
    python, run = peers_python(settings.peers_python), case(settings.device)
    ours, theirs = [], []
    for repeat in range(settings.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            place = Place(Path(scratch), settings.device, python)
            place.write_shards()
            ours.append(_ours(run, place, seed=repeat))
            theirs.append(_theirs(run, place))
    return Measurement(_rows(run, ours, theirs), _notes(ours, theirs))


def _ours(run: Case, place: Place, *, seed: int) -> Found:
    changes = {"checkpoint": {"every": EVERY * run.batch, "keep_last": 2}}
    command = our_command(run, place, "ours", changes, seed=seed)
    first = _first_attempt(command, run, place, "ours")
    newest = place.our_run("ours").checkpoints[-1]
    rows = place.our_run("ours").metrics
    # the first row is left out: it holds the start
    waits = [
        row["checkpoint_wait"] * (row["train_seconds"] - before["train_seconds"]) for before, row in pairwise(rows)
    ]
    stall = sum(waits) / CHECKPOINTS
    return _found(run, place, command, first, stall, newest.samples_seen, _megabytes(newest.path.rglob("*")))


def _theirs(run: Case, place: Place) -> Found:
    epochs: dict[str, Any] = {
        "train-num-samples": EVERY * run.batch,
        "epochs": CHECKPOINTS + 1,
        "save-frequency": 1,
        "delete-previous-checkpoint": None,  # as we delete all but the last two
        "resume": "latest",
    }
    command = peer_command(run, place, "peer", epochs)
    first = _first_attempt(command, run, place, "peer")
    files = (place.peer_folder("peer") / "checkpoints").glob("epoch_*.pt")
    newest = max(files, key=lambda file: int(file.stem.removeprefix("epoch_")))
    samples = int(newest.stem.removeprefix("epoch_")) * EVERY * run.batch
    return _found(run, place, command, first, mean(first.saves), samples, _megabytes([newest]))


def _first_attempt(command: Sequence[str | Path], run: Case, place: Place, name: str) -> Attempt:
    return attempt(command, EVERY * CHECKPOINTS + BEYOND, place.folder / f"{name}-1.log", run.environment)


def _found(
    run: Case,
    place: Place,
    command: Sequence[str | Path],
    first: Attempt,
    stall: float,
    saved_samples: int,
    state_mb: float,
) -> Found:
    """Restart the killed training, and put together what both attempts say."""
    again = len(first.steps) - saved_samples // run.batch
    second = attempt(command, again + 1, place.folder / "again.log", run.environment)
    gaps = [after - before for before, after in pairwise(first.steps)]
    saved = [gap for number, gap in enumerate(gaps, start=1) if number % EVERY == 0]
    return Found(
        first_step=first.steps[0] - first.began,
        new_step=second.steps[again] - first.killed,
        lost_samples=again * run.batch,
        stall=stall,
        stall_percent=100 * stall * CHECKPOINTS / (first.steps[-1] - first.steps[0]),
        with_checkpoint=mean(saved),
        without_checkpoint=median(gap for number, gap in enumerate(gaps, start=1) if number % EVERY),
        state_mb=state_mb,
    )


def _megabytes(files: Sequence[Path] | Any) -> float:
    return sum(file.stat().st_size for file in files) / 1e6


def _rows(run: Case, ours: list[Found], theirs: list[Found]) -> list[Row]:
    setting = f"{run}, a checkpoint every {EVERY} steps"

    def pick(unit: str, value: Callable[[Found], float], better: Literal["lower", "equal"] = "lower") -> Row:
        return Row(setting, unit, better, [value(found) for found in ours], PEER, [value(found) for found in theirs])

    return [
        pick("start to the first step, s", lambda found: found.first_step),
        pick("kill -9 to the first new step, s", lambda found: found.new_step),
        pick("samples trained again", lambda found: found.lost_samples),
        pick("standing still for a checkpoint, s", lambda found: found.stall),
        pick("standing still for checkpoints, % of the time", lambda found: found.stall_percent),
        pick("step to step with a checkpoint between, s", lambda found: found.with_checkpoint),
        pick("step to step without, s", lambda found: found.without_checkpoint),
        pick("size of a checkpoint, MB", lambda found: found.state_mb, "equal"),
    ]


def _notes(ours: list[Found], theirs: list[Found]) -> list[str]:
    apart = [100 * median(found.stall for found in side) for side in (ours, theirs)]
    return [
        f"All processes of a training are killed (kill -9) {BEYOND} steps after a checkpoint, and the same command is "
        "given at once. A new step is one that had not been made before. Times are of the ends of optimiser steps, "
        "taken by the same hook of PyTorch's on both sides.",
        "Standing still: ours as the trainer records it (`checkpoint_wait` in metrics.jsonl), theirs the time in "
        "torch.save. Step to step is measured alike; theirs with a checkpoint between holds the start of an epoch, "
        "without which it writes none, ours what writing in the background takes from the next step.",
        f"For 1% of the time, checkpoints must be {apart[0]:.0f} s apart for ours, {apart[1]:.0f} s for theirs.",
    ]
