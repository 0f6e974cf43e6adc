"""The memory estimate of `mammut-clip models` beside what a training step holds."""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.memory_step import Job, count_step
from benchmarks.processes import run_child
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.config.model import load_model_config
from mammut_clip.cost import MemoryEstimate, training_memory_gb

QUESTION = "How near is the estimate of a training step's memory to what the step holds?"
COUNTED = [
    Job("ViT-S-32", 16),
    Job("ViT-B-32", 64),
    Job("ViT-B-32", 64, recompute="selective"),
    Job("ViT-B-32", 64, recompute="full"),
    Job("ViT-B-32", 64, precision="bf16"),
    Job("mammut_ViT-S-32", 64),
    Job("mammut_ViT-S-32", 64, precision="bf16"),
    Job("coca_ViT-S-32", 16),
    Job("ViT-B-32", 256, 8, "bf16"),
    Job("ViT-L-14", 256, 8, "bf16"),
    Job("ViT-L-14", 256, 8, "bf16", "selective"),
    Job("ViT-L-14", 256, 8, "bf16", "full"),
    Job("ViT-B-32-SigLIP", 4096, 8, "bf16", "full"),
    Job("mammut_ViT-S-32", 1024, 8, "bf16", "selective"),
    Job("mammut_ViT-B-32", 256, 8, "bf16"),
    Job("mammut_ViT-L-14", 256, 8, "bf16", "full"),
    Job("mammut_ViT-H-14", 64, 64, "bf16"),
    Job("cap_ViT-B-32", 256, 8, "bf16"),
    Job("coca_ViT-B-32", 256, 8, "bf16"),
    Job("ViT-L-14", 256, 8, "bf16", shards=4),
    Job("ViT-B-32", 256, 1, "bf16", micro_batch=64),
    Job("ViT-B-32", 256, 8, "bf16", micro_batch=64),
    Job("mammut_ViT-B-32", 256, 8, "bf16", micro_batch=64),
    Job("mammut_ViT-L-14", 256, 64, "bf16", "full", shards=4, micro_batch=64),
    Job("ViT-S-32", 16, 8, shards=1),
    Job("mammut_ViT-S-32", 16, 8, "bf16", shards=1),
    Job("mammut_ViT-S-32", 16, 8, shards=1, micro_batch=8),
]
"""Over fake tensors, so that size and number of GPUs do not matter; but for DDP, whose tensors are real."""
RESIDENT = [
    Job("ViT-S-32", 64),
    Job("ViT-B-32", 64),
    Job("ViT-B-32", 64, recompute="full"),
    Job("mammut_ViT-S-32", 64),
    Job("mammut_ViT-B-32", 16),
    Job("coca_ViT-S-32", 16),
]
"""Real steps in one process on the CPU, in fresh processes."""
# freed blocks go back to the system at once, and are not counted as held
NO_HOARDING = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def measure(settings: Settings) -> Measurement:
    """Rows of activations and peaks. Raises where a step fails."""
    rows = []
    for job in COUNTED:
        estimate, held = estimate_of(job), count_step(job)
        if job.micro_batch is None:
            kept = kept_of(job, estimate)
            rows.append(_row(job, "kept for the backward pass, GB", [kept], "counted", [held.kept / 1e9]))
        rows.append(_row(job, "peak, GB", [estimate.total], "counted", [held.peak / 1e9]))
    with tempfile.TemporaryDirectory() as scratch:
        for job in RESIDENT:
            peaks = [_resident(job, Path(scratch) / "log") / 1e9 for _ in range(settings.repeats)]
            rows.append(_row(job, "peak, GB", [estimate_of(job).total] * len(peaks), "resident set", peaks))
    notes = [
        "Ours is the estimate, theirs what the trainer's own step held: all tensors, counted over fake tensors (real "
        "ones for DDP), for several GPUs on one of as many ranks; or the growth of a fresh CPU process's resident set.",
        "Texts fill the context, as the estimate assumes. Outside both: what kernels hold while they run, the "
        "allocator's fragmentation, CUDA's and NCCL's buffers.",
    ]
    return Measurement(rows, notes)


def estimate_of(job: Job) -> MemoryEstimate:
    """What the program says of a job."""
    model, parts = load_model_config(job.model), {"shards": job.shards, "micro_batch": job.micro_batch}
    return training_memory_gb(model, job.batch, job.gpus, job.precision, job.recompute, **parts)


def kept_of(job: Job, estimate: MemoryEstimate) -> float:
    """Gigabytes that the estimate says are left by the forward pass: activations, the gradient of the vocabulary head
    that the loss has made, and weights that autocast has cast and the backward pass reads."""
    config = load_model_config(job.model)
    head = 4e-9 * config.text_cfg.width * config.text_cfg.vocab_size if config.writes_captions else 0.0
    autocast = job.precision == "bf16" and not job.layout.sharded
    cast = estimate.gathered if autocast and job.recompute == "none" else 0.0
    return estimate.activations + head + cast


def _resident(job: Job, log: Path) -> float:
    run_child([sys.executable, "-m", "benchmarks.memory_step", json.dumps(asdict(job))], log, NO_HOARDING)
    return float(log.read_text().splitlines()[-1])


def _row(job: Job, unit: str, ours: list[float], peer: str, theirs: list[float]) -> Row:
    gpus = "1 process" if job.gpus == 1 else f"each of {job.gpus}"
    where = f"{gpus} ({job.layout.mode})" if job.shards is not None else gpus
    batch = f"{job.batch} on {where}" + (f", {job.micro_batch} at a time" if job.micro_batch is not None else "")
    return Row(
        f"{job.model}, {batch}, {job.precision}, recompute {job.recompute}",
        unit,
        "equal",
        ours,
        peer,
        theirs,
    )
