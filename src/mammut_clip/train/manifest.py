"""manifest.json: what made a run, so that its numbers can be explained later."""

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.config.towers import MammutTextConfig, VisionConfig
from mammut_clip.cost import gflops_per_sample, parameters
from mammut_clip.cost.layouts import Layout
from mammut_clip.data.text import tokenizer_digest
from mammut_clip.distributed import Process
from mammut_clip.runs.records import Manifest

_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "open_clip_torch",
    "tokenizers",
    "timm",
    "transformers",
)


def make_manifest(
    config: RunConfig, architecture: ModelConfig, process: Process, layout: Layout, samples_sha256: str
) -> Manifest:
    """The facts of this process, of the model it trains and of the samples it trains on; `architecture` is the run's
    with all costs known, `samples_sha256` as in `ShardIndex.digest`."""
    gflops = gflops_per_sample(architecture)
    on_gpu = process.device.type == "cuda"
    return Manifest(
        mammut_clip=_version("mammut-clip") or "not installed, run from a checkout",
        git_commit=_commit(),
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        host=socket.gethostname(),
        device=torch.cuda.get_device_name(process.device) if on_gpu else platform.processor() or platform.machine(),
        world_size=process.world_size,
        parameters=parameters(architecture).total,
        gflops_per_sample_paper=gflops.paper,
        gflops_per_sample_exact=gflops.exact_step,
        numerics=_numerics(config, layout),
        tokenizer_sha256=tokenizer_digest(architecture.text_cfg),
        samples_sha256=samples_sha256,
    )


def _numerics(config: RunConfig, layout: Layout) -> dict[str, str | float | bool]:
    model, parallel = config.model.architecture, config.parallel
    chosen: dict[str, str | float | bool] = {
        "precision": parallel.precision,
        "layout": layout.mode,
        "recompute": parallel.recompute,
        "compile": parallel.compile,
    }
    if isinstance(model.text_cfg, MammutTextConfig):
        chosen["text_pooling"] = model.text_cfg.text_pooling
    if isinstance(model.vision_cfg, VisionConfig):
        chosen["patch_dropout"] = model.vision_cfg.patch_dropout
    return chosen


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
