"""One CLIP trained by us and by open_clip_train: same shards, architecture, batch, precision, threads and workers.

Speed comes from each tool's own log in steady state; the peer's log has the mean step time since its last line.
"""

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean, mean
from typing import Literal

from benchmarks.machine import cores
from benchmarks.peers import peers_python
from benchmarks.processes import Cost, run_child
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs.layout import RunDir

QUESTION = "How fast does one CLIP train, and in how much memory, beside open_clip_train?"
PEER = "open_clip_train"
_SHARDS, _PER_SHARD = 8, 512
_LINE = re.compile(r"Train Epoch: \d+ \[ *(\d+)/.*? Batch \(t\): ([0-9.]+), .* Loss: ([0-9.]+) ")


@dataclass(frozen=True)
class Case:
    """One training that both sides do."""

    model: ModelConfig
    batch: int
    steps: int
    log_steps: int
    """Steps between log lines; those up to the second of the peer's, and the first of ours, are start-up."""
    bf16: bool
    workers: int
    threads: int | None
    """None leaves PyTorch's choice."""

    def __str__(self) -> str:
        vision = self.model.vision_cfg
        shape = f"ViT {vision.layers} x {vision.width}, {vision.image_size} px, patch {vision.patch_size}"
        threads = "" if self.threads is None else f", {self.threads} thread{'s' * (self.threads > 1)}"
        precision = "bf16" if self.bf16 else "fp32"
        return f"{shape}, batch {self.batch}, {precision}{threads}, {self.workers} workers"


@dataclass(frozen=True)
class Training:
    """What one training took."""

    samples_per_second: float
    mean_loss: float
    cost: Cost


def small_clip() -> ModelConfig:
    """A CLIP that a CPU core trains at tens of samples per second, with CLIP's own text length and vocabulary."""
    return load_model_config(
        {
            "family": "clip",
            "embed_dim": 192,
            "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 192, "layers": 6},
            "text_cfg": {"width": 192, "heads": 3, "layers": 6},
        }
    )


def cases(device: str) -> list[Case]:
    """Threads 1 and 2 on a CPU; ViT-B-32 in bf16 on a GPU."""
    if device == "cuda":
        workers = max(1, min(_SHARDS, cores() - 2))
        return [Case(load_model_config("ViT-B-32"), 1024, 60, 10, True, workers, None)]
    return [Case(small_clip(), 64, 20, 4, False, 1, threads) for threads in (1, 2)]


def measure(settings: Settings) -> Measurement:
    """Rows of samples per second, peak memory and final loss. Raises where a side fails."""
    python = peers_python(settings.peers_python)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_toy_train(folder / "shards", _SHARDS * _PER_SHARD, samples_per_shard=_PER_SHARD, image_size=64)
        for case in cases(settings.device):
            ours: list[Training] = []
            theirs: list[Training] = []
            for repeat in range(settings.repeats):
                ours.append(_train_ours(case, folder, f"ours-{case.threads}-{repeat}", settings.device, seed=repeat))
                theirs.append(_train_theirs(case, folder, f"peer-{case.threads}-{repeat}", settings.device, python))
            rows += _rows(case, ours, theirs)
    notes = [
        "Toy-world pictures of 64 px in WebDataset shards, captions in CLIP's 77 tokens; AdamW, gradients clipped.",
        "Samples per second: each tool's own log without its first steps. Peak memory: the largest single process; "
        "both write a checkpoint at the end.",
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


def _environment(case: Case) -> dict[str, str]:
    return {} if case.threads is None else {"OMP_NUM_THREADS": str(case.threads)}


def _train_ours(case: Case, folder: Path, name: str, device: str, *, seed: int) -> Training:
    config = {
        "name": name,
        "model": {"name": "bench", "architecture": case.model.model_dump(mode="json")},
        "samples_seen": case.steps * case.batch,
        "global_batch_size": case.batch,
        "seed": seed,
        "data": {"train": [str(folder / "shards")], "workers": case.workers},
        "optimizer": {"lr": 5e-4, "betas": [0.9, 0.95], "weight_decay": 0.2, "clip_grad_norm": 1.0},
        "schedule": {"kind": "cosine", "warmup": 4 * case.batch},
        "parallel": {"precision": "bf16" if case.bf16 else "fp32"},
        "logging": {"every": case.log_steps * case.batch},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    command: list[str | Path] = [sys.executable, "-m", "mammut_clip.train", path]
    command += ["--runs", folder / "runs", "--device", device]
    cost = run_child(command, folder / f"{name}.log", _environment(case))
    metrics = RunDir.at(folder / "runs" / "single" / name).metrics
    steady = metrics[1:]
    speed = harmonic_mean(row["samples_per_second"] for row in steady)
    return Training(speed, mean(row["loss"] for row in steady), cost)


def _train_theirs(case: Case, folder: Path, name: str, device: str, python: Path) -> Training:
    model = folder / "bench_clip.json"
    architecture = case.model.model_dump(mode="json", exclude_none=True, exclude={"family"})
    model.write_text(json.dumps(architecture))
    options = {
        "model": model.stem,
        "train-data": folder / "shards" / f"{{00000..{_SHARDS - 1:05d}}}.tar",
        "train-num-samples": case.steps * case.batch,
        "dataset-type": "webdataset",
        "batch-size": case.batch,
        "epochs": 1,
        "workers": case.workers,
        "warmup": 4,
        "lr": 5e-4,
        "beta1": 0.9,
        "beta2": 0.95,
        "eps": 1e-8,
        "wd": 0.2,
        "grad-clip-norm": 1.0,
        "precision": "amp_bf16" if case.bf16 else "fp32",
        "log-every-n-steps": case.log_steps,
        "device": device,
        "logs": folder / "peer-logs",
        "name": name,
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    script = Path(__file__).with_name("peer_open_clip_train.py")
    cost = run_child([python, script, model, *flags], folder / f"{name}.log", _environment(case))
    lines = _LINE.findall((folder / "peer-logs" / name / "out.log").read_text())
    samples, batch_seconds, losses = ([float(line[column]) for line in lines] for column in range(3))
    # Lines come at steps 1, 1 + log_steps, ... and at the last: each covers the steps since the one before it.
    steady = range(2, len(lines))
    seconds = sum(batch_seconds[i] * (samples[i] - samples[i - 1]) / case.batch for i in steady)
    return Training((samples[-1] - samples[1]) / seconds, mean(losses[2:]), cost)
