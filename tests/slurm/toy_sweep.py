"""A sweep of 12 small runs on the tests' Slurm, used as a person would: by `mammut-clip sweep`, and by waiting."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from cluster import SlurmCluster

from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train
from mammut_clip.runs.ends import End, read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.slurm.record import JobRecord

BATCH = 64
BUDGETS = ("1.28K", "2.56K", "10.24K")
MODELS = ("toy-XS", "toy-S", "mammut_toy-XS", "mammut_toy-S")
VICTIM = "mammut_toy-S-10.24K"
"""The longest of the runs, one of the two on two nodes: faults are aimed at it."""
PATIENCE = 1200
"""Seconds; nothing depends on how long it takes."""

CLUSTER = {
    "kind": "slurm",
    "partition": "main",
    "gpus_per_node": 2,
    "cores_per_node": 4,
    "cpus_per_task": 1,
    "time_limit_minutes": 10,
    "signal_seconds": 90,
    "peak_tflops": 0.05,
    "efficiency": 0.5,
}
SWEEP: dict[str, Any] = {
    "name": "twelve",
    "base": "toy",
    "overrides": {
        "global_batch_size": BATCH,
        "data.filters.min_caption": 20,
        "data.crop_scale": [0.5, 1.0],
        "schedule.warmup": 2 * BATCH,
        "checkpoint.every": 5 * BATCH,
        "checkpoint.keep_last": 2,
        # rows and checkpoints fall together only now and then: between them, part of a row is in the checkpoint
        "logging.every": 2 * BATCH,
        "parallel.threads": 1,
    },
    "axes": {"model": list(MODELS), "samples_seen": list(BUDGETS)},
    "rules": [{"when": {"model": ["toy-S", "mammut_toy-S"], "samples_seen": BUDGETS[-1]}, "set": {"nodes": 2}}],
    "name_pattern": "{model}-{samples_seen}",
    "gpus": 1,
    "runs_per_job": 2,
    "policy": {"backoff_seconds": 1},
}
LAW = {
    "unit": "accuracy",
    "task": "toy_pairs",
    "metric": "acc5",
    "frontier": {"method": "all"},
    "form": "power",
    "held_out": {"largest": 1},
    "bootstrap": {"method": "residual", "count": 400, "seed": 0},
}


def wait_until(what: str, condition: Callable[[], object], seconds: float = PATIENCE, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)


def write_inputs(folder: Path, **sweep: Any) -> Path:
    """Data, suite, law, cluster and sweep file, which many launches share; returns the sweep file. `sweep` replaces
    values of SWEEP."""
    write_toy_train(folder / "train", 1024, samples_per_shard=256)
    _write_broken_pictures(folder / "broken.tar", 8)
    write_toy_evals(folder / "evals", pairs_per_class=4, retrieval=100, segmentation=1)
    tasks = [{"name": "toy_pairs", "kind": "classification"}, {"name": "toy_retrieval", "kind": "retrieval"}]
    _write(folder / "suite.yaml", {"name": "small", "data_root": str(folder / "evals"), "tasks": tasks})
    _write(folder / "law.yaml", LAW)
    _write(folder / "cluster.yaml", CLUSTER)
    values = {
        **SWEEP,
        "evaluation": {"suite": str(folder / "suite.yaml"), "where": "jobs"},
        "laws": [str(folder / "law.yaml")],
        "cluster": str(folder / "cluster.yaml"),
        **sweep,
    }
    train = [str(folder / "train"), str(folder / "broken.tar")]
    values["overrides"] = {**values["overrides"], "data.train": train}
    return _write(folder / "sweep.yaml", values)


class ToySweep:
    """One launch of the sweep file, below a folder of its own."""

    def __init__(self, file: Path, runs: Path, slurm: SlurmCluster) -> None:
        self._file, self._runs, self._slurm = file, runs, slurm
        values = yaml.safe_load(file.read_text())
        self.path = runs / values["name"]
        axes, self._laws = values["axes"], values["laws"]
        self.run_names = [f"{model}-{seen}" for model in axes["model"] for seen in axes["samples_seen"]]

    def command(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`mammut-clip sweep VERB ...`, to its end."""
        given = [str(self._file), "--runs", str(self._runs)] if verb == "launch" else [str(self.path)]
        return subprocess.run(
            [sys.executable, "-m", "mammut_clip.cli", "sweep", verb, *given, *arguments],
            capture_output=True,
            text=True,
            env={**self._slurm.environment, "OMP_NUM_THREADS": "1"},
            timeout=PATIENCE,
        )

    def launch(self) -> None:
        done = self.command("launch")
        assert done.returncode == 0, done.stderr

    def run(self, name: str) -> RunDir:
        return RunDir(self.path / name)

    def ends(self, name: str, work: str = "train") -> list[End]:
        return read_ends(self.run(name).ends_file, work)

    def samples(self, name: str) -> int:
        """How far a run has come, by its newest row."""
        return max((row["samples_seen"] for row in self.run(name).metrics), default=0)

    def state_of(self, name: str) -> str:
        """As `sweep status` says."""
        status = json.loads(self.command("status", "--json").stdout)
        return next(str(run["state"]) for run in status["runs"] if run["id"] == name)

    def records(self) -> list[JobRecord]:
        """What the jobs say of themselves."""
        files = sorted((self.path / "launch" / "jobs").glob("*/*.json"))
        return [record for file in files if (record := JobRecord.read(file)) is not None]

    def job_of(self, name: str) -> JobRecord | None:
        """The job that has the run at work now."""
        for record in self.records():
            if not record.ended and any(task.task == name and not task.ended for task in record.tasks):
                return record
        return None

    def is_complete(self, names: Iterable[str]) -> bool:
        """Whether these runs, and no others, are in the results with an evaluation, and the laws know as many."""
        if any(self.run(name).status.state != "finished" for name in names):
            return False
        try:
            table = pd.read_parquet(self.path / "results.parquet")
        except (OSError, ValueError):
            return False
        evaluated = table[(table["task"] == "toy_pairs") & (table["metric"] == LAW["metric"])]
        return set(evaluated["run"]) == set(names) and self._laws_are_as_new()

    def wait(self, names: Sequence[str] | None = None) -> None:
        """Until these runs, by default all, are trained, evaluated, tabulated and fitted, and no job is left."""
        expected = self.run_names if names is None else names
        wait_until(f"{self.path} to finish by itself", lambda: self.is_complete(expected), every=0.5)
        wait_until(
            "its jobs to end", lambda: not self._slurm.ask("squeue", "-h", "--partition=main").strip(), every=0.5
        )

    def _laws_are_as_new(self) -> bool:
        newest = (self.path / "results.parquet").stat().st_mtime
        fits = [list((self.path / "fit" / Path(law).stem).glob("*.json")) for law in self._laws]
        return all(files and max(file.stat().st_mtime for file in files) >= newest for files in fits)

    def history(self) -> str:
        """For messages: how each run stands and what ended it."""
        lines = []
        for name in self.run_names:
            status = self.run(name).status
            ends = ", ".join(
                f"{end.work} {end.kind}@{end.samples_after}" for end in read_ends(self.run(name).ends_file)
            )
            lines.append(f"{name}: {status.state} at {status.samples_seen}, {status.last_error}; {ends}")
        return "\n".join([*lines, json.dumps([record.model_dump(mode="json") for record in self.records()])])


def _write(file: Path, values: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def _write_broken_pictures(shard: Path, samples: int) -> None:
    """Samples that a run must replace, and list in its quarantine."""
    with tarfile.open(shard, "w") as tar:
        for number in range(samples):
            for name, content in {f"{number}.jpg": b"no picture", f"{number}.txt": b"a caption that is long"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
