"""manifest.json: what made a run, so that its numbers can be explained later."""

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mammut_clip.config.run import RunConfig
from mammut_clip.cost import gflops_per_sample, parameters
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


def make_manifest(config: RunConfig, process: Process) -> Manifest:
    """The facts of this process and of the model it trains."""
    architecture = config.model.architecture
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
        tokenizer_sha256=tokenizer_digest(architecture.text_cfg),
    )


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
