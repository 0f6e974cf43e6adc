"""One CLIP, and how both trainers are told to train it: same shards, architecture, batch, precision and threads."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import cores
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs.layout import RunDir

PEER = "open_clip_train"
_SHARDS, _PER_SHARD = 8, 512
_WARMUP_STEPS = 4


@dataclass(frozen=True)
class Case:
    """One training that both sides do."""

    model: ModelConfig
    batch: int
    steps: int
    log_steps: int
    """Steps between log lines."""
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

    @property
    def environment(self) -> dict[str, str]:
        """What the child processes of both sides need besides their commands."""
        return {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}


@dataclass(frozen=True)
class Place:
    """Where the trainings of one benchmark stand, and on which device they run."""

    folder: Path
    device: str
    peers_python: Path

    def our_run(self, name: str) -> RunDir:
        """The directory of one of our runs."""
        return RunDir.at(self.folder / "runs" / "single" / name)

    def peer_folder(self, name: str) -> Path:
        """Where the peer keeps log and checkpoints of one run."""
        return self.folder / "peer-logs" / name

    def write_shards(self) -> None:
        """The pictures and captions of every case."""
        write_toy_train(self.folder / "shards", _SHARDS * _PER_SHARD, samples_per_shard=_PER_SHARD, image_size=64)


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


def gpu_workers() -> int:
    """Data workers of a case on a GPU: one shard each at least, and two cores left to the trainer."""
    return max(1, min(_SHARDS, cores() - 2))


def our_command(case: Case, place: Place, name: str, changes: dict[str, Any], *, seed: int) -> list[str | Path]:
    """The program and its arguments; the run `name` is described by the case and by `changes` of the config."""
    config = {
        "name": name,
        "model": {"name": "bench", "architecture": case.model.model_dump(mode="json")},
        "samples_seen": case.steps * case.batch,
        "global_batch_size": case.batch,
        "seed": seed,
        "data": {"train": [str(place.folder / "shards")], "workers": case.workers},
        "optimizer": {"lr": 5e-4, "betas": [0.9, 0.95], "weight_decay": 0.2, "clip_grad_norm": 1.0},
        "schedule": {"kind": "cosine", "warmup": _WARMUP_STEPS * case.batch},
        "parallel": {"precision": "bf16" if case.bf16 else "fp32"},
        "logging": {"every": case.log_steps * case.batch},
    }
    path = place.folder / f"{name}.yaml"
    path.write_text(json.dumps(config | changes))  # JSON is YAML
    runs = ["--runs", place.folder / "runs", "--device", place.device]
    return [sys.executable, "-m", "mammut_clip.train", path, *runs]


def peer_command(case: Case, place: Place, name: str, changes: dict[str, Any]) -> list[str | Path]:
    """The same of open_clip_train; `changes` are of its options, None for those that take no value."""
    model = place.folder / "bench_clip.json"
    model.write_text(json.dumps(case.model.model_dump(mode="json", exclude_none=True, exclude={"family"})))
    options = {
        "model": model.stem,
        "train-data": place.folder / "shards" / f"{{00000..{_SHARDS - 1:05d}}}.tar",
        "train-num-samples": case.steps * case.batch,
        "dataset-type": "webdataset",
        "batch-size": case.batch,
        "epochs": 1,
        "workers": case.workers,
        "warmup": _WARMUP_STEPS,
        "lr": 5e-4,
        "beta1": 0.9,
        "beta2": 0.95,
        "eps": 1e-8,
        "wd": 0.2,
        "grad-clip-norm": 1.0,
        "precision": "amp_bf16" if case.bf16 else "fp32",
        "log-every-n-steps": case.log_steps,
        "device": place.device,
        "logs": place.folder / "peer-logs",
        "name": name,
    } | changes
    flags = [part for key, value in options.items() for part in (f"--{key}", *([] if value is None else [str(value)]))]
    return [place.peers_python, "-m", "benchmarks.peer_open_clip_train", model, *flags]
