"""A sweep of thousands of run directories, with what training, evaluation and jobs leave in them, without any of it."""

import json
import random
import time
import uuid
from pathlib import Path

from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.load import to_yaml, validate
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepEvaluation
from mammut_clip.runs.ends import End
from mammut_clip.runs.holder import Holder
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import EvalRecord, Manifest, Record, Status
from mammut_clip.sweep.queue_file import QueueFile, QueueLine
from mammut_clip.sweep.stored import StoredRun, StoredSweep, stored_file

TASKS = ("imagenet1k", "mscoco_captions", "flickr30k")
MODELS = ("ViT-S-32", "ViT-B-32", "mammut_ViT-S-32", "mammut_ViT-B-32")
SAMPLES = 12_800_000
BATCH = 4096
SHARES = {"finished": 0.8, "pending": 0.1, "failed": 0.05, "running": 0.03, "interrupted": 0.02}
"""Of the runs; failed ones have crashed three times. Where there are few runs, the last kind gets the rest."""
ROWS = 60
"""Lines of metrics of a run that has ended."""


def make_runs(folder: Path, count: int, seed: int = 0) -> SweepDir:
    """Make runs/<sweep> at `folder`, with as many runs; the same arguments give the same runs."""
    sweep, draw = SweepDir(folder), random.Random(seed)
    states = [state for state, share in SHARES.items() for _ in range(int(share * count))]
    states += ["interrupted"] * (count - len(states))
    configs = [_config(folder.name, model) for model in MODELS]
    total = configs[0].total_samples
    runs, queue = [], QueueFile(at=time.time())
    for number, state in enumerate(states):
        config = configs[number % len(MODELS)].model_copy(update={"name": f"run{number:05d}", "seed": number})
        run = RunDir(folder / config.name)
        run.path.mkdir(parents=True)
        run.config_file.write_text(to_yaml(config))
        _fill(run, state, total, draw)
        runs.append(_stored(config))
        if state in ("running", "interrupted"):
            line = QueueLine(job=str(number), state="RUNNING" if state == "running" else "PENDING", reason="Priority")
            queue.jobs[config.name] = line
    stored = StoredSweep(
        name=sweep.name,
        source="made by benchmarks.many_runs",
        cluster=load_cluster("juwels-booster", ["account=benchmark"]),
        evaluation=SweepEvaluation(suite="quick", where="jobs"),
        evaluation_tasks=list(TASKS),
        runs=runs,
    )
    stored.write(stored_file(sweep))
    queue.store(sweep)
    return sweep


def _config(sweep: str, model: str) -> RunConfig:
    values = {
        "name": "a-run",
        "sweep": sweep,
        "model": model,
        "samples_seen": SAMPLES,
        "global_batch_size": BATCH,
        "data": {"train": ["shards/{0000..0999}.tar"]},
        "optimizer": {"lr": 1e-3},
    }
    return validate(RunConfig, values, "benchmark")


def _stored(config: RunConfig) -> StoredRun:
    return StoredRun(
        id=config.name,
        config_sha256="0" * 64,
        model=config.model.name,
        family=config.model.architecture.family,
        gpus=16,
        seconds=5400.0,
        total_samples=config.total_samples,
        steps=config.steps,
    )


def _fill(run: RunDir, state: str, total: int, draw: random.Random) -> None:
    """The files of one run."""
    if state == "pending":
        _write(Status(total_samples=total), run.status_file)
        return
    seen = total if state == "finished" else round(draw.uniform(0.1, 0.9) * total)
    error = "RuntimeError: CUDA error: an illegal memory access was encountered" if state == "failed" else None
    status = Status(state=state, samples_seen=seen, attempts=2, total_samples=total, last_error=error)
    status.train_seconds = 5000.0 * seen / total
    _write(status, run.status_file)
    _write(_manifest(), run.manifest_file)
    lines = [_row((number + 1) * seen // ROWS, draw) for number in range(ROWS)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    crashed = End(kind="crash", job="7", error=error, exit_code=1, samples_before=seen, samples_after=seen)
    stopped = End(kind="time_limit", job="7", samples_after=seen, nodes="jwb[0001-0004]")
    ends = [crashed] * 3 if state == "failed" else [stopped]
    run.ends_file.write_text("".join(end.model_dump_json(exclude_defaults=True) + "\n" for end in ends))
    if state == "running":
        _hold(run)
    if state == "finished":
        _results(run, seen, draw)


def _write(record: Record, path: Path) -> None:
    """As Record.write, without waiting for the disk each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record.model_dump(mode="json"), indent=2))


def _row(samples: int, draw: random.Random) -> dict[str, float]:
    values = {"samples_seen": samples, "loss": draw.uniform(1, 8), "contrastive_loss": 1.0, "lr": 1e-3, "epoch": 0.1}
    return values | {"samples_per_second": 2500.0, "data_wait": 0.01, "mfu": 0.4, "train_seconds": samples / 2500}


def _manifest() -> Manifest:
    return Manifest(
        mammut_clip="0.1",
        python="3.11.7",
        packages={"torch": "2.0", "numpy": "2.0"},
        host="jwb0001",
        device="NVIDIA A100-SXM4-40GB",
        world_size=16,
        parameters=151_000_000,
        gflops_per_sample_paper=7.4,
        gflops_per_sample_exact=23.1,
    )


def _results(run: RunDir, seen: int, draw: random.Random) -> None:
    checkpoint = run.checkpoint(seen).path
    checkpoint.mkdir(parents=True)
    (checkpoint / "complete").write_text("{}")
    for task in TASKS:
        record = EvalRecord(
            dataset=task,
            model="benchmark",
            pretrained=str(checkpoint),
            task="zeroshot_classification",
            metrics={"acc1": draw.random(), "acc5": draw.random(), "mean_per_class_recall": draw.random()},
            metric="acc1",
            samples_seen=seen,
        )
        _write(record, run.eval_file(seen, task))


def _hold(run: RunDir) -> None:
    """A lease of a process on another host."""
    holder = Holder(
        id=uuid.uuid4().hex,
        host="jwb0001",
        machine="another",
        pid=1,
        started=1,
        slurm_job="7",
        slurm_cluster="juwels",
        slurm_restarts=0,
        lease_seconds=60,
    )
    run.lock_file.with_name("lock.1").write_bytes(holder.encode())
