"""The memory of one training step, by the trainer's own code, in two ways.

counted    bytes of all tensors on one of any number of GPUs, over fake tensors (see allocations.py): neither the
           memory nor the GPUs are needed
resident   growth of this process's resident set in a real step, one process on the CPU:
           `python -m benchmarks.memory_step JSON` prints its bytes
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.allocations import Allocations
from mammut_clip.config.load import validate
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.distributed.batch_size import agree_batch_size
from mammut_clip.models.build import build_empty
from mammut_clip.models.output import Captions, make_captions
from mammut_clip.train import parallel
from mammut_clip.train.inputs import StepInputs
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.step import compute_losses, optimiser_step


@dataclass(frozen=True)
class Job:
    """What is measured."""

    model: str
    batch: int
    """Samples on each GPU, with texts that fill the context."""
    gpus: int = 1
    """Processes; FSDP2 where there are several."""
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: Literal["none", "selective", "full"] = "none"

    def run_config(self) -> RunConfig:
        """A run of two such steps; its data are never read."""
        values = {
            "name": "memory",
            "model": self.model,
            "samples_seen": 2 * self.batch * self.gpus,
            "global_batch_size": self.batch * self.gpus,
            "data": {"train": ["none"]},
            "optimizer": {"lr": 1e-3},
            "parallel": {"precision": self.precision, "recompute": self.recompute},
        }
        return validate(RunConfig, values, "benchmarks")


@dataclass(frozen=True)
class Held:
    """Bytes on one GPU."""

    kept: int
    """Between forward and backward pass, beyond weights, moments and inputs."""
    peak: int
    """At the fullest moment of the step."""


def full_texts(config: ModelConfig, batch: int) -> torch.Tensor:
    """Ids [B, T] without padding."""
    length, vocabulary = config.text_cfg.context_length, config.text_cfg.vocab_size
    ids = torch.randint(1, vocabulary - 2, (batch, length), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = vocabulary - 1
    return ids


def _step(
    job: Job, model: nn.Module, optimizer: torch.optim.Optimizer, inputs: StepInputs, before_backward: Any
) -> None:
    """One step of the trainer; `before_backward` is called between forward and backward pass."""
    config, process = job.run_config(), Process(0, job.gpus, 0, torch.device("cpu"))
    losses = compute_losses(model, inputs, config, process)
    before_backward()
    optimiser_step(model, optimizer, losses, 1e-3, config)


def count_step(job: Job) -> Held:
    """A step over fake tensors, the second one, when the optimiser has its moments."""
    config = job.run_config()
    architecture = config.model.architecture
    ids = full_texts(architecture, job.batch)
    captions = make_captions(ids) if architecture.writes_captions else None
    with _fake_ranks(job), FakeTensorMode() as fake, Allocations() as held:
        model = parallel.build_parallel(architecture, config, Process(0, job.gpus, 0, torch.device("cpu")))
        optimizer = make_optimizer(model, config.optimizer)
        inputs = StepInputs(
            torch.randn(job.batch, 3, *[architecture.vision_cfg.image_size] * 2),
            fake.from_tensor(ids) if architecture.has_features else None,
            None if captions is None else Captions(*(fake.from_tensor(part) for part in captions)),
            None,
        )
        kept: list[int] = []
        for _ in range(2):
            held.forget_peak()
            before = held.alive
            _step(job, model, optimizer, inputs, lambda before=before: kept.append(held.alive - before))
        return Held(kept[-1], held.most)


@contextmanager
def _fake_ranks(job: Job) -> Iterator[None]:
    """Rank 0 of job.gpus ranks that are not there, and a model without numbers."""
    replaced: dict[str, Any] = {"build_empty": _build_fake, "give_weights": lambda *_: None}
    if job.gpus > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=job.gpus)
        agree_batch_size(job.batch)
        mesh = init_device_mesh("cpu", (job.gpus,))  # not to be had where tensors are fake
        replaced["init_device_mesh"] = lambda *_: mesh
    try:
        with patch.multiple(parallel, **replaced):
            yield
    finally:
        if job.gpus > 1:
            dist.destroy_process_group()


def _build_fake(config: ModelConfig) -> nn.Module:
    """A model whose parameters claim to be on the CPU."""
    model = build_empty(config)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, device="cpu")))
    return model


def resident_step(job: Job) -> int:
    """How far a real step on the CPU takes this process's resident set beyond what it was before there was a model."""
    config = job.run_config()
    architecture, start = config.model.architecture, _resident("VmRSS")
    model = parallel.build_parallel(architecture, config, Process(0, 1, 0, torch.device("cpu")))
    optimizer = make_optimizer(model, config.optimizer)
    for batch in (1, job.batch):  # the first step makes the moments
        ids = full_texts(architecture, batch)
        inputs = StepInputs(
            torch.randn(batch, 3, *[architecture.vision_cfg.image_size] * 2),
            ids if architecture.has_features else None,
            make_captions(ids) if architecture.writes_captions else None,
            None,
        )
        _step(job, model, optimizer, inputs, lambda: None)
    return _resident("VmHWM") - start


def _resident(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes of this process's resident set: now, or at its highest (getrusage would count the parent's as well)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Measure the resident set for the job on the command line."""
    torch.set_num_threads(1)
    print(resident_step(Job(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
