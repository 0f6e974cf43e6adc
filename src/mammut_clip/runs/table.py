"""The results table: one tidy row per (run, checkpoint, task, metric), made from the run directories."""

from pathlib import Path
from typing import Any

import pandas as pd

from mammut_clip.config.atomic import write_bytes
from mammut_clip.config.errors import InputError
from mammut_clip.runs.known_rows import fingerprint, from_parquet, to_parquet
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import EvalRecord

COLUMNS = [
    "sweep", "run", "state", "family", "model", "dataset", "seed", "schedule", "warmup", "lr",
    "global_batch_size", "samples_seen", "checkpoint_samples", "params", "gflops_per_sample_paper",
    "gflops_per_sample_exact", "gflops_paper", "gflops_exact", "task", "metric", "value", "main", "kind",
    "eval_dataset", "eval_samples", "eval_seconds", "precision", "checkpoint",
]  # fmt: skip
"""Compute (`gflops_*`) is counted to the checkpoint: GFLOPs per sample x checkpoint_samples. `warmup` is in samples
seen. `main`: whether the metric is the one that its task is known by; `kind`: what EvalRecord calls task; `checkpoint`
identifies the weights."""


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    """The rows of one run: its evaluations, and its losses at the end of training as task `train`."""
    manifest = run.manifest
    if manifest is None:
        return []
    config, state = run.config, run.status.state  # once: a run may finish while its rows are made
    common = {
        "sweep": config.sweep,
        "run": run.name,
        "state": state,
        "family": config.model.architecture.family,
        "model": config.model.name,
        "dataset": config.data.label,
        "seed": config.seed,
        "schedule": config.schedule.kind,
        "warmup": config.schedule.warmup,
        "lr": config.optimizer.lr,
        "global_batch_size": config.global_batch_size,
        "samples_seen": config.samples_seen,
        "params": manifest.parameters,
        "gflops_per_sample_paper": manifest.gflops_per_sample_paper,
        "gflops_per_sample_exact": manifest.gflops_per_sample_exact,
    }

    def row(samples: int, task: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
        return common | {
            "checkpoint_samples": samples,
            "gflops_paper": manifest.gflops_per_sample_paper * samples,
            "gflops_exact": manifest.gflops_per_sample_exact * samples,
            "task": task,
            "metric": metric,
            "value": value,
            **more,
        }

    rows = [
        row(samples, task, metric, float(value), main=metric == record.metric, **_about(record))
        for (samples, task), record in run.evals.items()
        for metric, value in record.metrics.items()
        if isinstance(value, int | float)
    ]
    logged = run.metrics
    if logged and state == "finished":
        last = logged[-1]
        losses = {key: last[key] for key in ("loss", "contrastive_loss", "caption_loss") if last.get(key) is not None}
        rows += [
            row(last["samples_seen"], "train", metric, value, main=metric == "loss", kind="train")
            for metric, value in losses.items()
        ]
    return rows


def _about(record: EvalRecord) -> dict[str, Any]:
    """How a result came about."""
    return {
        "kind": record.task,
        "eval_dataset": record.dataset,
        "eval_samples": record.samples,
        "eval_seconds": record.seconds,
        "precision": record.precision,
        "checkpoint": record.checkpoint,
    }


def collect(sweep: SweepDir) -> pd.DataFrame:
    """The results table of a sweep, from its run directories."""
    return _collect(sweep)[0]


def write(sweep: SweepDir) -> pd.DataFrame:
    """Collect, and write results.parquet atomically.

    Once more where something came meanwhile: another process may have written that, and this one over it.
    """
    frame, known = _collect(sweep)
    while True:
        write_bytes(sweep.results_file, to_parquet(frame, known))
        newer, now = _collect(sweep)
        if now == known:
            return frame
        frame, known = newer, now


def _collect(sweep: SweepDir) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table, with fingerprints of the runs in it. Rows of runs that are as they were come from results.parquet."""
    before, known_before = from_parquet(sweep.results_file)
    known: dict[str, str] = {}
    fresh: list[dict[str, Any]] = []
    for run in sweep.runs():
        known[run.name] = fingerprint(run, COLUMNS)  # first: what changes from now on counts as a change
        if known_before.get(run.name) != known[run.name]:
            fresh += rows_of(run)
    kept = [run for run, mark in known.items() if known_before.get(run) == mark]
    new = pd.DataFrame(fresh, columns=COLUMNS)
    if not kept:
        return new, known
    old = before[before["run"].isin(kept)]
    frame = pd.concat([part for part in (old, new) if len(part)] or [new], ignore_index=True)
    return frame.sort_values("run", kind="stable", ignore_index=True), known


def read(path: Path) -> pd.DataFrame:
    """A results table from a sweep's folder (collected anew) or from a Parquet file."""
    if path.is_dir():
        return collect(SweepDir(path))
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable results table ({error})") from error
