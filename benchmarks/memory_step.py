"""The memory of one training step, by the trainer's own code, in two ways.

counted    bytes of all tensors on one of any number of GPUs, over fake tensors (see allocations.py): neither the
           memory nor the GPUs are needed. DDP looks into its tensors: for it they are real
resident   growth of this process's resident set in a real step, one process on the CPU:
           `python -m benchmarks.memory_step JSON` prints its bytes
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._pytree import tree_map_only

from benchmarks.allocations import Allocations
from mammut_clip.config.load import validate
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.layouts import Layout
from mammut_clip.distributed import Process
from mammut_clip.distributed.batch_size import agree_batch_size
from mammut_clip.models.build import build_empty
from mammut_clip.models.output import Captions, make_captions
from mammut_clip.train import inputs, parallel
from mammut_clip.train.inputs import MicroBatch, StepInputs
from mammut_clip.train.mesh import make_mesh
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.step import compute_gradients, compute_losses
from mammut_clip.train.update import Update


@dataclass(frozen=True)
class Job:
    """What is measured."""

    model: str
    batch: int
    """Samples on each GPU, with texts that fill the context."""
    gpus: int = 1
    """Processes."""
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: Literal["none", "selective", "full"] = "none"
    shards: int | None = None
    """Processes that share one copy of the parameters: all of them (None; FSDP), one (DDP) or some (HSDP)."""
    micro_batch: int | None = None
    """Samples that a process takes at a time; None: all."""

    @property
    def layout(self) -> Layout:
        """As the trainer would have it."""
        if self.gpus == 1:
            return Layout("single")
        shards = self.shards or self.gpus
        if shards == 1:
            return Layout("ddp", 1, self.gpus)
        return Layout("fsdp" if shards == self.gpus else "hsdp", shards, self.gpus // shards)

    def run_config(self) -> RunConfig:
        """A run of two such steps; its data are never read."""
        values = {
            "name": "memory",
            "model": self.model,
            "samples_seen": 2 * self.batch * self.gpus,
            "global_batch_size": self.batch * self.gpus,
            "data": {"train": ["none"]},
            "optimizer": {"lr": 1e-3},
            "parallel": {
                "precision": self.precision,
                "recompute": self.recompute,
                "micro_batch_size": self.micro_batch,
            },
        }
        return validate(RunConfig, values, "benchmarks")


@dataclass(frozen=True)
class Held:
    """Bytes on one GPU."""

    kept: int
    """Between forward and backward pass, beyond weights, moments and inputs; 0 with micro-batches."""
    peak: int
    """At the fullest moment of the step."""


def full_texts(config: ModelConfig, batch: int) -> torch.Tensor:
    """Ids [B, T] without padding."""
    length, vocabulary = config.text_cfg.context_length, config.text_cfg.vocab_size
    ids = torch.randint(1, vocabulary - 2, (batch, length), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = vocabulary - 1
    return ids


def _texts(job: Job, batch: int) -> list[tuple[torch.Tensor, Captions | None]]:
    """Ids and captioning task of each micro-batch of full texts."""
    model = job.run_config().model.architecture
    parts = full_texts(model, batch).split(job.micro_batch or batch)
    return [(ids, make_captions(ids) if model.writes_captions else None) for ids in parts]


def _inputs(job: Job, texts: list[tuple[torch.Tensor, Captions | None]]) -> StepInputs:
    """As the trainer has them on a device: float32 pictures, or uint8 ones for several micro-batches."""
    model, parts = job.run_config().model.architecture, []
    size, sizes = model.vision_cfg.image_size, [len(ids) for ids, _ in texts]
    images = torch.zeros(sum(sizes), 3, size, size, dtype=torch.float32 if len(texts) == 1 else torch.uint8)
    for own, (ids, captions) in zip(images.split(sizes), texts, strict=True):
        parts.append(MicroBatch(own, ids if model.has_features else None, captions, None, range(len(own))))
    return StepInputs(tuple(parts))


def _step(job: Job, model: nn.Module, update: Update, step_inputs: StepInputs, before_backward: Any) -> None:
    """One step of the trainer; `before_backward` is called between forward and backward pass, where there is one."""
    config, process = job.run_config(), _process(job)
    if len(step_inputs.micro_batches) == 1:
        losses = compute_losses(model, step_inputs, config, process)
        before_backward()
        losses.total.backward()
    else:
        compute_gradients(model, step_inputs, config, process)
    update.apply(1e-3)


def _process(job: Job) -> Process:
    return Process(0, job.gpus, 0, torch.device("cpu"), job.shards or job.gpus)


def _trained(job: Job) -> tuple[nn.Module, Update]:
    """A model and what updates it."""
    config = job.run_config()
    model = parallel.build_parallel(config.model.architecture, config, _process(job), job.layout)
    if isinstance(model, DistributedDataParallel):
        model.register_comm_hook(None, _as_if_reduced)
    return model, Update(model, make_optimizer(model, config.optimizer), config, _process(job))


def _as_if_reduced(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A bucket's mean over ranks, where there are no others."""
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def count_step(job: Job) -> Held:
    """A step over fake tensors (with DDP: real ones), the second one, when the optimiser has its moments."""
    texts = _texts(job, job.batch)
    fake = None if job.layout.mode == "ddp" else FakeTensorMode()
    with _fake_ranks(job), fake or nullcontext(), Allocations() as held:
        model, update = _trained(job)
        step_inputs = _inputs(job, tree_map_only(torch.Tensor, fake.from_tensor if fake else torch.clone, texts))
        kept: list[int] = [0]
        for _ in range(2):
            held.forget_peak()
            before = held.alive
            _step(job, model, update, step_inputs, lambda before=before: kept.append(held.alive - before))
        return Held(kept[-1], held.most)


@contextmanager
def _fake_ranks(job: Job) -> Iterator[None]:
    """Rank 0 of job.gpus ranks that are not there, and a model without numbers."""
    replaced: dict[str, Any] = {"build_empty": _build_fake, "give_weights": lambda *_: None}
    if job.gpus > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=job.gpus)
        agree_batch_size(job.batch)
        mesh = make_mesh(job.layout, torch.device("cpu"))  # not to be had where tensors are fake
        replaced["make_mesh"] = lambda *_: mesh
    try:
        # the numbers that pictures are normalised by are kept from call to call, and would be fake for the next ones
        with patch.multiple(parallel, **replaced), patch.object(inputs, "normalize", torch.Tensor.float):
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
    start = _resident("VmRSS")
    model, update = _trained(job)
    for batch in (1, job.batch):  # the first step makes the moments
        _step(job, model, update, _inputs(job, _texts(job, batch)), lambda: None)
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
