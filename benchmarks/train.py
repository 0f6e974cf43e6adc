"""One CLIP trained by us and by open_clip_train: same shards, architecture, batch, precision, threads and workers.

Speed comes from each tool's own log in steady state; the peer's log has the mean step time since its last line.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean, mean
from typing import Literal

from benchmarks.peers import peers_python
from benchmarks.processes import Cost, run_child
from benchmarks.result import Measurement, Row, Settings
from benchmarks.training_case import PEER, Case, Place, gpu_workers, our_command, peer_command, small_clip
from mammut_clip.config.model import load_model_config

QUESTION = "How fast does one CLIP train, and in how much memory, beside open_clip_train?"
_LINE = re.compile(r"Train Epoch: \d+ \[ *(\d+)/.*? Batch \(t\): ([0-9.]+), .* Loss: ([0-9.]+) ")


@dataclass(frozen=True)
class Training:
    """What one training took."""

    samples_per_second: float
    mean_loss: float
    cost: Cost


def cases(device: str) -> list[Case]:
    """Threads 1 and 2 on a CPU; ViT-B-32 in bf16 on a GPU. The first log lines of both sides are start-up."""
    if device == "cuda":
        return [Case(load_model_config("ViT-B-32"), 1024, 60, 10, True, gpu_workers(), None)]
    return [Case(small_clip(), 64, 20, 4, False, 1, threads) for threads in (1, 2)]


def measure(settings: Settings) -> Measurement:
    """Rows of samples per second, peak memory and final loss. Raises where a side fails."""
    python = peers_python(settings.peers_python)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(Path(scratch), settings.device, python)
        place.write_shards()
        for case in cases(settings.device):
            ours: list[Training] = []
            theirs: list[Training] = []
            for repeat in range(settings.repeats):
                ours.append(_train_ours(case, place, f"ours-{case.threads}-{repeat}", seed=repeat))
                theirs.append(_train_theirs(case, place, f"peer-{case.threads}-{repeat}"))
            rows += _rows(case, ours, theirs)
    notes = [
        "Toy-world pictures of 64 px in WebDataset shards, captions in CLIP's 77 tokens; AdamW, gradients clipped.",
        "Samples per second: each tool's own log without its first steps; over the batch, they are steps per second. "
        "Peak memory: the largest single process; both write a checkpoint at the end.",
        "Loss: mean of the same log lines, a check that both learn alike. Each repetition starts from its own random "
        "weights and order, on both sides: it agrees to about a tenth.",
    ]
    return Measurement(rows, notes)


def _rows(case: Case, ours: list[Training], theirs: list[Training]) -> list[Row]:
    def pick(unit: str, better: Literal["higher", "lower", "equal"], values: list[list[float]]) -> Row:
        return Row(str(case), unit, better, values[0], PEER, values[1])

    both = (ours, theirs)
    return [
        pick("samples/s", "higher", [[t.samples_per_second for t in side] for side in both]),
        pick("peak memory, MB", "lower", [[t.cost.peak_mb for t in side] for side in both]),
        pick("whole process, s", "lower", [[t.cost.seconds for t in side] for side in both]),
        pick("whole process, CPU s", "lower", [[t.cost.cpu_seconds for t in side] for side in both]),
        pick("mean loss", "equal", [[t.mean_loss for t in side] for side in both]),
    ]


def _train_ours(case: Case, place: Place, name: str, *, seed: int) -> Training:
    command = our_command(case, place, name, {}, seed=seed)
    cost = run_child(command, place.folder / f"{name}.log", case.environment)
    steady = place.our_run(name).metrics[1:]
    speed = harmonic_mean(row["samples_per_second"] for row in steady)
    return Training(speed, mean(row["loss"] for row in steady), cost)


def _train_theirs(case: Case, place: Place, name: str) -> Training:
    cost = run_child(peer_command(case, place, name, {}), place.folder / f"{name}.log", case.environment)
    lines = _LINE.findall((place.peer_folder(name) / "out.log").read_text())
    samples, batch_seconds, losses = ([float(line[column]) for line in lines] for column in range(3))
    # Lines come at steps 1, 1 + log_steps, ... and at the last: each covers the steps since the one before it.
    steady = range(2, len(lines))
    seconds = sum(batch_seconds[i] * (samples[i] - samples[i - 1]) / case.batch for i in steady)
    return Training((samples[-1] - samples[1]) / seconds, mean(losses[2:]), cost)
